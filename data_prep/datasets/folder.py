"""The `folder` data set: class folders of clips, with or without an index.csv.

my_clips/
  index.csv              optional: path,label,group,split
  waving/a.mp4  b.avi    without an index, a clip's label is the folder it lies in
  bending/c/000001.jpg   a folder of numbered pictures is a clip too

my_clips/
  train/waving/a.mp4     folders train, val and test (or training, Validation, …) above the class folders are a split,
  test/bending/c.mp4     and so are such folders in every class folder
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from absl import logging

from attention_ar.errors import InputError, some
from data_prep.common.folders import check_name, walk
from data_prep.datasets.clip_list import Clip, ClipList, Dataset, NothingHere, split_of
from data_prep.datasets.folder_index import INDEX, read_index
from data_prep.datasets.look_alike import look_alikes, normal_names
from data_prep.datasets.official_lists import require_split
from data_prep.datasets.splits import check_disjoint_groups, hold_out
from data_prep.video.clip_files import TAKEN, find_clips, is_video

TEST_FRACTION = 0.3


def list_folder(data_dir, split: str = "", seed: int = 0) -> ClipList:
    """Lists the clips of a folder.

    With an `index.csv`, its lines are the clips: `path` relative to the folder; `label`, several joined by `|`;
    and, as far as it has these columns, `group` and `split` (train, validation or test). Without one, every
    clip below a class folder is one, and folders named train, val and test are the split. Where there is no split,
    30 % become test at random: whole groups where groups are given, and otherwise a part of every class. A folder that
    holds only one folder of folders, as archives unpack, stands for that one, and so on. Links to folders are followed.

    Args:
      data_dir: the folder.
      split: must be ""; a folder has no official splits.
      seed: of the random split.

    Raises:
      InputError: for a folder without clips, for one that can be read in two ways, and for an index that is wrong,
        with the line or the files at fault.
    """
    folder = Path(os.path.abspath(data_dir))
    require_split("a folder", split, ())
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; it should hold one folder of clips per class")
    check_name(folder, "the folder")
    paths = walk(folder, check_names=False)
    folder, paths = _look_through(folder, paths)
    index = _index_among(paths)
    clips = read_index(folder / index, paths) if index else _list_class_folders(folder, paths)

    labels = [clip.labels for clip in clips]
    class_names = tuple(sorted({label for of_clip in labels for label in of_clip}))
    groups_known = any(clip.group for clip in clips)
    kind = "index" if index else "folders"
    if not all(clip.split for clip in clips):
        kind = f"random{seed}"
        multi_hot = np.array([[name in of_clip for name in class_names] for of_clip in labels])
        groups = [clip.group for clip in clips]
        test = hold_out(multi_hot, groups, fraction=TEST_FRACTION, seed=seed, from_every_class=True)
        clips = [
            Clip(clip.path, clip.labels, clip.group, "test" if held else "train")
            for clip, held in zip(clips, test, strict=True)
        ]
        logging.warning("%s gives no split: %d of %d clips are test, seed %d", folder, test.sum(), len(clips), seed)
    if not groups_known:
        logging.warning(
            "%s: groups are unknown, so clips of one scene may be in both train and test; "
            "test accuracy may be too high",
            folder,
        )
    for alike in look_alikes(class_names):
        logging.warning("%s: the classes %s look alike; are they one?", folder, " and ".join(map(repr, alike)))

    assignment = json.dumps(sorted((clip.path, clip.split) for clip in clips))
    clip_list = ClipList(
        dataset="folder",
        data_dir=str(folder),
        clips=tuple(clips),
        class_names=class_names,
        multi_label=any(len(of_clip) > 1 for of_clip in labels),
        split_id=f"folder-{kind}-{hashlib.sha256(assignment.encode()).hexdigest()[:12]}",
    )
    check_disjoint_groups(clip_list)
    return clip_list


def _look_through(folder: Path, paths: list[PurePosixPath]) -> tuple[Path, list[PurePosixPath]]:
    """Returns the folder with the class folders or the index, and the paths below it."""
    inside = {path.parts[0] for path in paths if len(path.parts) > 1}
    if len(inside) != 1 or _index_among(paths):
        return folder, paths
    (only,) = inside
    deeper = [path.relative_to(only) for path in paths if path.parts[0] == only and len(path.parts) > 1]
    clips, _ = find_clips(deeper)
    has_class_folders = clips and all(len(clip.parts) > 1 for clip in clips) and not split_of(only)
    return _look_through(folder / only, deeper) if _index_among(deeper) or has_class_folders else (folder, paths)


def _index_among(paths: list[PurePosixPath]) -> str | None:
    """Returns the name of the index, in small letters or in others; None where there is none."""
    names = (path.name for path in paths if len(path.parts) == 1)
    return max((name for name in names if name.casefold() == INDEX), default=None)


def _list_class_folders(folder: Path, paths: list[PurePosixPath]) -> list[Clip]:
    """Lists the clips below class folders; their split is "" where no folder is named after one."""
    found, others = find_clips(paths)
    clips = [path for path in found if len(path.parts) > 1]
    stray = [path for path in found if len(path.parts) == 1]
    depth = _depth_of_split(folder, clips, stray)
    _log_ignored(folder, clips, others, stray)
    if not clips:
        raise NothingHere(
            f"{folder}: no clips; it should hold one folder per class with files of {TAKEN}, or an {INDEX}"
        )
    for path in clips:
        check_name(path, f"{folder}: the file")
    labels = normal_names(path.parts[1 if depth == 0 else 0] for path in clips)
    splits = ["" if depth is None else split_of(path.parts[depth]) for path in clips]
    listed = [
        Clip(path.as_posix(), (label,), group="", split=split)
        for path, label, split in zip(clips, labels, splits, strict=True)
    ]
    if depth is not None:
        names = sorted({path.parts[depth] for path in clips})
        counts = Counter(splits)
        said = ", ".join(f"{count} {split}" for split, count in counts.items())
        logging.warning("%s: the folders %s are read as the split: %s clips", folder, some(names), said)
    return sorted(listed, key=lambda clip: clip.path)


def _depth_of_split(folder: Path, clips: Sequence[PurePosixPath], stray: Sequence[PurePosixPath]) -> int | None:
    """Returns at which depth folders are named train, test and so on: 0 above the classes, 1 in them, None nowhere.

    Raises:
      InputError: where such a folder may also be a class, or a folder of clips of one.
    """
    way_out = f"rename it, or write an {INDEX} (path,label,split)"
    tops = sorted({path.parts[0] for path in clips} | {path.name for path in stray if not is_video(path)})
    named = [top for top in tops if split_of(top)]
    classes = [top for top in tops if top not in named]
    if named and classes:
        raise InputError(
            f"{folder}: the folder {named[0]} may be a class beside {some(classes, 3)}, or the {split_of(named[0])} "
            f"part of a split, and then the other clips have no part; {way_out}"
        )
    direct = [path for path in clips if split_of(path.parts[0]) and len(path.parts) == 2]
    direct += [path for path in stray if not is_video(path) and split_of(path.name)]
    if direct:
        name = direct[0].parts[0]
        raise InputError(
            f"{folder}: the folder {name} holds the clip {direct[0]} directly, so it may be a class, or the "
            f"{split_of(name)} part of a split without class folders; {way_out}"
        )
    if named:
        return 0
    within = [path for path in clips if len(path.parts) > 2 and split_of(path.parts[1])]
    if within and len(within) < len(clips):
        name = PurePosixPath(*within[0].parts[:2])
        other = next(path for path in clips if path not in within)
        raise InputError(
            f"{folder}: the folder {name} may be the {split_of(name.name)} part of the class {name.parts[0]}, or a "
            f"folder of its clips like any other, because {other} is in no such part; {way_out}"
        )
    return 1 if within else None


def _log_ignored(folder: Path, clips, others, stray):
    """Logs once which files are ignored."""
    others = [path for path in others if len(path.parts) > 1]
    if others:
        lost = sorted({path.parts[0] for path in others} - {path.parts[0] for path in clips})
        classes = f"; {some(lost, 3)} holds no clip and is not a class" if lost else ""
        said = some([path.as_posix() for path in others], 3)
        logging.warning("%s: %d files are not clips and are ignored: %s%s", folder, len(others), said, classes)
    if stray:
        said = some([path.as_posix() for path in stray], 3)
        logging.warning(
            "%s: %d clips are ignored because they are not in a class folder: %s; put an image sequence in its own "
            "folder inside the class folder",
            *(folder, len(stray), said),
        )


FOLDER = Dataset(list_folder)
