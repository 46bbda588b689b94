"""Batches of blocks, prepared ahead of the step that uses them."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from data_prep.common.read_ahead import read_ahead
from data_prep.loading.block_table import Blocks, full_batches
from data_prep.loading.buffers import AHEAD, aligned_empty, copy_rows


@dataclass(frozen=True)
class Batch:
    """One batch of blocks.

    Attributes:
      block: indices of all its blocks, those of other processes too, `<int64>[B]`.
      weight: 1 for a block, 0 for padding, `<float32>[B]`.
      arrays: the batch on the devices, see `attention_ar.training.steps.predict`.
    """

    block: np.ndarray
    weight: np.ndarray
    arrays: dict


def load_batches(store, blocks: Blocks, order, batch_size: int, parallel, *, first=0, share_frames=False):
    """Yields the blocks in `order` as batches on the devices. A thread prepares them ahead of their use.

    A batch is valid until the next but one is requested; then its buffer is reused.

    Args:
      store: the feature store, see `feature_stores`.
      blocks: of the file that the store has.
      order: indices into `blocks`.
      batch_size: B, of the whole batch.
      parallel: of `attention_ar.training.parallel`; it determines the local shard of a batch that this process makes.
      first: the number of batches to leave out at the beginning.
      share_frames: whether a batch has each frame once, to which its blocks refer. No effect with several devices.

    Yields:
      A `Batch` each.
    """
    made = _make(store, blocks, order, batch_size, parallel, first, share_frames and parallel.num_devices == 1)
    return read_ahead([made], iter, workers=1, depth=AHEAD)


def _make(store, blocks, order, batch_size, parallel, first, share_frames) -> Iterator[Batch]:
    local = parallel.local_shard(batch_size)
    block, weight = (of_batch[first:] for of_batch in full_batches(order, batch_size))
    labels = store.file.labels.astype(np.promote_types(np.float32, store.dtype))
    eighth = -(-len(range(batch_size)[local]) * blocks.rows.shape[1] // 8)
    buffers = _buffers((8 * eighth, *store.frame_shape), store.dtype)
    sources = store.sources(blocks.video[block[:, local]].reshape(-1).tolist())
    for these, weights in zip(block, weight, strict=True):
        mine = these[local]
        video, rows = blocks.video[mine], blocks.rows[mine]
        of_video = {v: next(sources) for v in video.tolist()}
        arrays = {
            "labels": labels[video],
            "weight": weights[local].astype(labels.dtype),
            "index": np.arange(batch_size, dtype=np.int32)[local],
            "start": (rows[:, 0] - store.file.first_row[video]).astype(np.int32),
        }
        if share_frames:
            shape = rows.shape
            rows, where = np.unique(rows, return_inverse=True)
            arrays["where"] = where.reshape(shape).astype(np.int32)
            # One of eight sizes, so that few programs are compiled.
            rows = np.pad(rows, (0, -len(rows) % eighth), mode="edge")
        if store.table is not None:
            arrays |= {"table": store.table, "rows": store.place[rows]}
        else:
            features = next(buffers)[: rows.size].reshape(*rows.shape, *store.frame_shape)
            if share_frames:
                video = np.searchsorted(store.file.first_row, rows, side="right") - 1
                firsts = np.flatnonzero(np.diff(video, prepend=-1))
                runs = [slice(a, b) for a, b in itertools.pairwise([*firsts, len(rows)])]
                video = video[firsts]
            else:
                runs = range(len(rows))
            for run, v in zip(runs, video.tolist(), strict=True):
                copy_rows(of_video[v], rows[run] - store.file.first_row[v], features[run])
            arrays["frames" if share_frames else "features"] = features
        yield Batch(these, weights, parallel.put(arrays))


def _buffers(shape, dtype) -> Iterator[np.ndarray]:
    """Yields the same arrays in turn, endlessly: one is being filled, `AHEAD` wait, and two are in use."""
    made = []
    for _ in range(AHEAD + 3):
        made.append(aligned_empty(shape, dtype))
        yield made[-1]
    yield from itertools.cycle(made)
