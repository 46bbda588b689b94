"""HMDB-51: three official splits of 3570 training and 1530 test clips, 70 and 30 of each class.

    brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi, …        in 51 folders of classes, at any depth
    testTrainMulti_7030_splits/brush_hair_test_split1.txt, …       lines of name and 1 (train), 2 (test), 0 (unused)

A name begins with the movie that it was cut from. Clips of one class from one movie are a group; the official splits
never divide one. (They do have one movie in train for one class and in test for another.)
"""

import re
from pathlib import Path, PurePosixPath

from attention_ar.errors import InputError, some
from data_prep.common.folders import walk
from data_prep.datasets.clip_list import Clip, ClipList, Dataset, Download, NothingHere
from data_prep.datasets.official_lists import (
    find_lists,
    locate,
    make_clip_list,
    read_lines,
    require_counts,
    require_split,
)

_LIST = re.compile(r"(.+)_test_split([123])\.txt")
_SIDES = {"1": "train", "2": "test", "0": None}
_LISTS_FOLDER = "testTrainMulti_7030_splits"
# movie _ class _ visible part _ camera motion _ number of people _ viewpoint _ quality _ number
_END_OF_NAME = r"_[a-z]+_(cm|nm)_np\d+_[a-z]+_[a-z]+_\d+\.avi"


def list_hmdb51(folder: Path, split: str = "", seed: int = 0) -> ClipList:
    """Lists the 5100 clips of an official split, "1" by default; see `Dataset.list_clips`."""
    del seed  # nothing is random here
    split = require_split("HMDB-51", split, ("1", "2", "3"))
    paths = walk(folder)
    matches = [_LIST.fullmatch(path.name) for path in paths]
    classes = sorted({match[1] for match in matches if match and match[2] == split})
    if not classes:
        raise NothingHere(
            f"{folder}: no lists <class>_test_split{split}.txt; they are distributed in {_LISTS_FOLDER} "
            "(test_train_splits.rar), beside the folders of clips"
        )
    if len(classes) != 51:
        raise InputError(f"{folder}: lists of split {split} for {len(classes)} classes instead of 51: {some(classes)}")
    lists = find_lists(folder, paths, [f"{name}_test_split{split}.txt" for name in classes], _LISTS_FOLDER)

    sides = {}
    for label in classes:
        path = lists[f"{label}_test_split{split}.txt"]
        for name, number in read_lines(path, "some_clip.avi 1", 2):
            if number not in _SIDES:
                raise InputError(f"{path}: {name} has {number!r} instead of 1 (train), 2 (test) or 0 (unused)")
            if sides.setdefault((label, name), _SIDES[number]) != _SIDES[number]:
                raise InputError(f"{path}: {name} is there more than once")
        of_class = [side for (of, _), side in sides.items() if of == label and side]
        require_counts(str(path), of_class, {"train": 70, "test": 30})

    def key(path: PurePosixPath):
        name = (path.parent.name, path.name)
        return name if name in sides else None

    found = locate(paths, key, folder)
    clips = [
        Clip(found.get((label, name), f"{label}/{name}"), (label,), _group(label, name), side)
        for (label, name), side in sides.items()
        if side
    ]
    require_counts(f"{folder} split {split}", [clip.split for clip in clips], {"train": 3570, "test": 1530})
    return make_clip_list("hmdb51", folder, clips, split=f"official{split}")


def _group(label: str, name: str) -> str:
    """brush_hair, April_09_brush_hair_u_nm_np1_ba_goo_0.avi → brush_hair/April_09"""
    movie = re.fullmatch(f"(.*)_{re.escape(label)}{_END_OF_NAME}", name)
    return f"{label}/{movie[1] if movie else name}"


_BY_HAND = "the server of HMDB-51 is gone; get {} from a colleague or by way of https://serre.lab.brown.edu/hmdb51.html"

HMDB51 = Dataset(
    list_hmdb51,
    official_split=True,
    downloads=(
        Download("the clips", (), _BY_HAND.format("hmdb51_org.rar (2 GB)")),
        Download("the splits", (), _BY_HAND.format("test_train_splits.rar")),
    ),
)
