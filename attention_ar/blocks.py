"""Blocks: the groups of T frames that the model takes at a time (section 4.2).

"We split each video into groups of 30 frames starting with the first frame, selecting 30 frames according to the
fps rate, and then moving ahead with a stride of 1."
"""

import numpy as np

from attention_ar.errors import InputError


def frame_skip(stored_fps: float, fps: float) -> int:
    """Returns k: a block at `fps` frames per second takes every k-th stored frame.

    1 for 30 fps and 5 for 6 fps when 30 (or 29.97) are stored; 25 and 24 give 1 at 30.

    Args:
      stored_fps: the rate of the frames in the features file, in frames per second.
      fps: the rate at which the block samples them.

    Raises:
      InputError: where the quotient rounds to 0, that is, where more frames are asked for than are stored.
    """
    if not (np.isfinite(fps) and fps > 0):
        raise InputError(f"fps={fps:g}: must be a positive number of frames per second")
    skip = int(np.floor(stored_fps / fps + 0.5))
    if skip == 0:
        raise InputError(
            f"fps={fps:g} asks for more frames than the {stored_fps:g} per second that are stored; "
            f"at most {2 * stored_fps:g} would do"
        )
    return skip


def block_starts(num_frames: int, num_steps: int, skip: int, stride: int = 1) -> np.ndarray:
    """Returns the first frame of every block of a video, `<int64>[num_blocks]`.

    The starts are 0, stride, 2·stride, … as long as the block's last frame, start + (T−1)·skip, exists. A video that
    is shorter than one block has the one start 0.

    Args:
      num_frames: the video's number of stored frames, at least 1.
      num_steps: T, the frames of a block.
      skip: the distance of two frames of a block, see `frame_skip`.
      stride: the distance of the starts of two blocks.
    """
    past_last_start = num_frames - (num_steps - 1) * skip
    return np.arange(0, max(past_last_start, 1), stride)


def block_frames(start: int, num_frames: int, num_steps: int, skip: int) -> np.ndarray:
    """Returns the frames of the block that begins at frame `start`, `<int64>[T]`.

    Where the video ends early, the last frame that was sampled is repeated.
    """
    available = 1 + (num_frames - 1 - start) // skip
    return start + skip * np.minimum(np.arange(num_steps), available - 1)
