"""Parts of long videos as the clips of an index: their order, their groups, and where they may not overlap."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from absl import logging

from attention_ar.errors import InputError, printable, some
from data_prep.datasets.clip_list import Clip
from data_prep.video.parts import WHOLE, Part


def arrange_parts(index: Path, clips: Sequence[Clip], parts: Sequence[Part], lines: Sequence[str]) -> list[Clip]:
    """Returns the clips of an index, with the parts of one video together and by their starts.

    Parts of one video look alike, so those without a group get the video's path as their group; not where the index
    puts them into several parts of the split, which is logged, and not where there is no other video, as then nothing
    could be held out.

    Args:
      index: the file, for messages.
      clips: one for each line.
      parts: which part of its video each is.
      lines: where each stands, for messages.

    Raises:
      InputError: where two parts of a video overlap and have different labels or are in different parts of the split.
    """
    if all(part == WHOLE for part in parts):
        return list(clips)
    of_video: dict[str, list[int]] = defaultdict(list)
    for number, (clip, part) in enumerate(zip(clips, parts, strict=True)):
        of_video[_video(clip, part)].append(number)
    for video, numbers in of_video.items():
        numbers.sort(key=lambda number: (parts[number].start, parts[number].end))
        _check_overlaps(video, numbers, clips, parts, lines)
    torn = [video for video, numbers in of_video.items() if len({clips[number].split for number in numbers}) > 1]
    if torn:
        logging.warning(
            "%s: parts of one video are in several parts of the split (%s); they look alike, so test accuracy may be "
            "too high",
            *(index, some(torn, 3)),
        )
    grouped = [] if len(of_video) == 1 else [video for video in of_video if video not in torn]
    arranged = []
    for video, numbers in of_video.items():
        for number in numbers:
            is_part = parts[number] != WHOLE or len(numbers) > 1
            group = clips[number].group or (video if is_part and video in grouped else "")
            arranged.append(replace(clips[number], group=group))
    return arranged


def _video(clip: Clip, part: Part) -> str:
    return clip.path if part == WHOLE else clip.path[: clip.path.rindex("#t=")]


def _check_overlaps(video: str, numbers: Sequence[int], clips, parts, lines):
    """Raises for the first two parts that overlap and may not, and logs the first two that do and may.

    Args:
      video: its path.
      numbers: of its clips, by their starts.
      clips, parts, lines: see `arrange_parts`.
    """
    is_logged, open_ones = False, []
    for number in numbers:
        open_ones = [other for other in open_ones if parts[other].end > parts[number].start]
        for other in open_ones:
            both = f"{_span(parts[other])} ({lines[other]}) and {_span(parts[number])} ({lines[number]})"
            labels = ["|".join(clips[n].labels) for n in (other, number)]
            if labels[0] != labels[1]:
                raise InputError(
                    f"{printable(video)}: the parts {both} overlap and have different labels, {' and '.join(labels)}; "
                    "a time that shows both must be a part of its own, with both labels as in run|jump"
                )
            if clips[other].split != clips[number].split:
                raise InputError(
                    f"{printable(video)}: the parts {both} overlap, and one is {clips[other].split}, the other "
                    f"{clips[number].split}; a time must be in one part of the split"
                )
            if not is_logged:
                logging.warning("%s: the parts %s overlap; their common frames count twice", printable(video), both)
                is_logged = True
        open_ones.append(number)


def _span(part: Part) -> str:
    return f"{part.start:g} to {part.end:g} s" if math.isfinite(part.end) else f"{part.start:g} s to the end"
