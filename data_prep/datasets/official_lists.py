"""What the readers of the published data sets share: finding files in the folder, reading official lists."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from attention_ar.errors import InputError, some
from data_prep.datasets.clip_list import Clip, ClipList, NothingHere


def find_lists(folder: Path, paths: Iterable[PurePosixPath], names: Iterable[str], where: str) -> dict[str, Path]:
    """Finds the files with the official lists.

    Args:
      folder: the data set's.
      paths: what `walk` returned.
      names: of the files.
      where: the folder in which they are distributed. Of several files of one name the one in a folder of that name
        is taken, and then the one that lies least deep.

    Raises:
      NothingHere: names the files that are not there.
    """
    candidates: dict[str, list[PurePosixPath]] = {name: [] for name in names}
    for path in paths:
        if path.name in candidates:
            candidates[path.name].append(path)
    missing = sorted(name for name, found in candidates.items() if not found)
    if missing:
        raise NothingHere(f"{folder}: no {some(missing, 3)}; the lists are distributed in a folder {where}")
    best = {
        name: min(found, key=lambda path: (path.parent.name != where, len(path.parts), path))
        for name, found in candidates.items()
    }
    return {name: folder / path for name, path in best.items()}


def read_lines(path: Path, form: str, num_fields: int) -> list[tuple[str, ...]]:
    """Reads a list of lines of fields between spaces; only the first field may itself hold spaces.

    Args:
      path: the file.
      form: what a line should look like, for the error.
      num_fields: per line.

    Raises:
      InputError: names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as UTF-8 text ({error})") from None
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            rows.append(tuple(line.strip().rsplit(maxsplit=num_fields - 1)))
            if len(rows[-1]) != num_fields:
                raise InputError(f"{path} line {number}: {line.strip()!r} should be like {form!r}")
    return rows


def locate(paths: Iterable[PurePosixPath], key: Callable[[PurePosixPath], object], folder: Path) -> dict:
    """Returns the path of each clip under its key.

    Of two copies of a clip the one that lies less deep is taken.

    Args:
      paths: what `walk` returned.
      key: of a path, by which the lists name the clip; None for a file that is no clip.
      folder: the data set's.

    Raises:
      InputError: two files go by the same name and are no copies, so that it is not clear which one counts.
    """
    found: dict = {}
    for path in sorted(paths, key=lambda path: (len(path.parts), path)):
        name = key(path)
        if name is None or not os.path.isfile(folder / path):  # a link may be broken
            continue
        first = found.setdefault(name, path)
        if first != path and os.path.getsize(folder / path) != os.path.getsize(folder / first):
            raise InputError(
                f"{folder}: {first} and {path} are the same clip in different files; "
                "let --data_dir be a folder with one of them"
            )
    return {name: path.as_posix() for name, path in found.items()}


def require_split(dataset: str, split: str, known: tuple[str, ...]) -> str:
    """Returns the split's name, the first of `known` by default; raises `InputError` for an unknown one."""
    if not known and split:
        raise InputError(f"split={split}: {dataset} has one split; omit --split")
    if split and split not in known:
        raise InputError(f"split={split}: {dataset} has the splits {', '.join(known)}")
    return split or (known[0] if known else "")


def require_counts(what: str, splits: Iterable[str], expected: dict[str, int]):
    """Raises `InputError` unless train and test have as many clips as they are published with."""
    found = Counter(splits)
    if found != expected:
        said = ", ".join(f"{found[split]} {split} instead of {number}" for split, number in expected.items())
        raise InputError(f"{what}: lists {said} clips; it is damaged, or not the official list")


def make_clip_list(dataset: str, folder: Path, clips: Iterable[Clip], *, split: str, multi_label=False) -> ClipList:
    """Returns the list, sorted by path; `split` is a part of its `split_id`, which depends on clips and parts, too."""
    clips = sorted(clips, key=lambda clip: clip.path)
    twice = [path for path, count in Counter(clip.path for clip in clips).items() if count > 1]
    if twice:
        raise InputError(f"{folder}: the lists name more than once: {some(twice)}")
    # The file's name alone: one split has one name, wherever a user keeps the clips.
    assignment = json.dumps(sorted((PurePosixPath(clip.path).stem, clip.labels, clip.split) for clip in clips))
    digest = hashlib.sha256(assignment.encode()).hexdigest()[:12]
    return ClipList(
        dataset=dataset,
        data_dir=str(folder),
        clips=tuple(clips),
        class_names=tuple(sorted({label for clip in clips for label in clip.labels})),
        multi_label=multi_label,
        split_id=f"{dataset}-{split}-{digest}",
    )
