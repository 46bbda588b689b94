import av
import numpy as np
import pytest

from data_prep.video.frames import EXTENSIONS, VideoError, read_frames
from data_prep.video.probe import probe

CONTAINERS = {  # codec, and the format where the ending does not say it
    "m4v": ("mpeg4", None),
    "3gp": ("mpeg4", None),
    "3g2": ("mpeg4", None),
    "ts": ("mpeg2video", None),
    "MTS": ("mpeg2video", "mpegts"),
    "m2ts": ("mpeg2video", "mpegts"),
    "vob": ("mpeg2video", "vob"),
    "wmv": ("wmv2", None),
    "asf": ("wmv2", None),
    "flv": ("flv", None),
    "ogv": ("libvpx", "ogg"),
    "GIF": ("gif", None),
    "m2v": ("mpeg2video", None),
    "qt": ("mpeg4", "mov"),
    "divx": ("mpeg4", "avi"),
}


def write(path, codec, container_format, num_frames=20):
    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        for n in range(num_frames):
            picture = np.full((48, 64, 3), 20 + 10 * n, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("ending", CONTAINERS)
def test_every_container_is_a_clip_and_can_be_read(tmp_path, ending):
    path = tmp_path / f"clip.{ending}"
    write(path, *CONTAINERS[ending])
    assert ending.lower() in EXTENSIONS
    frames = np.concatenate(list(read_frames(path, size=None)))
    assert frames.shape == (20, 48, 64, 3)
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), 20 + 10 * np.arange(20), atol=25)
    assert probe(path).fps == pytest.approx(25, rel=0.06)  # Of a vob, only some packets have a time.


@pytest.mark.parametrize("ending", ["mxf", "nut"])
def test_a_container_that_is_not_opened_is_not_called_damaged(tmp_path, ending):
    write(tmp_path / f"clip.{ending}", "mpeg2video", ending)
    with pytest.raises(VideoError) as caught:
        probe(tmp_path / f"clip.{ending}")
    assert caught.value.reason == f"{ending} files are not opened; convert it, for example to mp4"
