"""The indices of blocks, their order and their batches. The features come from one of the `feature_stores`.

Frames are stored once. A block is a row of frame numbers; its features are gathered when its batch is made.
"""

from dataclasses import dataclass

import numpy as np

from attention_ar.blocks import block_frames, block_starts, frame_skip
from attention_ar.errors import InputError
from attention_ar.released.blocks import released_block_starts, released_skip

GROUP_SIZE = 256  # Videos whose blocks are shuffled together: enough to mix, few enough for memory.


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
        """Returns how many blocks repeat a frame because their video is shorter than one block."""
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
        num_frames, skip = int(file.num_frames[video]), block_skip(file, video, fps, rule)
        cut = released_block_starts if rule == "released" else block_starts
        starts = cut(num_frames, num_steps, skip, stride)
        frames = [block_frames(start, num_frames, num_steps, skip) for start in starts]
        rows.append(file.first_row[video] + np.stack(frames))
        owners.append(np.full(len(starts), video))
    return Blocks(np.concatenate(owners), np.concatenate(rows))


def block_skip(file, video: int, fps: float, rule: str = "paper") -> int:
    """Returns k: a block has every k-th stored frame of a video. See `cut_blocks`."""
    if rule == "released":
        return released_skip(fps)
    try:
        return frame_skip(file.fps[video], fps)
    except InputError as error:
        raise InputError(f"{file.names[video]}: {error}") from None


def epoch_order(block_video: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Returns the order of the blocks in one epoch of training, a permutation `<int64>[num_blocks]`.

    The videos are permuted and taken in groups of at least 256 (or all of them); the blocks of a group are shuffled. So
    a batch mixes many videos, and a frame is needed in only one part of the epoch. The order depends only on seed and
    epoch.
    """
    random = np.random.default_rng([seed, epoch])
    videos = random.permutation(np.unique(block_video))
    groups = np.array_split(videos, max(len(videos) // GROUP_SIZE, 1))
    return np.concatenate([random.permutation(np.flatnonzero(np.isin(block_video, group))) for group in groups])


def full_batches(order, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Divides the blocks in `order` into batches of one size.

    The last batch is padded with its first block at weight 0.

    Args:
      order: indices of blocks.
      batch_size: B.

    Returns:
      Block indices `<int64>[num_batches, B]`, and weights `<float32>[num_batches, B]`: 1 for a block, 0 for
      padding.
    """
    num_batches = -(-len(order) // batch_size)
    weight = np.arange(num_batches * batch_size) < len(order)
    block = np.resize(order, weight.shape)
    if not weight.all():
        block[~weight] = order[(num_batches - 1) * batch_size]
    shape = num_batches, batch_size
    return block.reshape(shape).astype(np.int64), weight.reshape(shape).astype(np.float32)
