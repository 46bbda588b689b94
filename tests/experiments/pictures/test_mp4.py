"""MP4 files: what is written can be read again, under any name, and a file is there whole or not at all."""

import os

import av
import numpy as np
import pytest
from PIL import Image

from attention_ar.errors import InputError
from experiments.pictures.mp4 import Mp4

GREYS = (30, 120, 220)


def test_pictures_can_be_read_again(tmp_path):
    with Mp4(tmp_path / "x.mp4", 12.5) as video:
        for grey in GREYS:
            video.add(Image.new("RGB", (64, 48), (grey, grey, grey)))
        assert not (tmp_path / "x.mp4").exists()
    with av.open(str(tmp_path / "x.mp4")) as container:
        assert container.streams.video[0].average_rate == 12.5
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3
    np.testing.assert_allclose([np.mean(frame) for frame in frames], GREYS, atol=4)
    assert os.listdir(tmp_path) == ["x.mp4"]


def test_a_name_with_a_colon_is_a_file(tmp_path, monkeypatch):
    """And not a protocol of ffmpeg, such as one that opens a connection."""
    monkeypatch.chdir(tmp_path)
    os.mkdir("tcp:")
    for name in ("take:2.mp4", "tcp:/x.mp4"):
        with Mp4(name, 25) as video:
            video.add(Image.new("RGB", (64, 48)))
        with av.open(str(tmp_path / name)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 1
    assert sorted(os.listdir(tmp_path)) == ["take:2.mp4", "tcp:"] and os.listdir("tcp:") == ["x.mp4"]


def test_an_error_leaves_no_file_and_the_old_one_as_it_was(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), Mp4(tmp_path / "x.mp4", 25) as video:
        video.add(Image.new("RGB", (64, 48)))
        _ = 1 / 0
    with Mp4(tmp_path / "empty.mp4", 25):
        pass
    assert os.listdir(tmp_path) == ["x.mp4"] and (tmp_path / "x.mp4").read_bytes() == b"old"


def test_a_folder_that_is_not_there_is_an_input_error(tmp_path):
    path = tmp_path / "absent" / "x.mp4"
    with pytest.raises(InputError, match=r"absent/x\.mp4: cannot be written"), Mp4(path, 25) as video:
        video.add(Image.new("RGB", (64, 48)))
