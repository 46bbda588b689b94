"""The index.csv of a `folder` data set."""

import math
import os
from collections import Counter
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from attention_ar.errors import InputError, some
from data_prep.common.spreadsheet import Row, read_table
from data_prep.datasets.clip_list import Clip, split_of
from data_prep.datasets.look_alike import KnownPaths, normal, normal_names
from data_prep.datasets.video_parts import arrange_parts
from data_prep.video.parts import Part, looks_like_part, name_of_part

INDEX = "index.csv"

_COLUMNS = ("path", "label", "group", "split", "start", "end")


def read_index(index: Path, paths: Collection[PurePosixPath]) -> list[Clip]:
    """Reads an index.

    A path may have backslashes, and another Unicode form than on disk. Names are returned as they are on disk, those of
    classes and groups in the form NFC. A line with a start or an end is a part of a video; the parts of one video come
    one after the other, by their starts. See `video_parts` for what else is special about them.

    Args:
      index: the file.
      paths: what `walk` returned for its folder.

    Raises:
      InputError: for a line that is wrong.
    """
    table = read_table(index, _COLUMNS, required=("path", "label"))
    if not table.rows:
        raise InputError(f"{index}: no clips in it; every line after the first names one")
    found = {path.as_posix() for path in paths}
    known = KnownPaths(found | {parent.as_posix() for path in paths for parent in path.parents})
    has_split = any(row.fields.get("split") for row in table.rows)
    parts = [_part(row, table.decimal_commas) for row in table.rows]
    clips = [_clip(row, known, has_split, part) for row, part in zip(table.rows, parts, strict=True)]
    normal_names(label.strip() for row in table.rows for label in row.fields["label"].split("|"))
    twice = sorted(path for path, count in Counter(clip.path for clip in clips).items() if count > 1)
    if twice:
        raise InputError(f"{index}: named more than once: {some(twice)}; one line per clip")
    return arrange_parts(index, clips, parts, [row.where for row in table.rows])


def _part(row: Row, decimal_commas: bool) -> Part:
    start, end = (_seconds(row, name, decimal_commas) for name in ("start", "end"))
    if end is not None and end <= (start or 0.0):
        raise InputError(
            f"{row.where}: ends at {end:g} s and starts at {start or 0.0:g} s; the end must come after the start"
        )
    return Part(start or 0.0, math.inf if end is None else end)


def _seconds(row: Row, name: str, decimal_commas: bool) -> float | None:
    text = row.fields.get(name, "")
    if not text:
        return None
    try:
        seconds = float(text.replace(",", ".") if decimal_commas else text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InputError(
            f"{row.where}: {name} is {text!r}; must be a number of seconds from the video's beginning, such as 12.5"
        )
    return round(seconds, 3)


def _clip(row: Row, known: KnownPaths, has_split: bool, part: Part) -> Clip:
    written = row.fields["path"]
    if looks_like_part(written):
        raise InputError(f"{row.where}: {written}: a part of a video has its seconds in the columns start and end")
    for path in (PurePosixPath(written), PurePosixPath(written.replace("\\", "/"))):
        has_drive = path.parts[:1] and path.parts[0][1:] == ":"
        if os.path.isabs(path) or has_drive or ".." in path.parts:
            raise InputError(f"{row.where}: {written!r} leaves the folder; paths must stay below the index")
    if not PurePosixPath(written).name:
        raise InputError(f"{row.where}: the path is empty; it must name a clip")
    labels = [normal(label.strip()) for label in row.fields["label"].split("|")]
    if not all(labels):
        raise InputError(f"{row.where}: {written} has an empty label; several are joined as in run|jump")
    split = ""
    if has_split:
        split = split_of(row.fields["split"])
        if not split:
            raise InputError(
                f"{row.where}: split {row.fields['split']!r} is unknown; it must be train, validation or test"
            )
    group = normal(row.fields.get("group", ""))
    return Clip(name_of_part(known.find(written), part), tuple(sorted(set(labels))), group, split)
