"""The released program's blocks, votes and average precision, in numbers worked out by hand."""

import logging

import jax.numpy as jnp
import numpy as np
import pytest

from attention_ar.blocks import block_frames, block_starts
from attention_ar.errors import InputError
from attention_ar.released import blocks, evaluation


@pytest.mark.parametrize(("fps", "skip"), [(30, 1), (25, 1), (16, 1), (15, 2), (12, 2), (6, 5), (29.97, 1), (1, 30)])
def test_skip(fps, skip):
    assert blocks.released_skip(fps) == skip


@pytest.mark.parametrize("fps", [60, 30.01, 0, -6, float("nan"), float("inf")])
def test_bad_rate(fps):
    with pytest.raises(InputError, match=r"fps=.*: must be above 0 and at most 30"):
        blocks.released_skip(fps)


@pytest.mark.parametrize(
    ("num_frames", "num_steps", "skip", "stride", "starts"),
    [
        (35, 30, 1, 1, [0, 1, 2, 3, 4, 5]),
        (30, 30, 1, 1, [0]),
        (12, 30, 1, 1, [0]),
        (90, 30, 1, 8, [0, 8, 16, 24, 32, 40, 48, 56]),
        (64, 12, 5, 1, [0, 1, 2, 3, 4]),
        (59, 12, 5, 1, [0]),
    ],
)
def test_starts(num_frames, num_steps, skip, stride, starts):
    np.testing.assert_array_equal(blocks.released_block_starts(num_frames, num_steps, skip, stride), starts)


def test_starts_beside_the_papers():
    """At full rate they are the same; at 6 fps the paper's blocks go on for skip − 1 frames."""
    for num_frames in range(1, 80):
        ours = blocks.released_block_starts(num_frames, 12, 1)
        np.testing.assert_array_equal(ours, block_starts(num_frames, 12, 1))
    assert len(block_starts(64, 12, 5)) == len(blocks.released_block_starts(64, 12, 5)) + 4


def test_short_video_repeats_its_last_frame():
    np.testing.assert_array_equal(block_frames(0, 12, 5, 5), [0, 5, 10, 10, 10])


def test_table_and_batches():
    video, start = blocks.released_block_table([6, 3, 8], num_steps=4, skip=1, stride=2)
    np.testing.assert_array_equal(video, [0, 0, 1, 2, 2, 2])
    np.testing.assert_array_equal(start, [0, 2, 0, 0, 2, 4])
    assert [list(batch) for batch in blocks.batches(6, 4)] == [[0, 1, 2, 3], [4, 5]]
    assert [list(batch) for batch in blocks.batches(4, 4)] == [[0, 1, 2, 3]]


@pytest.mark.slow
def test_class_of_the_last_steps():
    """The sum of the probabilities decides, not the number of steps won."""
    p = jnp.array([[[0.9, 0.1], [0.45, 0.55], [0.45, 0.55], [0.8, 0.2]]])
    assert evaluation.block_predictions(jnp.log(p), 4, multi_label=False).tolist() == [0]
    assert evaluation.block_predictions(jnp.log(p[:, :3]), 2, multi_label=False).tolist() == [1]
    assert evaluation.block_predictions(jnp.log(p), 30, multi_label=False).tolist() == [0]


def test_scores_of_the_last_steps():
    p = jnp.array([[[0.9, 0.1], [0.25, 0.5], [0.75, 1 / 3]]])
    scores = evaluation.block_predictions(jnp.log(p / (1 - p)), 2, multi_label=True)
    np.testing.assert_allclose(scores, [[0.5, 5 / 12]], rtol=1e-6)


def test_vote():
    """Most frequent; among equals the smallest class."""
    classes = np.array([2, 3, 3, 1, 3, 1, 3, 0, 3, 0, 3, 5])
    video = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3])
    np.testing.assert_array_equal(evaluation.vote(classes, video, 4), [3, 1, 0, 5])
    assert evaluation.accuracy([3, 1, 0, 5], [3, 1, 1, 5]) == 0.75


def test_average_precision():
    """Ranks 1 and 3 are right: (1/1 + 2/3) / 2."""
    assert evaluation.average_precision([0.9, 0.8, 0.7, 0.1], [1, 0, 1, 0]) == pytest.approx(5 / 6)
    assert evaluation.average_precision([0.1, 0.7, 0.8, 0.9], [1, 0, 1, 0]) == pytest.approx(0.5)
    assert np.isnan(evaluation.average_precision([0.1, 0.7], [0, 0]))


def test_ties_keep_their_order():
    """All scores equal: the order of the videos decides, as in the program with at most 16 of them."""
    assert evaluation.average_precision([0.5] * 4, [0, 0, 0, 1]) == 0.25
    assert evaluation.average_precision([0.5] * 40, [1] + [0] * 39) == 1
    assert evaluation.average_precision([0.5] * 40, [0] * 39 + [1]) == 1 / 40


def test_class_without_a_video_is_left_out(caplog):
    scores, labels = np.array([[0.9, 0.5, 0.3], [0.1, 0.4, 0.8]]), np.array([[0, 0, 1], [1, 0, 0]])
    with caplog.at_level(logging.WARNING):
        assert evaluation.mean_average_precision(scores, labels) == 0.5
    assert "without a video: [1]" in caplog.text
    assert np.isnan(evaluation.mean_average_precision(scores, np.zeros((2, 3))))
