"""The three homes of features in training: on the device, in the host's memory, on disk; and the batches they make.

Blocks, their order and their values are the same from all three. What differs is where a block is put together: on the
device by a gather inside the compiled step, or here, on a thread that works ahead of the step, into buffers that are
used again and again.
"""

import contextlib
import itertools
import math
import mmap
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import psutil

from attention_ar.errors import InputError
from attention_ar.training.parallel import LARGEST_SHARE
from data_prep.batches import GROUP_SIZE, Blocks, full_batches
from data_prep.progress import Progress
from data_prep.read_ahead import read_ahead

AHEAD = 2  # Batches that wait, ready, for the step.
HELD = 2 * GROUP_SIZE  # Videos that are held in memory, those in use and the next,
HELD_BYTES = 4 << 30  # if so many bytes have room for them.


@dataclass(frozen=True)
class Batch:
    """One batch of blocks.

    Attributes:
      block: indices of all its blocks, those of other processes too, `<int64>[B]`.
      weight: 1 for a block, 0 for what fills up the batch, `<float32>[B]`.
      arrays: this process's share on the devices, see `attention_ar.training.steps`.
    """

    block: np.ndarray
    weight: np.ndarray
    arrays: dict


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


def load_batches(home, blocks: Blocks, order, batch_size: int, parallel, *, first=0, share_frames=False):
    """Yields the blocks in `order` as batches that lie on the devices. A thread prepares them ahead of their use.

    A batch may be used until the next but one is asked for; then its buffer is filled again.

    Args:
      home: where the features are.
      blocks: of the file that the home has.
      order: indices into `blocks`.
      batch_size: B, of the whole batch.
      parallel: which part of a batch this process makes, and how it gets to the devices.
      first: the number of batches to leave out at the beginning.
      share_frames: whether a batch has each frame once and its blocks refer to them, if there is but one device.

    Yields:
      A `Batch` each.
    """
    made = _make(home, blocks, order, batch_size, parallel, first, share_frames and parallel.num_devices == 1)
    return read_ahead([made], iter, workers=1, depth=AHEAD)


def _make(home, blocks, order, batch_size, parallel, first, share_frames) -> Iterator[Batch]:
    index, count = parallel.share
    share = slice(index * batch_size // count, (index + 1) * batch_size // count)
    block, weight = (dealt[first:] for dealt in full_batches(order, batch_size))
    labels = home.file.labels.astype(np.promote_types(np.float32, home.dtype))
    eighth = -(-len(range(batch_size)[share]) * blocks.rows.shape[1] // 8)
    buffers = _buffers((8 * eighth, *home.frame_shape), home.dtype)
    sources = home.sources(blocks.video[block[:, share]].reshape(-1).tolist())
    for these, weights in zip(block, weight, strict=True):
        mine = these[share]
        video, rows = blocks.video[mine], blocks.rows[mine]
        of_video = {v: next(sources) for v in video.tolist()}
        arrays = {
            "labels": labels[video],
            "weight": weights[share].astype(labels.dtype),
            "index": np.arange(batch_size, dtype=np.int32)[share],
        }
        if share_frames:
            shape = rows.shape
            rows, where = np.unique(rows, return_inverse=True)
            arrays["where"] = where.reshape(shape).astype(np.int32)
            # One of eight sizes, so that few programs are compiled.
            rows = np.pad(rows, (0, -len(rows) % eighth), mode="edge")
        if home.table is not None:
            arrays |= {**home.table, "rows": home.place[rows]}
        else:
            features = next(buffers)[: rows.size].reshape(*rows.shape, *home.frame_shape)
            if share_frames:
                video = np.searchsorted(home.file.first_row, rows, side="right") - 1
                firsts = np.flatnonzero(np.diff(video, prepend=-1))
                runs = [slice(a, b) for a, b in itertools.pairwise([*firsts, len(rows)])]
                video = video[firsts]
            else:
                runs = range(len(rows))
            for run, v in zip(runs, video.tolist(), strict=True):
                copy_rows(of_video[v], rows[run] - home.file.first_row[v], features[run])
            arrays["frames" if share_frames else "features"] = features
        yield Batch(these, weights, parallel.put(arrays))


def copy_rows(source, rows, out):
    """out[...] = source[rows], with a change of type, and fast where the rows lie at one distance."""
    if source.dtype == np.float16 and out.dtype == np.float32:
        for into, row in zip(out, rows.tolist(), strict=True):
            widen(source[row], into)
        return
    distance = int(rows[1] - rows[0]) if len(rows) > 1 else 1
    if distance > 0 and np.all(np.diff(rows) == distance):
        np.copyto(out, source[rows[0] : rows[-1] + 1 : distance], casting="unsafe")
    else:
        for into, row in zip(out, rows, strict=True):
            np.copyto(into, source[row], casting="unsafe")


def widen(half, out):
    """out[...] = half, from float16 to float32, exactly.

    NumPy asks of every value whether it is zero, which for features, mostly zeros, is a sixth as fast as this. The
    bits of a float16 that is finite and not negative, moved to where a float32 has them, are its value times 2⁻¹¹².
    """
    bits = half.view(np.int16)
    if bits.min() < 0 or bits.max() >= 0x7C00:  # Negative, infinite or no number.
        np.copyto(out, half)
        return
    moved = out.view(np.uint32)
    np.left_shift(bits.view(np.uint16), 13, out=moved, dtype=np.uint32)
    np.multiply(out, np.float32(2.0**112), out=out)


def _buffers(shape, dtype) -> Iterator[np.ndarray]:
    """Yields arrays that are used in turn: one is being filled, `AHEAD` wait, and two are in use."""
    made = []
    for _ in range(AHEAD + 3):
        made.append(aligned_empty(shape, dtype))
        yield made[-1]
    yield from itertools.cycle(made)


def aligned_empty(shape, dtype) -> np.ndarray:
    """Returns an array that begins a page of memory: a CPU as device then uses it where it lies, without a copy."""
    size = max(int(np.prod(shape)) * np.dtype(dtype).itemsize, 1)
    memory = mmap.mmap(-1, size)
    with contextlib.suppress(AttributeError, OSError):  # Not every system has them.
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype, int(np.prod(shape))).reshape(shape)


def announce(rows: np.ndarray):
    """Tells the system, if `rows` are part of a memory map, that they will be needed: it reads them as a whole."""
    memory = getattr(rows, "_mmap", None)
    if memory is None:
        return
    begin = np.frombuffer(memory, np.uint8).ctypes.data
    first = rows.ctypes.data - begin
    first -= first % mmap.PAGESIZE
    with contextlib.suppress(AttributeError, OSError):  # It is advice.
        memory.madvise(mmap.MADV_WILLNEED, first, rows.ctypes.data + rows.nbytes - begin - first)
