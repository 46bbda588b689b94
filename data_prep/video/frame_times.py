"""When the frames of a video are shown: its rate, whether that varies, and which frames a lower rate takes.

Times are whole numbers of ticks, as in the file, and count from the first frame. All rates are frames per second.
"""

import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

import numpy as np

from attention_ar.blocks import frame_skip

_SLOWEST, _FASTEST = 1e-5, 1000.0  # possible rates: a frame a day, and high speed
UNKNOWN_FPS = 25.0
_MOST_TICKS = 1 << 62
_ABSURD = 100  # times the gap before: two frames are so far apart only if a clock was reset

_Frame = TypeVar("_Frame")


def possible_rate(*rates) -> float | None:
    """Returns the first of some rates, of which any may be None, that a camera can have."""
    for rate in rates:
        if rate is not None and math.isfinite(rate) and _SLOWEST <= rate <= _FASTEST:
            return float(rate)
    return None


class Clock:
    """Converts time stamps in display order to non-decreasing times.

    If stamps begin again (recordings joined end to end), jump far ahead or are absent, the next frame is shown one gap
    later, where the gap is the previous one.

    Args:
      gap: ticks between two frames if no other gap is known, for example the container's.
      leap: a gap of fewer ticks is never a jump.
      trusted: whether, before another gap is known, `gap` decides what is a jump.
    """

    def __init__(self, gap: int, leap: int, trusted: bool = False):
        self._gap, self._leap = max(gap, 1), leap
        self._stamp: int | None = None
        self._measured = trusted
        self.ticks = 0

    def __call__(self, stamp: int | None) -> int:
        """Returns the time of the next frame, in ticks from the first one."""
        if self._stamp is None:
            self._stamp = 0 if stamp is None else stamp
            return 0
        gap = -1 if stamp is None else stamp - self._stamp
        if gap < 0 or (gap > self._leap and self._measured and gap > _ABSURD * self._gap):
            gap = self._gap
        elif gap:
            self._gap, self._measured = gap, True
        self._stamp = self._stamp + gap if stamp is None else stamp
        self.ticks = min(self.ticks + gap, _MOST_TICKS)
        return self.ticks


@dataclass(frozen=True)
class Sampling:
    """Which frames are taken: every k-th or, where `fps` is given, those nearest to the times 0, 1/fps, 2/fps, …

    Attributes:
      every: k.
      fps: a rate, or None.
    """

    every: int = 1
    fps: float | None = None

    def rate(self, native_fps: float) -> float:
        """Returns how many frames of a second are taken."""
        return native_fps / self.every if self.fps is None else self.fps

    def num_rows(self, num_frames: int, native_fps: float) -> int:
        """Returns how many frames are taken of a clip; an estimate where the rate varies."""
        if self.fps is None:
            return -(-num_frames // self.every)
        return 1 + int((num_frames - 1) * self.fps / native_fps)


def plan_sampling(native_fps: float, fps: float | None, fastest_fps: float | None = None) -> Sampling:
    """Returns how a clip is reduced to a lower rate.

    A constant rate keeps every k-th frame, k = round(native_fps / fps), a varying one the frames nearest to the times
    0, 1/fps, 2/fps, …; a clip that is slower, or never faster, keeps all its frames.

    Args:
      native_fps: the clip's rate.
      fps: the wanted rate; None keeps all frames of every clip.
      fastest_fps: the clip's rate at its fastest moment; None where the rate is constant.
    """
    if fps is None or (fastest_fps or native_fps) < fps:
        return Sampling()
    return Sampling(every=frame_skip(native_fps, fps)) if fastest_fps is None else Sampling(fps=fps)


def take(
    frames: Iterable[tuple[_Frame, int]], tick: Fraction, sampling: Sampling, fps_if_uneven: float | None = None
) -> Iterator[tuple[_Frame, range]]:
    """Yields every frame with the numbers of the rows that are made of it: none, one, or several.

    A frame is yielded as soon as this is known: at once where every k-th frame is taken, else when the next frame's
    time is known. A time midway between two frames takes the earlier one; the last time is not after the last frame.

    Args:
      frames: and their times, in ticks.
      tick: in seconds.
      sampling: which are taken.
      fps_if_uneven: where the rate cannot be known beforehand (a pipe): once a gap between two frames differs from the
        one before by more than a quarter, the frames nearest to the times of this rate are taken.
    """
    num_rows = first_row = origin = 0  # The grid of times begins with row `first_row`, at time `origin`.
    grid = None if sampling.fps is None else Fraction(sampling.fps) * tick  # rows a tick
    pending = last = gap = None
    for number, (frame, time) in enumerate(frames):
        if grid is None and fps_if_uneven is not None and gap is not None and is_uneven(time - last, gap):
            grid, first_row = Fraction(fps_if_uneven) * tick, num_rows - 1
        gap, last = None if last is None else time - last, time
        if grid is None:
            taken = number % sampling.every == 0
            yield frame, range(num_rows, num_rows + taken)
            if taken:
                num_rows, origin = num_rows + 1, time
            continue
        if pending is not None:
            midway = Fraction(pending[1] + time, 2)
            end = max(num_rows, first_row + math.floor((midway - origin) * grid) + 1)
            yield pending[0], range(num_rows, end)
            num_rows = end
        pending = frame, time
    if pending is not None:
        end = max(num_rows, first_row + math.floor((pending[1] - origin) * grid) + 1)
        yield pending[0], range(num_rows, end)


def is_uneven(gap, usual):
    """Returns whether gaps between frames, in ticks, differ from the usual one by more than a quarter.

    One tick may be a rounding, as in Matroska's milliseconds, unless the usual gap is itself one tick.
    """
    off = abs(gap - usual)
    return (4 * off > usual) & ((off > 1) | (usual <= 1))


@dataclass(frozen=True)
class FrameTimes:
    """When each frame of a clip is shown.

    Attributes:
      ticks: `<int64>[n]`, never falling, the first 0.
      tick: in seconds.
      said_fps: the container's rate, None if it has none.
    """

    ticks: np.ndarray
    tick: Fraction
    said_fps: float | None = None

    @property
    def measured_fps(self) -> float | None:
        """(n − 1) / (last − first); None for a single frame, and where that is no possible rate."""
        span = int(self.ticks[-1]) * self.tick if len(self.ticks) else 0
        return possible_rate((len(self.ticks) - 1) / span if span else None)

    @property
    def rate_known(self) -> bool:
        """Whether the times, or else the container, give a possible rate."""
        return possible_rate(self.measured_fps, self.said_fps) is not None

    @property
    def fps(self) -> float:
        """The measured rate or, if there is none, the container's; a guess if that is not possible either."""
        return possible_rate(self.measured_fps, self.said_fps) or UNKNOWN_FPS

    @property
    def varies(self) -> bool:
        """Whether a gap between two frames differs from the median one by more than a quarter."""
        gaps = np.diff(self.ticks)
        return len(gaps) > 1 and self.measured_fps is not None and bool(np.any(is_uneven(gaps, self._usual(gaps))))

    @property
    def fastest_fps(self) -> float | None:
        """The rate at the fastest moment; None where the rate does not vary."""
        return float(1 / (max(1, int(np.diff(self.ticks).min())) * self.tick)) if self.varies else None

    def describe_variation(self) -> str:
        """Returns a readable note, "" if the rate does not vary."""
        if not self.varies:
            return ""
        slowest = float(1 / (int(np.diff(self.ticks).max()) * self.tick))
        return f"its frame rate varies, from {slowest:.3g} to {self.fastest_fps:.3g} frames per second"

    def sampling(self, fps: float | None) -> Sampling:
        """Returns how the clip is reduced to a lower rate, see `plan_sampling`."""
        return plan_sampling(self.fps, fps, self.fastest_fps)

    def rows(self, fps: float | None) -> np.ndarray:
        """Returns which frame each row is made of where the clip is reduced to `fps`, `<int64>[num_rows]`."""
        found = take(enumerate(self.ticks.tolist()), self.tick, self.sampling(fps))
        return np.array([frame for frame, rows in found for _ in rows], np.int64)

    @staticmethod
    def _usual(gaps: np.ndarray) -> int:
        return int(np.sort(gaps)[(len(gaps) - 1) // 2])


class TimesInTheMaking:
    """Collects the times of a clip, eight bytes a frame."""

    def __init__(self):
        self._ticks = array("q")
        self.add = self._ticks.append

    def __len__(self):
        return len(self._ticks)

    def whole(self, tick: Fraction, said_fps: float | None) -> FrameTimes:
        """Returns them all."""
        return FrameTimes(np.array(self._ticks, np.int64), tick, said_fps)
