"""Frames of the parts of a video, all decoded in one pass."""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
import numpy as np

from data_prep.video.clip_frames import ClipRecord, ClipSource, decode_clip
from data_prep.video.decoding import WholeFrames
from data_prep.video.frame_times import FrameTimes, take
from data_prep.video.parts import WHOLE
from data_prep.video.pictures import Pictures
from data_prep.video.sources import VideoError

_CHUNK = 32  # frames per array
_SHORT = 1.5  # frames, by which a video may end before its last part without a note


def passes(sources: Sequence[ClipSource]) -> list[list[ClipSource]]:
    """Returns clips, in their order, in lists that need one pass through a video each: a whole clip by itself, and the
    parts of one video together, as long as each begins after the one before it has ended."""
    found: list[list[ClipSource]] = []
    for source in sources:
        before = found[-1][-1] if found else None
        if before is None or WHOLE in (before.part, source.part) or before.path != source.path:
            found.append([source])
        elif before.part.end <= source.part.start:
            found[-1].append(source)
        else:
            found.append([source])
    return found


def decode_pass(sources: Sequence[ClipSource], size: tuple[int, int]) -> Iterator[np.ndarray | ClipRecord]:
    """Yields what `decode_clip` does, for each clip of one of the `passes`.

    A part is sampled as if it were a video by itself, from its first frame on. `ClipRecord.frames` has the numbers of
    its frames in the video.
    """
    if sources[0].part == WHOLE:
        yield from decode_clip(sources[0], size)
        return
    try:
        if isinstance(sources[0].found, VideoError):
            raise sources[0].found
        with WholeFrames(sources[0].path) as frames:
            shared, pictures = _Frames(frames), Pictures(size, "bgr24")
            for source in sources:
                yield from _decode_part(source, shared, pictures)
    except VideoError as error:  # It comes before the first frame.
        for source in sources:
            yield ClipRecord(source.name, 0, 0.0, 0.0, error.reason)


def _decode_part(source: ClipSource, shared: "_Frames", pictures: Pictures) -> Iterator[np.ndarray | ClipRecord]:
    sampling, tick = source.sampling, shared.frames.tick
    start, end = _exactly(source.part.start), _exactly(source.part.end)
    ticks: list[int] = []

    def own():
        for number, frame, time in shared.before(end):
            if time * tick >= start:
                ticks.append(time)
                yield (number, frame), time - ticks[0]

    rows, ready = [], []
    for (number, frame), taken in take(own(), tick, sampling):
        picture = pictures(frame) if taken else None
        for _ in taken:
            rows.append(number)
            ready.append(picture)
            if len(ready) == _CHUNK:
                yield _stacked(ready, source)
                ready = []
    if ready:
        yield _stacked(ready, source)
    yield _record(source, shared, np.array(ticks, np.int64), rows, pictures)


def _stacked(pictures: list[np.ndarray], source: ClipSource) -> np.ndarray:
    frames = np.stack(pictures)
    return frames[:, :, ::-1] if source.mirrored else frames


def _exactly(seconds: float) -> Fraction | float:
    """Returns seconds to the millisecond, for comparison with the times of frames, which are fractions."""
    return Fraction(round(1000 * seconds), 1000) if math.isfinite(seconds) else seconds


def _record(
    source: ClipSource, shared: "_Frames", ticks: np.ndarray, rows: list[int], pictures: Pictures
) -> ClipRecord:
    frames, part = shared.frames, source.part
    cut_short = (frames.cut_short or "") if shared.is_over else ""
    if not rows:
        end = float(frames.ticks * frames.tick)
        reason = cut_short or f"no frame from {part.start:g} to {part.end:g} s; the last one before is at {end:g} s"
        return ClipRecord(source.name, 0, 0.0, 0.0, reason)
    times = FrameTimes(ticks - ticks[0], frames.tick, frames.said_fps)
    native_fps = source.found.fps if source.found.fastest_fps is None else times.fps
    end = float(ticks[-1] * frames.tick) + 1 / native_fps
    is_short = shared.is_over and math.isfinite(part.end) and part.end - end > (_SHORT - 1) / native_fps
    notes = (
        times.describe_variation(),
        f"the video ends at {end:g} s, before this part of it" if is_short and not cut_short else "",
        "its rotation is not a multiple of 90°; it is shown as it is stored" if pictures.is_askew else "",
    )
    return ClipRecord(
        path=source.name,
        num_frames=len(rows),
        native_fps=native_fps,
        fps=source.sampling.rate(native_fps),
        reason=cut_short,
        note="; ".join(filter(None, notes)),
        frames=rows,
    )


class _Frames:
    """The frames of a video, which its parts take one after the other.

    Attributes:
      frames: the `WholeFrames`.
      is_over: whether the last frame was taken.
    """

    def __init__(self, frames: WholeFrames):
        self.frames, self.is_over = frames, False
        self._rest = ((number, frame, frames.ticks) for number, frame in enumerate(frames))
        self._waiting: tuple[int, av.VideoFrame, int] | None = None

    def before(self, end: Fraction | float) -> Iterator[tuple[int, av.VideoFrame, int]]:
        """Yields the next frames that are shown before `end`, in seconds: number, frame, and time in ticks."""
        while True:
            if self._waiting is None:
                self._waiting = next(self._rest, None)
            if self._waiting is None:
                self.is_over = True
                return
            if self._waiting[2] * self.frames.tick >= end:
                return
            found, self._waiting = self._waiting, None
            yield found
