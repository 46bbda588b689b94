"""Blocks of a video that is still arriving: each as soon as its last frame has arrived, in bounded memory."""

from collections.abc import Iterator

import numpy as np

from attention_ar.blocks import block_frames


class BlockWindow:
    """Cuts a stream of frames as `block_table.cut_blocks` cuts a whole video. Frames that no block needs are dropped.

    Args:
      num_steps: T.
      skip: the distance of two frames of a block, see `attention_ar.blocks.frame_skip`.
      stride: the distance of the starts of two blocks.
      rule: "paper" or "released"; the latter's blocks also wait for the skip − 1 frames after their last one.

    Attributes:
      num_frames: how many frames have arrived.
      next_start: the first frame of the next block.
    """

    def __init__(self, num_steps: int, skip: int, stride: int, rule: str = "paper"):
        self.num_steps, self.skip, self.stride = num_steps, skip, stride
        self.num_frames = self.next_start = 0
        self._span = num_steps * skip if rule == "released" else (num_steps - 1) * skip + 1
        self._cached: dict[int, np.ndarray] = {}

    def __len__(self):
        """How many frames are cached."""
        return len(self._cached)

    def needs(self, frame: int) -> bool:
        """Whether a frame is one of a block's T. The others need not go through the network."""
        latest = frame // self.stride * self.stride
        earliest = max(0, frame - (self.num_steps - 1) * self.skip)
        return any((frame - start) % self.skip == 0 for start in range(latest, earliest - 1, -self.stride))

    def add(self, frames, features, num_frames: int):
        """Adds the features of the needed frames that have arrived since the last call.

        Args:
          frames: their numbers, ascending, `<int>[n]`.
          features: `<float>[n, ...]`.
          num_frames: how many frames have arrived, with those that are not needed.
        """
        for frame, feature in zip(frames, features, strict=True):
            if frame >= self.next_start:
                self._cached[frame] = feature
        self.num_frames = num_frames

    def complete(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yields the blocks that have become complete: first frame, and features `<float>[T, ...]`."""
        while self.next_start + self._span <= self.num_frames:
            yield self._block()

    def rest(self) -> tuple[int, np.ndarray] | None:
        """Returns the block that the video's end cuts short, its last frame repeated; None if none has begun.

        It is used only if it is the video's only block (section 4.2).
        """
        return self._block() if self.next_start < self.num_frames else None

    def _block(self):
        start = self.next_start
        frames = block_frames(start, self.num_frames, self.num_steps, self.skip)
        features = np.stack([self._cached[frame] for frame in frames.tolist()])
        self.next_start += self.stride
        for frame in [frame for frame in self._cached if frame < self.next_start]:
            del self._cached[frame]
        return start, features
