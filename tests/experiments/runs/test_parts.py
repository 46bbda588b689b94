"""Features of parts of a long video: their pictures are those of the frames they were made of."""

import av
import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.features.opening import open_features
from data_prep.video import frames as video_frames
from data_prep.video.frames import read_frames
from experiments.runs.visualization import original_frames

VIDEO, FIRST = 12, 20  # in the tiny features, with 7 rows; the first frame of the part


@pytest.fixture(scope="module")
def file(tmp_path_factory, write_tiny):
    """The tiny features, of which one clip is a part of a video of 60 frames."""
    folder = tmp_path_factory.mktemp("videos")
    with av.open(str(folder / "long.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(60):
            picture = np.full((48, 64, 3), 20 + 3 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    frame = np.tile(np.arange(7), 18)
    frame[7 * VIDEO : 7 * VIDEO + 7] = FIRST + np.arange(7)
    names = [f"{number}.mp4" for number in range(18)]
    names[VIDEO] = "long.mp4#t=2,2.7"
    return open_features(write_tiny(frame=frame, names=names, data_dir=str(folder)))


def test_pictures(file, monkeypatch):
    path = file.clip_path(VIDEO)
    assert path.name == "long.mp4"
    frames = np.concatenate(list(read_frames(path, size=None, colour="rgb24")))
    decoded, whole_frames = [], video_frames.WholeFrames

    def watched(path):
        decoded.append(whole_frames(path))
        return decoded[-1]

    monkeypatch.setattr(video_frames, "WholeFrames", watched)
    np.testing.assert_array_equal(original_frames(file, VIDEO, np.array([0, 2, 6])), frames[[20, 22, 26]])
    assert decoded[0].num_frames == 27  # What comes after the part is not decoded.


def test_a_video_that_is_gone(file, tmp_path):
    with pytest.raises(InputError, match=r"long.mp4: the clip is missing; --data_dir must name"):
        original_frames(file, VIDEO, np.array([0]), tmp_path)
