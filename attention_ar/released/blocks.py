"""The released program's blocks and batches: other starts and another frame rate than the paper's.

The frames of a block after its start are those of `attention_ar.blocks.block_frames`, as for the paper. So is the
repeated last frame of a video that ends early.
"""

import math
from collections.abc import Iterator

import numpy as np

from attention_ar.errors import InputError


def released_skip(fps: float) -> int:
    """Returns k: a block takes every k-th stored frame. It is int(30 / fps), whatever the video's rate.

    Raises:
      InputError: for a rate above 30, for which the program crashes.
    """
    if not (math.isfinite(fps) and 0 < fps <= 30):
        raise InputError(
            f"fps={fps:g}: must be above 0 and at most 30, the rate that the released program takes all videos to have"
        )
    return int(30 / fps)


def released_block_starts(num_frames: int, num_steps: int, skip: int, stride: int = 1) -> np.ndarray:
    """Returns the first frame of every block of a video, `<int64>[num_blocks]`.

    They are range(0, max(1, F − T·skip + 1), stride). The paper's last block ends with the last frame; here,
    for skip > 1, it ends up to skip − 1 frames earlier.

    Args:
      num_frames: F, the video's number of stored frames, at least 1.
      num_steps: T, the frames of a block.
      skip: the distance of two frames of a block, see `released_skip`.
      stride: the distance of the starts of two blocks.
    """
    return np.arange(0, max(1, num_frames - num_steps * skip + 1), stride)


def released_block_table(frame_counts, num_steps: int, skip: int, stride: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Lists the blocks of all videos, in the order of the videos.

    Args:
      frame_counts: the videos' numbers of frames, `<int>[num_videos]`.
      num_steps, skip, stride: see `released_block_starts`.

    Returns:
      The video of each block and its start within that video, each `<int64>[num_blocks]`.
    """
    starts = [released_block_starts(count, num_steps, skip, stride) for count in frame_counts]
    video = np.repeat(np.arange(len(starts)), [len(s) for s in starts])
    return video, np.concatenate([np.empty(0, np.int64), *starts])


def batches(num_blocks: int, batch_size: int) -> Iterator[np.ndarray]:
    """Yields the numbers of the blocks of each batch, in order; the last batch may be short."""
    for first in range(0, num_blocks, batch_size):
        yield np.arange(first, min(first + batch_size, num_blocks))
