"""Blocks and batches: which frames the model sees, in which order, and that nothing is seen twice or never."""

import numpy as np
import pytest

from attention_ar.blocks import block_frames, block_starts, frame_skip
from attention_ar.errors import InputError
from data_prep.features.contents import FeaturesFile
from data_prep.loading.block_table import cut_blocks, epoch_order, full_batches


def features_file(num_frames, fps, num_classes=3, cells=2, maps=4):
    """Features whose value says which row they are from."""
    num_frames = np.array(num_frames)
    total = num_frames.sum()
    values = np.broadcast_to(np.arange(total)[:, None, None, None], (total, cells, cells, maps))
    count = len(num_frames)
    return FeaturesFile(
        features=values.astype(np.float16),
        names=[f"clip{i}.avi" for i in range(count)],
        first_row=np.cumsum(num_frames) - num_frames,
        num_frames=num_frames,
        native_fps=np.array(fps, float),
        fps=np.array(fps, float),
        labels=np.eye(num_classes, dtype=np.uint8)[np.arange(count) % num_classes],
        groups=[""] * count,
        splits=["train"] * count,
        truncated=np.zeros(count, bool),
        class_names=["a", "b", "c"][:num_classes],
        multi_label=False,
        recipe={"random": True},
        split_id="none",
        data_dir="",
    )


@pytest.mark.parametrize(
    ("stored", "fps", "skip"),
    [(30, 30, 1), (29.97, 30, 1), (25, 30, 1), (24, 30, 1), (30, 6, 5), (29.97, 6, 5), (25, 6, 4), (15.1, 30, 1)],
)
def test_frame_skip(stored, fps, skip):
    assert frame_skip(stored, fps) == skip


def test_more_frames_than_stored_are_refused():
    with pytest.raises(InputError, match="fps=60 asks for more frames than the 25 per second that are stored"):
        frame_skip(25, 60)
    for fps in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="must be a positive number"):
            frame_skip(25, fps)


@pytest.mark.parametrize(
    ("num_frames", "skip", "stride", "starts"),
    [
        (30, 1, 1, [0]),
        (32, 1, 1, [0, 1, 2]),
        (29, 1, 1, [0]),
        (1, 1, 1, [0]),
        (60, 1, 10, [0, 10, 20, 30]),
        (59, 1, 10, [0, 10, 20]),
        (146, 5, 1, [0]),
        (148, 5, 1, [0, 1, 2]),
    ],
)
def test_block_starts(num_frames, skip, stride, starts):
    assert block_starts(num_frames, 30, skip, stride).tolist() == starts


def test_short_videos_repeat_the_last_sampled_frame():
    assert block_frames(0, num_frames=3, num_steps=5, skip=1).tolist() == [0, 1, 2, 2, 2]
    # Of 8 frames, every third is sampled: 0, 3, 6; frame 7 is not.
    assert block_frames(0, num_frames=8, num_steps=5, skip=3).tolist() == [0, 3, 6, 6, 6]
    assert block_frames(2, num_frames=20, num_steps=4, skip=5).tolist() == [2, 7, 12, 17]


def test_blocks_stay_within_their_video():
    file = features_file([5, 12, 3], fps=[30, 30, 30])
    blocks = cut_blocks(file, [1, 2], num_steps=4, fps=15, stride=2)
    assert blocks.video.tolist() == [1, 1, 1, 2]
    assert blocks.rows.tolist() == [[5, 7, 9, 11], [7, 9, 11, 13], [9, 11, 13, 15], [17, 19, 19, 19]]
    assert blocks.num_padded() == 1
    assert len(cut_blocks(file, [], num_steps=4, fps=15, stride=2)) == 0


def test_full_batches_are_filled_up_at_weight_0():
    block, weight = full_batches(np.array([7, 5, 3, 1, 0]), 3)
    assert block.tolist() == [[7, 5, 3], [1, 0, 1]]
    assert weight.tolist() == [[1, 1, 1], [1, 1, 0]]
    block, weight = full_batches(np.array([4, 2]), 2)
    assert (block.tolist(), weight.tolist()) == ([[4, 2]], [[1, 1]])


def test_epoch_order_is_a_permutation_that_seed_and_epoch_decide():
    block_video = np.repeat(np.arange(600), 3)
    order = epoch_order(block_video, seed=1, epoch=2)
    assert sorted(order.tolist()) == list(range(1800))
    assert np.array_equal(order, epoch_order(block_video, seed=1, epoch=2))
    assert not np.array_equal(order, epoch_order(block_video, seed=1, epoch=3))
    assert not np.array_equal(order, epoch_order(block_video, seed=2, epoch=2))
    # Groups of at least 256 videos, one after the other, so that a frame is read in one part of the epoch only.
    first, second = set(block_video[order[:900]]), set(block_video[order[900:]])
    assert len(first) == len(second) == 300
    assert not first & second
    # And within a group neighbours are strangers.
    assert np.mean(np.diff(block_video[order]) == 0) < 0.02
