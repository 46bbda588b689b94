"""From a features file to batches of blocks.

Frames are stored once. A block is a row of frame numbers; its features are gathered when its batch is due, on a thread
that works ahead of the training step.
"""

from dataclasses import dataclass

import numpy as np

from attention_ar.blocks import block_frames, block_starts, frame_skip
from attention_ar.errors import InputError
from attention_ar.released.blocks import released_block_starts, released_skip
from data_prep.read_ahead import read_ahead

GROUP_SIZE = 256  # Videos whose blocks are shuffled together: enough to mix, few enough for the disk's cache.


@dataclass(frozen=True)
class Blocks:
    """The blocks of some videos of a features file.

    Attributes:
      video: the index of each block's video in the file, `<int64>[num_blocks]`.
      rows: the rows of the feature table that are its T frames, `<int64>[num_blocks, T]`.
    """

    video: np.ndarray
    rows: np.ndarray

    def __len__(self):
        return len(self.video)

    def num_padded(self) -> int:
        """Returns how many blocks repeat a frame because their video ends early; it has no other block."""
        return int(np.sum(self.rows[:, -1:] == self.rows[:, -2:-1]))


def cut_blocks(file, videos, num_steps: int, fps: float, stride: int, rule: str = "paper") -> Blocks:
    """Cuts videos into blocks as section 4.2 does, or as the authors' released program does.

    Args:
      file: a FeaturesFile.
      videos: indices of videos in it.
      num_steps: T.
      fps: the rate at which a block samples frames.
      stride: the distance, in stored frames, of the starts of two blocks.
      rule: "paper" or "released", see `released_block_starts`.

    Raises:
      InputError: for a video whose stored rate is too low for `fps`.
    """
    owners, rows = [np.zeros(0, np.int64)], [np.zeros((0, num_steps), np.int64)]
    for video in videos:
        num_frames = int(file.num_frames[video])
        if rule == "released":
            skip = released_skip(fps)
            starts = released_block_starts(num_frames, num_steps, skip, stride)
        else:
            try:
                skip = frame_skip(file.fps[video], fps)
            except InputError as error:
                raise InputError(f"{file.names[video]}: {error}") from None
            starts = block_starts(num_frames, num_steps, skip, stride)
        frames = [block_frames(start, num_frames, num_steps, skip) for start in starts]
        rows.append(file.first_row[video] + np.stack(frames))
        owners.append(np.full(len(starts), video))
    return Blocks(np.concatenate(owners), np.concatenate(rows))


def epoch_order(block_video: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Returns the order of the blocks in one epoch of training, a permutation `<int64>[num_blocks]`.

    The videos are permuted and taken in groups of at least 256 (or all of them); the blocks of a group are shuffled. So
    a batch mixes many videos, while a frame is needed in one part of the epoch only. The order follows from seed and
    epoch alone.
    """
    random = np.random.default_rng([seed, epoch])
    videos = random.permutation(np.unique(block_video))
    groups = np.array_split(videos, max(len(videos) // GROUP_SIZE, 1))
    return np.concatenate([random.permutation(np.flatnonzero(np.isin(block_video, group))) for group in groups])


def batches(file, blocks: Blocks, order, batch_size: int, dtype=np.float32, per_frame: bool = False):
    """Yields the blocks in `order`, `batch_size` at a time.

    The last batch is filled up with its first block at weight 0, so that all batches have one shape.

    Args:
      file: a FeaturesFile.
      blocks: what `cut_blocks` returned.
      order: indices into `blocks`.
      batch_size: B.
      dtype: type of the features.
      per_frame: for a model that looks at each frame by itself: instead of every block's features, `frames`
        `<dtype>[F, K², D]`, each frame of the batch once (F is rounded up by repeating the last one, to one of eight
        sizes), and `where` `<int64>[B, T]`, each block's frames among them.

    Yields:
      Dicts of `features` `<dtype>[B, T, K², D]`, `labels` `<dtype>[B, C]`, `weight` `<dtype>[B]`, and `block`
      `<int64>[B]`, the blocks' indices.
    """
    for first in range(0, len(order), batch_size):
        block = np.asarray(order[first : first + batch_size])
        num_real = len(block)
        block = np.concatenate([block, np.full(batch_size - num_real, block[0])])
        # Blocks overlap: each frame is converted once.
        frames, where = np.unique(blocks.rows[block], return_inverse=True)
        where = where.reshape(blocks.rows[block].shape)
        if per_frame:
            unit = -(-where.size // 8)
            frames = np.pad(frames, (0, -len(frames) % unit), mode="edge")
        table = file.features[frames].astype(dtype).reshape(len(frames), -1, file.features.shape[-1])
        yield {
            **({"frames": table, "where": where} if per_frame else {"features": table[where]}),
            "labels": file.labels[blocks.video[block]].astype(dtype),
            "weight": (np.arange(batch_size) < num_real).astype(dtype),
            "block": block,
        }


def prefetch(iterator, ahead: int = 2):
    """Yields what `iterator` does, which runs on a thread of its own and stays `ahead` items in front."""
    return read_ahead([iterator], iter, workers=1, depth=ahead)
