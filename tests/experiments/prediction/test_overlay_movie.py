"""Which attention a frame is shown under, read back from overlays."""

import os
import tracemalloc

import av
import numpy as np
import pytest

from experiments.prediction.clip_stream import BlockPrediction
from experiments.prediction.overlay_movie import OverlayMovie, overlay_size


def block(first, attention, number=0):
    return BlockPrediction(number, first, (0.0, 0.0), np.array([1.0]), np.array([1.0]), attention, True)


def brightest_cells(path):
    """The cell that is brightest in each picture, None where all are dark; the cells of the text are left out."""
    with av.open(str(path)) as container:
        pictures = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    height, width = pictures[0].shape
    found = []
    for picture in pictures:
        cells = [picture[int((r + 0.5) * height / 7), int((c + 0.5) * width / 7)] for r in range(5) for c in range(7)]
        found.append(int(np.argmax(cells)) if max(cells) > 100 else None)
    return found


@pytest.mark.parametrize(
    ("every", "skip", "stride", "starts", "expected"),
    [
        # Blocks of three: the first frames in the first block, then each under the last step of the block it ends.
        (1, 1, 1, [0, 1, 2, 3], [0, 1, 2, 12, 22, 32, None]),
        (1, 1, 3, [0, 3], [0, 1, 2, 10, 11, 12, None]),
        (1, 2, 4, [0, 4], [0, 0, 1, 1, 2, 2, 11, 11, 12, 12]),
        (2, 1, 3, [0], [0, 0, 1, 1, 2, 2, None]),
        (1, 1, 5, [0, 5], [0, 1, 2, None, None, 10, 11, 12]),
    ],
)
def test_frames_are_under_the_first_block_that_has_them(tmp_path, every, skip, stride, starts, expected):
    attention = np.eye(49)[np.arange(40).reshape(4, 10)[:, :3]]  # Block b looks at cells 10·b, 10·b + 1, 10·b + 2.
    dark = np.zeros((240, 320, 3), np.uint8)
    waiting = []
    path = tmp_path / "overlay.mp4"
    with OverlayMovie(path, fps=5, skip=skip, stride=stride, describe=lambda p: "") as movie:
        known = 0
        for number in range(len(expected)):
            movie.add_frame(number // every, number / 5, dark)
            waiting.append(len(movie._waiting))
            if known < len(starts) and number // every >= starts[known] + 2 * skip:
                movie.add_block(block(starts[known], attention[known]))
                known += 1
    assert known == len(starts)
    assert brightest_cells(path) == expected
    assert max(waiting) <= every * (2 * skip + 1)  # No frame waits for more than its block.
    assert os.listdir(tmp_path) == ["overlay.mp4"]


def test_an_overlays_size():
    assert overlay_size(240, 320) == (240, 320)
    assert overlay_size(145, 181) == (240, 300)  # a line of text must be readable
    assert overlay_size(1080, 1920) == (480, 854)
    assert overlay_size(16, 4096) == (240, 1920)  # wider than encoders like
    assert overlay_size(4096, 16) == (480, 160)  # too narrow for text
    assert overlay_size(255, 341)[0] % 2 == overlay_size(255, 341)[1] % 2 == 0


def test_frames_that_wait_take_little_memory(tmp_path):
    """At a low rate a block has hundreds of them."""
    y, x = np.mgrid[:480, :854]
    picture = np.stack([128 + 100 * np.sin(x / 40), 128 + 100 * np.cos(y / 30), (x + y) / 6], -1).astype(np.uint8)
    tracemalloc.start()
    try:
        with OverlayMovie(tmp_path / "overlay.mp4", fps=25, skip=25, stride=1, describe=lambda p: "") as movie:
            before = tracemalloc.get_traced_memory()[0]
            for number in range(20):
                movie.add_frame(number, number / 25, picture.copy())
            held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held < 20 * picture.nbytes / 5
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(shown) == 20 and np.abs(shown[10].astype(int) - picture).mean() < 4


def test_an_overlay_that_fails_is_given_up(tmp_path):
    """Whether it cannot be begun, encoded or moved to its place; what comes after is not kept."""
    picture = np.zeros((240, 320, 3), np.uint8)
    (tmp_path / "taken.mp4").mkdir()
    for name, frames in (("none/overlay.mp4", [picture]), ("odd.mp4", [picture[:, 1:]] * 2), ("taken.mp4", [picture])):
        with OverlayMovie(tmp_path / name, fps=5, skip=1, stride=3, describe=lambda p: "") as movie:
            for number, frame in enumerate(frames):
                movie.add_frame(number, number / 5, frame)
            movie.add_block(block(0, np.eye(49)[:3]))
            movie.add_frame(len(frames), len(frames) / 5, frames[0])
        assert f"{tmp_path / name}: cannot be written" in str(movie.failure) and not movie._waiting
    assert os.listdir(tmp_path) == ["taken.mp4"]
