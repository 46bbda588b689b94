"""Blocks and batches: which frames the model sees, in which order, and that nothing is seen twice or never."""

import dataclasses
import threading
import time

import numpy as np
import pytest

from attention_ar.blocks import block_frames, block_starts, frame_skip
from attention_ar.errors import InputError
from data_prep.batches import batches, cut_blocks, epoch_order, prefetch
from data_prep.features_file import FeaturesFile


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


def test_batches_hold_what_the_blocks_say():
    file = features_file([6, 4, 9], fps=[30, 30, 30])
    blocks = cut_blocks(file, [0, 1, 2], num_steps=4, fps=30, stride=1)
    order = np.random.default_rng(0).permutation(len(blocks))
    seen = []
    for batch in batches(file, blocks, order, batch_size=4):
        assert batch["features"].shape == (4, 4, 4, 4)
        assert batch["features"].dtype == batch["labels"].dtype == batch["weight"].dtype == np.float32
        np.testing.assert_array_equal(batch["features"][:, :, 0, 0], blocks.rows[batch["block"]])
        np.testing.assert_array_equal(batch["features"], batch["features"][:, :, :1, :1] + np.zeros((4, 4, 4, 4)))
        np.testing.assert_array_equal(batch["labels"], file.labels[blocks.video[batch["block"]]])
        seen += batch["block"][batch["weight"] == 1].tolist()
    assert seen == order.tolist()
    assert batch["weight"].tolist() == [1, 1, 0, 0]  # 3 + 1 + 6 blocks.


def test_batches_of_single_frames_hold_each_frame_once():
    file = features_file([20, 4, 9], fps=[30, 30, 30])
    blocks = cut_blocks(file, [0, 1, 2], num_steps=4, fps=30, stride=1)
    order = np.random.default_rng(0).permutation(len(blocks))
    sizes = set()
    for batch in batches(file, blocks, order, batch_size=8, per_frame=True):
        assert "features" not in batch
        np.testing.assert_array_equal(batch["frames"][:, 0, 0][batch["where"]], blocks.rows[batch["block"]])
        distinct = len(np.unique(blocks.rows[batch["block"]]))
        assert distinct <= len(batch["frames"]) < distinct + 4  # 8·4 frames in eight sizes.
        sizes.add(len(batch["frames"]))
    assert all(size % 4 == 0 for size in sizes)


def test_cells_are_numbered_row_by_row():
    file = features_file([4], fps=[30], cells=7)
    numbered = np.arange(49, dtype=np.float16).reshape(1, 7, 7, 1) + np.zeros((4, 7, 7, 4), np.float16)
    file = dataclasses.replace(file, features=numbered)
    blocks = cut_blocks(file, [0], num_steps=4, fps=30, stride=1)
    (batch,) = batches(file, blocks, [0], batch_size=1)
    assert batch["features"][0, 0, :, 0].tolist() == list(range(49))
    assert batch["features"][0, 0, 3 * 7 + 5, 0] == file.features[0, 3, 5, 0]


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


def test_prefetch_keeps_the_order_and_passes_errors_on():
    assert list(prefetch(iter(range(20)))) == list(range(20))

    def broken():
        yield 1
        raise OSError("the disk is gone")

    items = prefetch(broken())
    assert next(items) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(items)


def test_prefetch_works_ahead_but_not_far_and_ends_with_its_reader():
    made = []

    def endless():
        while True:
            made.append(len(made))
            yield made[-1]

    def threads():
        return sum(thread.name.startswith("read-ahead") for thread in threading.enumerate())

    items = prefetch(endless(), ahead=2)
    assert next(items) == 0
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(made) == 4  # One taken, two waiting, one in hand.
    assert threads() == 1
    items.close()
    assert threads() == 0
