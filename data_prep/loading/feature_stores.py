"""The three feature stores of training: features on the device, in the host's memory, or on disk.

Blocks, their order and their values are the same from all three. From a table on the device, the compiled step gathers
the blocks. From the other two, a thread that works ahead of the step copies them into reused buffers
(`batches`).
"""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from attention_ar.errors import InputError
from data_prep.common.progress import Progress
from data_prep.loading.block_table import GROUP_SIZE
from data_prep.loading.buffers import AHEAD, aligned_empty, announce, copy_rows
from data_prep.loading.memory import LARGEST_FRACTION, free_device_memory, free_host_memory

CACHED = 2 * GROUP_SIZE  # At most so many videos are cached in memory, those in use and the next ones,
CACHED_BYTES = 4 << 30  # and at most so many bytes of them.


class OnDisk:
    """Features stay on disk. Every video is read once an epoch, before its first block is due.

    Attributes:
      file: a FeaturesFile.
      dtype: of the features in a batch.
      frame_shape: (K², D).
      table: `<float16>[F, K², D]` on the devices, from which the step takes a batch's features; None if there is none.
    """

    name = "disk"
    table = None

    def __init__(self, file, dtype):
        self.file, self.dtype = file, np.dtype(dtype)
        self.frame_shape = int(np.prod(file.features.shape[1:3])), file.features.shape[-1]

    def sources(self, videos: list[int]) -> Iterator[np.ndarray]:
        """Yields the features `<float>[num_frames, K², D]` of each of these videos, which may repeat."""
        last_use = {video: number for number, video in enumerate(videos)}
        waiting, cached = deque(last_use), {}  # In order of first use.
        frame_bytes = 2 * math.prod(self.frame_shape)
        most = CACHED_BYTES // max(frame_bytes * int(np.mean(self.file.num_frames)), 1)
        pool = ThreadPoolExecutor(2, thread_name_prefix="read-ahead")
        try:
            for number, video in enumerate(videos):
                while waiting and (len(cached) < min(CACHED, most) or video not in cached):
                    due = waiting.popleft()
                    cached[due] = pool.submit(self._read, due)
                yield cached[video].result()
                if last_use[video] == number:
                    del cached[video]
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, video: int) -> np.ndarray:
        first, count = self.file.first_row[video], self.file.num_frames[video]
        rows = self.file.features[first : first + count]
        announce(rows)
        return rows.reshape(count, *self.frame_shape)


class InMemory(OnDisk):
    """Features of the videos that are needed, in the host's memory and in the compute dtype."""

    name = "host"

    def __init__(self, file, dtype, videos):
        super().__init__(file, dtype)
        counts = file.num_frames[videos].tolist()
        table = aligned_empty((sum(counts), *self.frame_shape), self.dtype)
        self._videos, start = {}, 0
        with Progress(len(table), 0, "frame") as progress:
            read = super().sources(np.asarray(videos).tolist())
            for video, count, source in zip(np.asarray(videos).tolist(), counts, read, strict=True):
                self._videos[video] = table[start : start + count]
                copy_rows(source, np.arange(count), self._videos[video])
                start += count
                progress.advance(count)

    def sources(self, videos):
        return (self._videos[video] for video in videos)


class OnDevice(OnDisk):
    """Features of the videos that are needed, in the memory of every device, as they are stored: float16."""

    name = "device"

    def __init__(self, file, dtype, videos, parallel):
        super().__init__(file, dtype)
        ranges = zip(file.first_row[videos], file.num_frames[videos], strict=True)
        rows = np.concatenate([first + np.arange(count) for first, count in ranges])
        self.place = np.zeros(len(file.features), np.int32)  # The row of the table for each row of the file.
        self.place[rows] = np.arange(len(rows))
        num_bytes, free = 2 * len(rows) * math.prod(self.frame_shape), free_device_memory(parallel.devices)
        if 0 < free < num_bytes:
            raise InputError(
                f"features_on=device: the features of {len(rows)} frames are {num_bytes / 1e9:.1f} GB, a device has "
                f"{free / 1e9:.1f} GB free; use --features_on=host or disk"
            )
        self.table = parallel.replicate(file.features[rows].reshape(-1, *self.frame_shape).astype(np.float16))

    def sources(self, videos):
        return (None for _ in videos)  # The step looks them up.


class Levels:
    """One store a level, for models that read several.

    Attributes:
      stores: by the level's name, the first level first. A batch has `features`, `frames` or `table` of each, by name.
      name, file, dtype: as of one store.
      table: of each level by name, or None.
    """

    def __init__(self, stores: dict[str, OnDisk], file):
        self.stores, self.file = stores, file
        first = next(iter(stores.values()))
        self.name, self.dtype = first.name, first.dtype
        self.table = None if first.table is None else {level: store.table for level, store in stores.items()}


def store_on_disk(file, dtype, levels=()):
    """Returns a store of features that stay on disk; of several levels if they are named, see `open_store`."""
    if not levels:
        return OnDisk(file, dtype)
    return Levels({level: OnDisk(file.at_level(level), dtype) for level in levels}, file)


def open_store(name: str, file, dtype, videos, parallel, batch_bytes: int = 0, levels=()):
    """Loads the features of some videos into a feature store.

    Args:
      name: "device", "host", "disk", or "auto": the first of these that has room for all of them. "auto" takes "device"
        only if the devices have their own memory.
      file: a FeaturesFile.
      dtype: of the computation: numpy's float32 or float64, or ml_dtypes' bfloat16.
      videos: the indices of the videos whose blocks will be loaded.
      parallel: of `attention_ar.training.parallel`.
      batch_bytes: of the features of this process's local shard of a batch; the host must have room for several.
      levels: names of the levels to load, the first one first, for a model that reads several; () is the first alone.

    Raises:
      InputError: for another name, and for "device" where the features are larger than the memory that is free there.
    """
    if name not in ("auto", "device", "host", "disk"):
        raise InputError(f"features_on={name!r}: must be auto, device, host or disk")
    files = {level: file.at_level(level) for level in levels} if levels else {"": file}
    if name == "auto":
        per_frame = sum(math.prod(of_level.features.shape[1:]) for of_level in files.values())
        values = int(file.num_frames[videos].sum()) * per_frame
        buffers = (AHEAD + 3) * batch_bytes
        if 2 * values < LARGEST_FRACTION * free_device_memory(parallel.devices):
            name = "device"
        elif values * np.dtype(dtype).itemsize < LARGEST_FRACTION * (free_host_memory() - buffers):
            name = "host"
        else:
            name = "disk"

    def one(file):
        if name == "device":
            return OnDevice(file, dtype, videos, parallel)
        return InMemory(file, dtype, videos) if name == "host" else OnDisk(file, dtype)

    return Levels({level: one(of_level) for level, of_level in files.items()}, file) if levels else one(file)
