"""One clip on its way to features: what probing found, its frames at the wanted rate, and what became of it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from attention_ar.blocks import frame_skip
from data_prep.video.frames import VideoError, read_frames
from data_prep.video.probe import VideoProbe, probe


@dataclass(frozen=True)
class ClipRecord:
    """What became of one clip.

    Attributes:
      path: as in the clip list.
      num_frames: its rows; 0 for a clip that is lost.
      native_fps: its frames per second; 0 for a clip that is lost.
      fps: frames per second of its rows; likewise.
      reason: why it is lost or cut short; "" for a whole one.
    """

    path: str
    num_frames: int
    native_fps: float
    fps: float
    reason: str


@dataclass(frozen=True)
class ClipSource:
    """A clip before it is decoded: its name in the list, its file, what probing found, and which frames to keep."""

    name: str
    path: str
    found: VideoProbe | VideoError
    every: int

    @property
    def num_rows(self) -> int:
        """How many rows it should give."""
        return 0 if isinstance(self.found, VideoError) else -(-self.found.num_packets // self.every)


def probe_clip(data_dir: str, name: str, fps: float | None) -> ClipSource:
    """Looks at a clip without decoding it.

    Args:
      data_dir: the data set's folder.
      name: the clip's path in it.
      fps: keep every k-th frame, k = round(native / fps); a slower clip keeps all. None keeps all of every clip.
    """
    path = os.path.join(data_dir, name)
    try:
        found = probe(path)
    except VideoError as error:
        return ClipSource(name, path, error, every=1)
    return ClipSource(name, path, found, kept_every(found.fps, fps))


def kept_every(native_fps: float, fps: float | None) -> int:
    """Returns k, where every k-th frame of a clip of `native_fps` is kept; see `probe_clip`."""
    return 1 if fps is None or native_fps < fps else frame_skip(native_fps, fps)


def decode_clip(source: ClipSource, size: tuple[int, int]) -> Iterator[np.ndarray | ClipRecord]:
    """Yields a clip's frames, `<uint8>[n, *size, 3]` in BGR order, a few at a time, and at last its record."""
    if isinstance(source.found, VideoError):
        yield ClipRecord(source.name, 0, 0.0, 0.0, source.found.reason)
        return
    num_rows = 0
    reader = read_frames(source.path, every=source.every, size=size, colour="bgr24")
    try:
        for frames in reader:
            num_rows += len(frames)
            yield frames
    except VideoError as error:
        yield ClipRecord(source.name, 0, 0.0, 0.0, error.reason)
    else:
        native = source.found.fps
        yield ClipRecord(source.name, num_rows, native, native / source.every, reader.cut_short or "")
