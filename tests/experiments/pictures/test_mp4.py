"""Films as files, under any name and of any size."""

import os

import av
from PIL import Image

from experiments.pictures.mp4 import Mp4


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
