"""Training clips once more with left and right swapped, for data sets of few clips."""

from collections.abc import Mapping
from dataclasses import replace

from attention_ar.errors import InputError, printable, some
from data_prep.datasets.clip_list import MIRRORED, ClipList


def parse_mirror_labels(text: str) -> dict[str, str]:
    """Returns which class becomes which when a clip is mirrored, both ways, as `left:right,…` says.

    Raises:
      InputError: for a text of another form, and for a class that is named twice.
    """
    swaps: dict[str, str] = {}
    for pair in text.split(",") if text else []:
        left, colon, right = (part.strip() for part in pair.partition(":"))
        if not (left and colon and right) or ":" in right:
            raise InputError(
                f"mirror_labels={text}: {pair!r} is no pair; must be as in left:right,turn_left:turn_right"
            )
        for name, other in ((left, right), (right, left)):
            if name in swaps or left == right:
                raise InputError(f"mirror_labels={text}: names {name} twice; a class becomes one other")
            swaps[name] = other
    return swaps


def with_mirrored(clip_list: ClipList, swaps: Mapping[str, str] | None = None) -> ClipList:
    """Returns a list with each training clip a second time, mirrored, after all the others.

    A mirrored clip has its source's group, so that no part of a split has the one without the other. Clips of the
    validation and test parts are not mirrored. The clips of the list come first, so their features are the same to the
    bit as without the mirrored ones.

    Args:
      clip_list: the clips.
      swaps: which class becomes which, see `parse_mirror_labels`; the others stay.

    Raises:
      InputError: for a class that there is not, a clip whose name ends like that of a mirrored one, and where there is
        no training clip.
    """
    swaps = swaps or {}
    if unknown := [name for name in swaps if name not in clip_list.class_names]:
        raise InputError(
            f"mirror_labels: no class {some(unknown, 3)}; the classes are {some(clip_list.class_names, 20)}"
        )
    if taken := [clip.path for clip in clip_list.clips if clip.path.endswith(MIRRORED)]:
        raise InputError(f"{printable(taken[0])}: ends in {MIRRORED}, which marks mirrored clips; rename it")
    mirrored = [
        replace(clip, labels=tuple(sorted(swaps.get(name, name) for name in clip.labels)), mirrored=True)
        for clip in clip_list.clips
        if clip.split == "train"
    ]
    if not mirrored:
        raise InputError(f"{clip_list.data_dir}: no clip is in the training part, so there is none to mirror")
    return replace(clip_list, clips=(*clip_list.clips, *mirrored))


def describe_mirrors(swaps: Mapping[str, str]) -> str:
    """Returns what a recipe says of mirrored clips, for example "training clips; left:right"."""
    pairs = sorted({tuple(sorted(pair)) for pair in swaps.items()})
    return "training clips" + "".join(f"; {left}:{right}" for left, right in pairs)
