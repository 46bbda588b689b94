"""What `data_prep.check_splits` reports: the counts of a split, and clips that leak from one part to another."""

from collections import Counter

import numpy as np

from attention_ar.errors import printable, some
from data_prep.datasets.clip_list import SPLITS, ClipList
from data_prep.datasets.splits import hold_out_validation, torn_groups
from data_prep.video.parts import video_of
from data_prep.video.scan import same_contents


def count_table(clip_list: ClipList) -> str:
    """Returns clips per class and split as a table; a clip with several labels counts under each, and once in `all`."""
    sides = [side for side in SPLITS if side in clip_list.splits or side != "validation"]
    columns = [*sides, "missing"] if clip_list.missing else sides
    of_side = {side: [clip for clip in clip_list.clips if clip.split == side] for side in sides}
    of_side["missing"] = list(clip_list.missing)
    rows = [["class", *columns]]
    for label in clip_list.class_names:
        counts = [sum(label in clip.labels for clip in of_side[column]) for column in columns]
        rows.append([printable(label), *map(str, counts)])
    rows.append(["all", *(str(len(of_side[column])) for column in columns)])
    if any(clip_list.groups):
        groups = [{clip.group for clip in of_side[column]} - {""} for column in columns]
        rows.append(["groups", *(str(len(found)) for found in groups)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def validation_line(clip_list: ClipList, fraction: float = 0.15) -> str:
    """Returns a line on what training will hold out of train, by default."""
    if "validation" in clip_list.splits:
        return "the split has a validation part of its own"
    labels = np.array([[name in clip.labels for name in clip_list.class_names] for clip in clip_list.clips])
    splits = hold_out_validation(labels, clip_list.groups, clip_list.splits, fraction=fraction)
    count = Counter(splits)["validation"]
    groups = {group for group, side in zip(clip_list.groups, splits, strict=True) if side == "validation"} - {""}
    whole = f"{len(groups)} whole groups" if groups else "class by class, as groups are unknown"
    return (
        f"training will hold out {count} of the {clip_list.splits.count('train')} train clips as validation ({whole})"
    )


def find_leaks(clip_list: ClipList, contents: bool = True) -> list[str]:
    """Returns one line per group and per content that is in two parts of the split.

    Args:
      clip_list: the split.
      contents: whether to compare the clips' decoded frames too, see `same_contents`.
    """
    lines = [f"group {printable(group)} is in {' and '.join(sides)}" for group, sides in torn_groups(clip_list).items()]
    if contents:
        splits_of: dict[str, set[str]] = {}  # of every video, of which clips may be parts
        for clip in clip_list.clips:
            splits_of.setdefault(video_of(clip_list.data_dir, clip.path)[0], set()).add(clip.split)
        for paths in same_contents(clip_list.data_dir, list(splits_of)):
            if len(set().union(*(splits_of[path] for path in paths))) > 1:
                named = some([f"{path} ({' and '.join(sorted(splits_of[path]))})" for path in paths])
                lines.append(f"the same frames in two parts: {named}")
    return lines
