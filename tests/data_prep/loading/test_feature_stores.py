"""The three feature stores make the same batches, and nothing is read twice in an epoch."""

import jax
import ml_dtypes
import numpy as np
import pytest

from attention_ar.errors import InputError
from attention_ar.training import parallel as ways
from attention_ar.training.feature_table import look_up
from data_prep.features.contents import FeaturesFile
from data_prep.features.hdf5_file import write_features
from data_prep.features.opening import open_features
from data_prep.loading import feature_stores
from data_prep.loading.batches import AHEAD, load_batches
from data_prep.loading.block_table import cut_blocks, epoch_order
from data_prep.loading.buffers import copy_rows, widen
from data_prep.loading.feature_stores import InMemory, OnDevice, OnDisk, open_store

CELLS, MAPS, STEPS = 2, 4, 4


def features_file(num_frames, features=None):
    """Features whose value says which row they are from, in which cell and map."""
    num_frames = np.array(num_frames)
    total, count = int(num_frames.sum()), len(num_frames)
    within = np.arange(CELLS * CELLS * MAPS).reshape(CELLS, CELLS, MAPS) / 32
    return FeaturesFile(
        features=(np.arange(total)[:, None, None, None] + within[None]).astype(np.float16)
        if features is None
        else features,
        names=[f"clip{i}.avi" for i in range(count)],
        first_row=np.cumsum(num_frames) - num_frames,
        num_frames=num_frames,
        native_fps=np.full(count, 30.0),
        fps=np.full(count, 30.0),
        labels=np.eye(3, dtype=np.uint8)[np.arange(count) % 3],
        groups=[""] * count,
        splits=["train"] * count,
        truncated=np.zeros(count, bool),
        class_names=["a", "b", "c"],
        multi_label=False,
        recipe={"random": True},
        split_id="none",
        data_dir="",
    )


FILE = features_file([6, 4, 9, 3, 12])
VIDEOS = np.array([0, 2, 3, 4])
BLOCKS = cut_blocks(FILE, VIDEOS, num_steps=STEPS, fps=30, stride=1)
ORDER = np.random.default_rng(0).permutation(len(BLOCKS))


def arrays_of(batch, dtype=np.float32):
    """The batch's arrays, with the features looked up and put to their places."""
    arrays = {name: np.asarray(array) for name, array in look_up(batch.arrays, dtype).items()}
    if "frames" in arrays:
        arrays["features"] = arrays.pop("frames")[arrays.pop("where")]
    return arrays


def all_stores(parallel, dtype=np.float32):
    return [open_store(name, FILE, dtype, VIDEOS, parallel) for name in ("disk", "host", "device")]


@pytest.mark.parametrize("share_frames", [False, True])
def test_batches_hold_what_the_blocks_say(share_frames):
    parallel = ways.choose("jit")
    expected = FILE.features.astype(np.float32).reshape(-1, CELLS * CELLS, MAPS)
    for store in all_stores(parallel):
        seen = []
        for batch in load_batches(store, BLOCKS, ORDER, 4, parallel, share_frames=share_frames):
            assert ("where" in batch.arrays) == share_frames
            arrays = arrays_of(batch)
            # Cells are numbered row by row.
            np.testing.assert_array_equal(arrays["features"], expected[BLOCKS.rows[batch.block]])
            assert {arrays[name].dtype for name in ("features", "labels", "weight")} == {np.dtype(np.float32)}
            np.testing.assert_array_equal(arrays["labels"], FILE.labels[BLOCKS.video[batch.block]])
            np.testing.assert_array_equal(arrays["weight"], batch.weight)
            assert arrays["index"].tolist() == [0, 1, 2, 3]
            seen += batch.block[batch.weight == 1].tolist()
        assert seen == ORDER.tolist()
        assert batch.weight.sum() == len(BLOCKS) % 4 != 0


def test_a_batch_that_shares_frames_has_each_once_and_one_of_eight_sizes():
    parallel = ways.choose("jit")
    for batch in load_batches(OnDisk(FILE, np.float32), BLOCKS, ORDER, 8, parallel, share_frames=True):
        distinct = len(np.unique(BLOCKS.rows[batch.block]))
        count = len(batch.arrays["frames"])
        assert distinct <= count < distinct + 4  # 8·4 frames in eight sizes.
        assert count % 4 == 0


def test_an_epoch_can_begin_in_its_middle():
    parallel = ways.choose("jit")
    for store in all_stores(parallel):
        whole = [(batch.block.tolist(), arrays_of(batch)) for batch in load_batches(store, BLOCKS, ORDER, 4, parallel)]
        rest = [
            (batch.block.tolist(), arrays_of(batch))
            for batch in load_batches(store, BLOCKS, ORDER, 4, parallel, first=2)
        ]
        assert len(rest) == len(whole) - 2
        for (block, arrays), (expected_block, expected) in zip(rest, whole[2:], strict=True):
            assert block == expected_block
            for name in expected:
                np.testing.assert_array_equal(arrays[name], expected[name])


class Process(ways.OverMesh):
    """One of several processes, as far as its local shard of a batch goes."""

    def __init__(self, index, count):
        super().__init__(jax.devices()[:1])
        self.index, self.count = index, count

    def local_shard(self, batch_size):
        return slice(self.index * batch_size // self.count, (self.index + 1) * batch_size // self.count)


def test_processes_make_local_shards_of_the_same_batches():
    store = OnDisk(FILE, np.float32)
    whole = [arrays_of(batch) for batch in load_batches(store, BLOCKS, ORDER, 4, Process(0, 1))]
    halves = [[arrays_of(b) for b in load_batches(store, BLOCKS, ORDER, 4, Process(i, 2))] for i in range(2)]
    for expected, first, second in zip(whole, *halves, strict=True):
        assert len(first["features"]) == len(second["features"]) == 2
        for name in expected:
            np.testing.assert_array_equal(np.concatenate([first[name], second[name]]), expected[name])


def test_over_a_mesh_every_device_has_the_table_and_takes_its_blocks_from_it():
    mesh, one = ways.OverMesh(), ways.choose("jit")
    on_devices = OnDevice(FILE, np.float32, VIDEOS, mesh)
    assert [shard.data.shape for shard in on_devices.table.addressable_shards] == [(30, CELLS * CELLS, MAPS)] * 8
    expected = [arrays_of(batch) for batch in load_batches(OnDisk(FILE, np.float32), BLOCKS, ORDER, 8, one)]
    for batch, wanted in zip(load_batches(on_devices, BLOCKS, ORDER, 8, mesh), expected, strict=True):
        assert batch.arrays["rows"].sharding == mesh.sharded
        np.testing.assert_array_equal(arrays_of(batch)["features"], wanted["features"])


def test_a_table_that_no_device_has_room_for_is_refused(monkeypatch):
    # 30 rows of 16 values in float16 are 960 bytes.
    monkeypatch.setattr(feature_stores, "free_device_memory", lambda devices: 959)
    with pytest.raises(InputError, match=r"features_on=device: the features of 30 frames are .*; use --features_on=ho"):
        open_store("device", FILE, np.float32, VIDEOS, ways.choose("jit"))
    monkeypatch.setattr(feature_stores, "free_device_memory", lambda devices: 960)
    assert open_store("device", FILE, np.float32, VIDEOS, ways.choose("jit")).name == "device"


def test_bfloat16_features_are_those_of_float16_rounded():
    parallel = ways.choose("jit")
    expected = FILE.features.astype(np.float32).astype(ml_dtypes.bfloat16).reshape(-1, CELLS * CELLS, MAPS)
    for store in all_stores(parallel, ml_dtypes.bfloat16):
        for batch in load_batches(store, BLOCKS, ORDER, 4, parallel):
            arrays = arrays_of(batch, ml_dtypes.bfloat16)
            assert arrays["labels"].dtype == arrays["weight"].dtype == np.float32
            np.testing.assert_array_equal(arrays["features"], expected[BLOCKS.rows[batch.block]])


class CountingRows(np.ndarray):
    """Features that note which rows are read."""

    def __getitem__(self, index):
        if isinstance(index, slice):
            self.reads.append((index.start, index.stop))
        return np.asarray(super().__getitem__(index))


@pytest.mark.parametrize("cached", [1, 3, 600])
def test_every_video_is_read_once_an_epoch_and_few_are_cached(monkeypatch, cached):
    monkeypatch.setattr(feature_stores, "CACHED", cached)
    file = features_file([5] * 40)
    rows = np.asarray(file.features).view(CountingRows)
    rows.reads = []
    file = features_file([5] * 40, rows)
    blocks = cut_blocks(file, np.arange(40), num_steps=STEPS, fps=30, stride=1)
    order = epoch_order(blocks.video, seed=0, epoch=1)
    parallel = ways.choose("jit")
    loaded = load_batches(OnDisk(file, np.float32), blocks, order, 4, parallel)
    expected = np.asarray(rows).astype(np.float32).reshape(-1, CELLS * CELLS, MAPS)
    for batch in loaded:
        np.testing.assert_array_equal(batch.arrays["features"], expected[blocks.rows[batch.block]])
    assert sorted(rows.reads) == [(5 * v, 5 * v + 5) for v in range(40)]


def test_a_batch_is_untouched_until_the_next_but_one_is_asked_for():
    parallel = ways.choose("jit")
    file = features_file([40])
    blocks = cut_blocks(file, [0], num_steps=STEPS, fps=30, stride=1)
    loaded = load_batches(OnDisk(file, np.float32), blocks, np.arange(len(blocks)), 2, parallel)
    before, kept = next(loaded), None
    for batch in loaded:  # More of them than there are buffers.
        for held in (before, batch):
            np.testing.assert_array_equal(np.asarray(held.arrays["features"])[:, :, 0, 0], blocks.rows[held.block])
        before, kept = batch, before
    assert kept is not None
    assert len(blocks) / 2 > 2 * (AHEAD + 3)


def test_features_are_read_from_a_file(tmp_path):
    write_features(tmp_path / "features.h5", FILE)
    file, parallel = open_features(tmp_path / "features.h5"), ways.choose("jit")
    expected = FILE.features.astype(np.float32).reshape(-1, CELLS * CELLS, MAPS)
    for store in (OnDisk(file, np.float32), InMemory(file, np.float32, VIDEOS)):
        for batch in load_batches(store, BLOCKS, ORDER, 4, parallel):
            np.testing.assert_array_equal(batch.arrays["features"], expected[BLOCKS.rows[batch.block]])


def test_errors_of_reading_reach_the_reader():
    class Broken:
        shape, dtype = (34, CELLS, CELLS, MAPS), np.dtype(np.float16)

        def __getitem__(self, rows):
            raise OSError("the disk is gone")

    loaded = load_batches(
        OnDisk(features_file([6, 4, 9, 3, 12], Broken()), np.float32), BLOCKS, ORDER, 4, Process(0, 1)
    )
    with pytest.raises(OSError, match="the disk is gone"):
        next(loaded)


@pytest.mark.parametrize("rows", [[3], [2, 3, 4], [1, 4, 7], [0, 2, 2, 2], [5, 3, 1], [0, 1, 3]])
def test_copied_rows(rows):
    source, out = np.arange(20, dtype=np.float16).reshape(10, 2), np.zeros((len(rows), 2), np.float32)
    copy_rows(source, np.array(rows), out)
    np.testing.assert_array_equal(out, source[rows])


@pytest.mark.parametrize(
    ("device_memory", "host_memory", "name"),
    [(0, 1 << 40, "host"), (1 << 20, 1 << 40, "device"), (0, 2000, "disk"), (1500, 2000, "disk"), (1500, 4000, "host")],
)
def test_auto_takes_the_first_store_that_has_room(monkeypatch, device_memory, host_memory, name):
    # 30 frames of 16 values: 960 bytes in float16, 1920 in float32; a store may take 60 % of its memory.
    parallel = ways.choose("jit")
    monkeypatch.setattr(feature_stores, "free_device_memory", lambda devices: device_memory)
    monkeypatch.setattr(feature_stores, "free_host_memory", lambda: host_memory)
    assert open_store("auto", FILE, np.float32, VIDEOS, parallel).name == name


def test_an_unknown_store_is_refused():
    with pytest.raises(InputError, match="features_on='tape': must be auto, device, host or disk"):
        open_store("tape", FILE, np.float32, VIDEOS, ways.choose("jit"))


@pytest.mark.parametrize(("batch_size", "num_steps", "stride"), [(1, 6, 1), (3, 6, 6), (2, 5, 5)])
def test_shared_frames_of_any_number_find_room(batch_size, num_steps, stride):
    """Rounded up to one of eight sizes, they may be more than the batch has frames."""
    parallel = ways.choose("jit")
    blocks = cut_blocks(FILE, VIDEOS, num_steps=num_steps, fps=30, stride=stride)
    expected = FILE.features.astype(np.float32).reshape(-1, CELLS * CELLS, MAPS)
    store = OnDisk(FILE, np.float32)
    for batch in load_batches(store, blocks, np.arange(len(blocks)), batch_size, parallel, share_frames=True):
        np.testing.assert_array_equal(arrays_of(batch)["features"], expected[blocks.rows[batch.block]])


def test_widening_is_exact_for_every_float16():
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    for part in (every, every[:0x7C00], every[:0x7C01], every[0x8000:]):
        out = np.full(len(part), -1, np.float32)
        widen(part, out)
        np.testing.assert_array_equal(out, part.astype(np.float32))
