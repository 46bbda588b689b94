"""Blocks of a stream against those of the whole video."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from data_prep.loading.block_table import cut_blocks
from data_prep.loading.block_window import BlockWindow


def stream(num_frames, *arguments, seed=0):
    """Sends frames through a window, a few at a time; returns the frames of every block, and the most it held."""
    window, random, blocks, most, now = BlockWindow(*arguments), np.random.default_rng(seed), [], 0, 0
    while now < num_frames:
        new = range(now, min(num_frames, now + int(random.integers(1, 6))))
        now = new.stop
        needed = [frame for frame in new if window.needs(frame)]
        window.add(needed, np.array(needed)[:, None], now)
        most = max(most, len(window))
        blocks += [features[:, 0].tolist() for _, features in window.complete()]
    return (blocks or [window.rest()[1][:, 0].tolist()]), most


@pytest.mark.parametrize("rule", ["paper", "released"])
def test_blocks_are_those_of_the_whole_video(rule):
    fps = {1: 30, 2: 15, 3: 10, 5: 6}
    cases = itertools.product((1, 2, 5, 9, 23, 40), (1, 2, 4, 6), fps, (1, 2, 3, 7, 30))
    for num_frames, num_steps, skip, stride in cases:
        file = SimpleNamespace(num_frames=[num_frames], first_row=[0], fps=[30.0], names=["clip"])
        expected = cut_blocks(file, [0], num_steps, fps[skip], stride, rule).rows.tolist()
        found, most = stream(num_frames, num_steps, skip, stride, rule, seed=num_frames)
        assert found == expected, (num_frames, num_steps, skip, stride)
        assert most <= num_steps * skip + 5


def test_only_frames_of_blocks_are_needed_and_held():
    window = BlockWindow(3, 2, 9)  # frames 0 2 4, 9 11 13, …
    assert [frame for frame in range(20) if window.needs(frame)] == [0, 2, 4, 9, 11, 13, 18]
    assert stream(100_000, 3, 2, 900)[1] == 3


def test_what_the_end_leaves_unfinished():
    window = BlockWindow(3, 1, 2)
    window.add(range(4), np.arange(4)[:, None], 4)
    assert [start for start, _ in window.complete()] == [0]
    start, features = window.rest()
    assert (start, features.ravel().tolist()) == (2, [2, 3, 3])
    assert window.rest() is None
