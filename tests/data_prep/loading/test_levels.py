"""Batches of several levels: from each store the same as from stores of one level."""

import dataclasses

import jax
import numpy as np
import pytest

from attention_ar.errors import InputError
from attention_ar.training import parallel as ways
from attention_ar.training.feature_table import look_up
from data_prep.features.contents import FeaturesFile
from data_prep.loading import feature_stores
from data_prep.loading.batches import load_batches
from data_prep.loading.block_table import cut_blocks
from data_prep.loading.feature_stores import Levels, open_store, store_on_disk

LEVELS = ("coarse", "fine")
NUM_FRAMES = np.array([6, 4, 9, 3])
VIDEOS = np.array([0, 2, 3])


def features_file() -> FeaturesFile:
    """Features whose value says which row they are from, half of that at the finer level."""
    total, count = int(NUM_FRAMES.sum()), len(NUM_FRAMES)
    rows = np.arange(total, dtype=np.float16)[:, None, None, None]
    return FeaturesFile(
        features=np.broadcast_to(rows, (total, 2, 2, 3)),
        names=[f"{n}.avi" for n in range(count)],
        first_row=np.cumsum(NUM_FRAMES) - NUM_FRAMES,
        num_frames=NUM_FRAMES,
        native_fps=np.full(count, 30.0),
        fps=np.full(count, 30.0),
        labels=np.eye(2, dtype=np.uint8)[np.arange(count) % 2],
        groups=[""] * count,
        splits=["train"] * count,
        truncated=np.zeros(count, bool),
        class_names=["a", "b"],
        multi_label=False,
        recipe={"random": True, "levels": list(LEVELS)},
        split_id="none",
        data_dir="",
        levels={"fine": np.broadcast_to(rows / 2, (total, 4, 4, 2))},
    )


FILE = features_file()
BLOCKS = cut_blocks(FILE, VIDEOS, num_steps=4, fps=30, stride=1)
ORDER = np.random.default_rng(0).permutation(len(BLOCKS))


@pytest.mark.parametrize("share_frames", [False, True])
@pytest.mark.parametrize("name", ["disk", "host", "device"])
def test_a_batch_has_every_level_of_the_same_frames(name, share_frames):
    parallel = ways.choose("jit")
    store = open_store(name, FILE, np.float32, VIDEOS, parallel, levels=LEVELS)
    assert isinstance(store, Levels) and store.name == name
    count = 0
    for batch in load_batches(store, BLOCKS, ORDER, 4, parallel, share_frames=share_frames):
        arrays = jax.tree.map(np.asarray, look_up(batch.arrays, np.float32))
        found = arrays["features"] if "features" in arrays else arrays["frames"]
        if share_frames:
            found = {level: frames[arrays["where"]] for level, frames in found.items()}
        rows = BLOCKS.rows[batch.block].astype(np.float32)[..., None, None]
        np.testing.assert_array_equal(found["coarse"], np.broadcast_to(rows, (4, 4, 4, 3)))
        np.testing.assert_array_equal(found["fine"], np.broadcast_to(rows / 2, (4, 4, 16, 2)))
        np.testing.assert_array_equal(arrays["labels"], FILE.labels[BLOCKS.video[batch.block]])
        count += int(batch.weight.sum())
    assert count == len(BLOCKS)


def test_over_a_mesh_every_device_takes_its_blocks_from_the_tables_of_all_levels():
    mesh, one = ways.OverMesh(), ways.choose("jit")
    on_devices = open_store("device", FILE, np.float32, VIDEOS, mesh, levels=LEVELS)
    step = jax.jit(lambda batch: mesh._look_up(batch, np.float32)["features"])
    expected = load_batches(store_on_disk(FILE, np.float32, LEVELS), BLOCKS, ORDER, 8, one)
    for batch, wanted in zip(load_batches(on_devices, BLOCKS, ORDER, 8, mesh), expected, strict=True):
        assert batch.arrays["table"] is on_devices.table
        found = step(batch.arrays)
        for level in LEVELS:
            np.testing.assert_array_equal(found[level], wanted.arrays["features"][level])


def test_auto_counts_the_bytes_of_all_levels(monkeypatch):
    """18 frames of 12 and 32 values in float16: 1584 bytes; the first level alone has 432."""
    monkeypatch.setattr(feature_stores, "free_device_memory", lambda devices: 1584)
    monkeypatch.setattr(feature_stores, "free_host_memory", lambda: 1 << 30)
    parallel = ways.choose("jit")
    assert open_store("auto", FILE, np.float32, VIDEOS, parallel).name == "device"
    assert open_store("auto", FILE, np.float32, VIDEOS, parallel, levels=LEVELS).name == "host"


def test_a_level_that_is_not_there_is_named():
    with pytest.raises(InputError, match="level finest: the features file has coarse, fine"):
        store_on_disk(FILE, np.float32, ("coarse", "finest"))
    single = dataclasses.replace(FILE, recipe={"random": True}, levels={})
    with pytest.raises(InputError, match="level coarse: the features file has one level alone"):
        store_on_disk(single, np.float32, ("coarse", "fine"))
