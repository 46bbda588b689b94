"""The three homes of features in training: on the device, in the host's memory, on disk; and the batches they make.

Blocks, their order and their values are the same from all three. What differs is where a block is put together: on the
device by a gather inside the compiled step, or here, on a thread that works ahead of the step, into buffers that are
used again and again.
"""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil

from attention_ar.errors import InputError
from attention_ar.training.parallel import LARGEST_SHARE
from data_prep.common.progress import Progress
from data_prep.loading.block_table import GROUP_SIZE
from data_prep.loading.buffers import AHEAD, aligned_empty, announce, copy_rows

HELD = 2 * GROUP_SIZE  # Videos that are held in memory, those in use and the next,
HELD_BYTES = 4 << 30  # if so many bytes have room for them.


class OnDisk:
    """Features stay on disk. Every video is read once an epoch, before its first block is due.

    Attributes:
      file: a FeaturesFile.
      dtype: that features shall have.
      frame_shape: (K², D).
      table: what a batch needs to look its features up, if they are on the device.
    """

    name = "disk"
    table = None

    def __init__(self, file, dtype):
        self.file, self.dtype = file, np.dtype(dtype)
        self.frame_shape = int(np.prod(file.features.shape[1:3])), file.features.shape[-1]

    def sources(self, videos: list[int]) -> Iterator[np.ndarray]:
        """Yields the features `<float>[num_frames, K², D]` of each of these videos, which may repeat."""
        last_use = {video: number for number, video in enumerate(videos)}
        waiting, held = deque(last_use), {}  # In order of first use.
        frame_bytes = 2 * math.prod(self.frame_shape)
        most = HELD_BYTES // max(frame_bytes * int(np.mean(self.file.num_frames)), 1)
        pool = ThreadPoolExecutor(2, thread_name_prefix="read-ahead")
        try:
            for number, video in enumerate(videos):
                while waiting and (len(held) < min(HELD, most) or video not in held):
                    due = waiting.popleft()
                    held[due] = pool.submit(self._read, due)
                yield held[video].result()
                if last_use[video] == number:
                    del held[video]
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, video: int) -> np.ndarray:
        first, count = self.file.first_row[video], self.file.num_frames[video]
        rows = self.file.features[first : first + count]
        announce(rows)
        return rows.reshape(count, *self.frame_shape)


class InMemory(OnDisk):
    """Features of the videos that are needed, in the host's memory and in the type of the computation."""

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
    """Features of the videos that are needed, in the devices' memory, as they are stored: float16."""

    name = "device"

    def __init__(self, file, dtype, videos, parallel):
        super().__init__(file, dtype)
        ranges = zip(file.first_row[videos], file.num_frames[videos], strict=True)
        rows = np.concatenate([first + np.arange(count) for first, count in ranges])
        self.place = np.zeros(len(file.features), np.int32)  # Where in the table each row of the file is.
        self.place[rows] = np.arange(len(rows))

        def read(first, last):
            return file.features[rows[first:last]].reshape(-1, *self.frame_shape)

        self.table = parallel.put_table(len(rows), self.frame_shape, np.float16, read)

    def sources(self, videos):
        return (None for _ in videos)  # The step looks them up.


def open_home(name: str, file, dtype, videos, parallel, batch_bytes: int = 0):
    """Brings the features of some videos to where they shall be.

    Args:
      name: "device", "host", "disk", or "auto": the first of these that has room for all of them, of which "device"
        counts only where each device has, in a memory of its own.
      file: a FeaturesFile.
      dtype: of the computation: numpy's float32 or float64, or ml_dtypes' bfloat16.
      videos: the videos that blocks will be of.
      parallel: of `attention_ar.training.parallel`.
      batch_bytes: of the features of this process's share of a batch; several of them must have room, too.
    """
    if name not in ("auto", "device", "host", "disk"):
        raise InputError(f"features_on={name!r}: must be auto, device, host or disk")
    if name == "auto":
        values = int(file.num_frames[videos].sum()) * int(np.prod(file.features.shape[1:]))
        if 2 * values < LARGEST_SHARE * parallel.free_memory():
            name = "device"
        elif values * np.dtype(dtype).itemsize < LARGEST_SHARE * (
            parallel.least(psutil.virtual_memory().available) - (AHEAD + 3) * batch_bytes
        ):
            name = "host"
        else:
            name = "disk"
    if name == "device":
        return OnDevice(file, dtype, videos, parallel)
    return InMemory(file, dtype, videos) if name == "host" else OnDisk(file, dtype)
