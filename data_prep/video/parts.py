"""Parts of videos that are clips of their own, and their names: match.mp4#t=12.5,20 is from 12.5 to 20 seconds.

The form is that of the W3C's Media Fragments, which browsers and players read.
"""

import math
import os
import re
from dataclasses import dataclass

_NAME = re.compile(r"(?P<path>.+)#t=(?P<start>\d+(?:\.\d+)?)(?:,(?P<end>\d+(?:\.\d+)?))?", re.DOTALL)


@dataclass(frozen=True)
class Part:
    """Seconds from the beginning of a video: frames that are shown at `start` or later, and before `end`."""

    start: float = 0.0
    end: float = math.inf

    def num_frames(self, of_video: int, fps: float) -> int:
        """Returns how many frames it has of a video with that many at that rate; an estimate but for the whole."""
        if self == WHOLE:
            return of_video
        return math.ceil(max(0.0, min(self.end, of_video / fps) - self.start) * fps)


WHOLE = Part()


def name_of_part(path: str, part: Part) -> str:
    """Returns the name of a part of a video, to the millisecond; that of the video itself for the whole of it."""
    if part == WHOLE:
        return path
    return f"{path}#t={_digits(part.start)}" + (f",{_digits(part.end)}" if math.isfinite(part.end) else "")


def looks_like_part(name: str) -> bool:
    """Whether a name has the form of a part's."""
    return _NAME.fullmatch(name) is not None


def video_of(data_dir, name: str) -> tuple[str, Part]:
    """Returns the path of a clip's video, and the part of it that the clip is.

    Args:
      data_dir: the folder that names are relative to. What is there under the whole name is no part of something else.
      name: of the clip.
    """
    found = _NAME.fullmatch(name)
    if found is None or os.path.exists(os.path.join(data_dir, name)):
        return name, WHOLE
    end = math.inf if found["end"] is None else float(found["end"])
    return found["path"], Part(float(found["start"]), end)


def _digits(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")
