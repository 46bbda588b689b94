"""The rules by which settings follow from clips, at values worked out by hand."""

import numpy as np
import pytest

from experiments.first_steps.settings import choose_settings
from experiments.first_steps.time_left import Step, TimeLeft, in_words


def chosen(num_frames, fps=25.0, units=None, count=None):
    num_frames = np.full(count, num_frames) if count else np.asarray(num_frames)
    rates = np.broadcast_to(fps, len(num_frames))
    return choose_settings(num_frames, rates, np.ones(len(num_frames), bool), units or len(num_frames))


def test_a_few_dozen_clips_of_three_seconds():
    found = chosen(75, count=48, units=9)
    assert (found.fps, found.num_steps, found.stride, found.folds) == (25, 30, 10, 5)
    assert found.num_blocks == 48 * 5  # Begins at 0, 10, … 40.
    assert (found.batch_size, found.epochs) == (16, 10)  # 192 blocks of a fold: 12 updates, 120 / 12.
    assert found.num_frames == 48 * 75
    assert found.reasons["fps"] == "25: every frame of clips at 25 per second"
    assert found.reasons["T"] == "30 frames: the paper's, 1.2 s; a longer clip has several blocks"
    assert found.reasons["folds"] == "5: the training part has 9 clips"


def test_many_frames_are_thinned_but_not_below_ten_a_second():
    assert chosen(75, count=200).fps == 12.5  # 15 000 frames; 7500 fit.
    assert chosen(75, count=2000).fps == 12.5  # 150 000: a third of 25 would be 8.3.
    assert chosen(90, fps=30.0, count=2000).fps == 10
    assert chosen(90, fps=6.0, count=9000).fps == 6
    assert chosen(75, count=200).reasons["fps"].startswith("12.5: every second frame of clips at 25 per second")


def test_clips_at_several_rates():
    assert chosen([60, 60, 60], fps=[24.0, 25.0, 60.0]).fps == 25
    slow = chosen([60, 60, 60], fps=[5.0, 25.0, 25.0])
    assert slow.fps == 9.95
    assert "twice the rate of the slowest clip, 5 per second" in slow.reasons["fps"]


def test_short_clips_have_short_blocks_which_three_quarters_of_them_fill():
    found = chosen([12] * 3 + [16] * 9)
    assert (found.num_steps, found.stride) == (12, 4)
    assert chosen([12] * 3 + [16] * 10).num_steps == 16
    assert chosen(7, count=12).num_steps == 7
    assert chosen(1, count=12).num_steps == 4


def test_long_clips_have_fewer_blocks_but_no_gap_between_them():
    found = chosen(3000, count=8)
    assert found.fps == 12.5  # 24 000 frames.
    assert (found.stride, found.num_blocks) == (20, 8 * 74)  # 1500 frames a clip.
    assert chosen(30_000, count=8).stride == 30  # As far as T.


@pytest.mark.parametrize(("units", "folds"), [(2, 2), (4, 4), (5, 5), (50, 5)])
def test_folds(units, folds):
    assert chosen(40, count=60, units=units).folds == folds


def test_few_blocks_have_small_batches_and_many_epochs():
    found = chosen(30, count=10)
    assert (found.num_blocks, found.batch_size, found.epochs) == (10, 8, 30)


def test_a_clip_of_the_test_part_gives_no_block_but_goes_through_the_network():
    found = choose_settings([40] * 4, [25.0] * 4, [True, True, True, False], 3)
    assert (found.num_blocks, found.num_frames) == (3 * 2, 160)


def test_time_left_is_corrected_by_what_was_measured():
    now, said = [0.0], []
    steps = [Step("extracting", "a", 100), Step("fold 1", "b", 10), Step("fold 2", "b", 10), Step("report", "c", 5)]
    left = TimeLeft(steps, said.append, clock=lambda: now[0])
    left.begin()
    assert said == ["[1/4] extracting; about 2 minutes left"]
    now[0] = 300
    left.begin()
    assert left.seconds() == 25
    now[0] = 340  # Four times the guess.
    left.begin()
    assert left.seconds() == 45
    now[0] = 340.1  # An earlier call had done it.
    left.begin()
    assert left.seconds() == 5
    assert said[-1] == "[4/4] report; about 10 seconds left"


@pytest.mark.parametrize(
    ("seconds", "words"), [(3, "10 seconds"), (64, "60 seconds"), (200, "3 minutes"), (9000, "2.5 hours")]
)
def test_times_in_words(seconds, words):
    assert in_words(seconds) == words
