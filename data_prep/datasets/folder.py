"""The `folder` data set: class folders of clips, with or without an index.csv.

my_clips/
  index.csv              optional: path,label,group,split
  waving/a.mp4  b.avi    without an index, a clip's label is the folder it lies in
  bending/c.mp4
"""

import csv
import hashlib
import json
import os
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
from absl import logging

from attention_ar.errors import InputError
from data_prep.common.folders import check_name
from data_prep.datasets.clip_list import SPLITS, Clip, ClipList, Dataset, NothingHere
from data_prep.datasets.official_lists import require_split, some
from data_prep.datasets.splits import check_disjoint_groups, hold_out
from data_prep.video.frames import EXTENSIONS

INDEX = "index.csv"
TEST_FRACTION = 0.3

_COLUMNS = ("path", "label", "group", "split")


def list_folder(data_dir, split: str = "", seed: int = 0) -> ClipList:
    """Lists the clips of a folder.

    With an `index.csv`, its lines are the clips: `path` relative to the folder; `label`, several joined by `|`;
    and, as far as it has these columns, `group` and `split` (train, validation or test). Without one, every
    video below a class folder is a clip. Where there is no split, 30 % become test: whole groups where groups are
    given, and otherwise a part of every class, by chance. A folder with nothing but one folder of folders, as archives
    unpack, is looked through to that one.

    Args:
      data_dir: the folder.
      split: must be ""; a folder has no official splits.
      seed: of the random split.

    Raises:
      InputError: for a folder without clips and for an index that is wrong, with the line or the files at fault.
    """
    folder = Path(os.path.abspath(data_dir))
    require_split("a folder", split, ())
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; it should hold one folder of clips per class")
    check_name(folder, "the folder")
    folder = _look_through(folder)
    index = folder / INDEX
    clips = _read_index(index) if index.exists() else _list_class_folders(folder)

    labels = [clip.labels for clip in clips]
    class_names = tuple(sorted({label for of_clip in labels for label in of_clip}))
    groups_known = any(clip.group for clip in clips)
    kind = "index"
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
            "%s: groups are unknown, so clips of one scene may be in train and in test; the accuracy may flatter",
            folder,
        )

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


def _look_through(folder: Path) -> Path:
    inside = [entry for entry in folder.iterdir() if entry.is_dir() and _visible(entry.name)]
    if len(inside) != 1 or (folder / INDEX).exists():
        return folder
    deeper = [entry for entry in inside[0].iterdir() if _visible(entry.name)]
    is_data_set = any(entry.name == INDEX for entry in deeper) or not any(_is_video(entry.name) for entry in deeper)
    return inside[0] if is_data_set and any(entry.is_dir() for entry in deeper) else folder


def _list_class_folders(folder: Path) -> list[Clip]:
    clips = []
    for class_folder in sorted(entry for entry in folder.iterdir() if entry.is_dir() and _visible(entry.name)):
        for parent, folders, files in os.walk(class_folder):
            folders[:] = filter(_visible, folders)
            for name in filter(_visible, files):
                if _is_video(name):
                    path = Path(parent, name).relative_to(folder).as_posix()
                    clips.append(Clip(path, (class_folder.name,), group="", split=""))
    if not clips:
        raise NothingHere(
            f"{folder}: no clips; it should hold one folder per class with files of {', '.join(EXTENSIONS)}, "
            f"or an {INDEX}"
        )
    clips.sort(key=lambda clip: clip.path)
    for clip in clips:
        check_name(clip.path, f"{folder}: the file")
    return clips


def _is_video(name: str) -> bool:
    return os.path.splitext(name)[1][1:].lower() in EXTENSIONS


def _visible(name: str) -> bool:
    return not name.startswith(".")  # ._clip.mp4 is what another system remembers of clip.mp4


def _read_index(index: Path) -> list[Clip]:
    try:
        with open(index, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_columns(index, reader.fieldnames or [])
            clips = [_clip_of_row(row, f"{index} line {reader.line_num}", reader.fieldnames) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{index}: not readable as comma-separated UTF-8 text ({error})") from None
    if not clips:
        raise InputError(f"{index}: no clips in it; every line after the first names one")

    paths = [clip.path for clip in clips]
    twice = sorted(path for path, count in Counter(paths).items() if count > 1)
    if twice:
        raise InputError(f"{index}: named more than once: {some(twice)}; one line per clip")
    return clips


def _check_columns(index: Path, columns: list[str]):
    for name in ("path", "label"):
        if name not in columns:
            raise InputError(f"{index}: no column {name}; the first line must be path,label[,group][,split]")
    for name in columns:
        if name not in _COLUMNS:
            raise InputError(f"{index}: unknown column {name!r}; there are {', '.join(_COLUMNS)}")
        if columns.count(name) > 1:
            raise InputError(f"{index}: two columns {name}; each may be there once")


def _clip_of_row(row: dict, where: str, columns: list[str]) -> Clip:
    if None in row or None in row.values():
        raise InputError(f"{where}: must have {len(columns)} fields, {','.join(columns)}")
    if any("\0" in value for value in row.values()):
        raise InputError(f"{where}: holds a zero byte; fields must be text")
    path = PurePosixPath(row["path"])
    if not path.name:
        raise InputError(f"{where}: the path is empty; it must name a clip")
    if os.path.isabs(path) or os.path.splitdrive(path)[0] or ".." in path.parts:
        raise InputError(f"{where}: {row['path']!r} leaves the folder; paths must stay below the index")
    labels = [label.strip() for label in row["label"].split("|")]
    if not all(labels):
        raise InputError(f"{where}: {row['path']} has an empty label; several are joined as in run|jump")
    split = row.get("split", "").strip()
    if "split" in columns and split not in SPLITS:
        raise InputError(f"{where}: split {split!r} is unknown; it must be train, validation or test")
    return Clip(path.as_posix(), tuple(sorted(set(labels))), row.get("group", "").strip(), split)


FOLDER = Dataset(list_folder)
