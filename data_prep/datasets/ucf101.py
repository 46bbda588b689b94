"""UCF-101: 13320 clips of 101 actions in 25 groups, and three official splits by group.

    UCF-101/YoYo/v_YoYo_g01_c01.avi, …
    ucfTrainTestlist/classInd.txt, trainlist01.txt, testlist01.txt, …   lines `YoYo/v_YoYo_g08_c01.avi 101`; without
                                                                        the number in testlist

Clips of one group share a background, a person or a view.
"""

import re
from pathlib import Path, PurePosixPath

from attention_ar.errors import InputError
from data_prep.common.folders import walk
from data_prep.datasets.clip_list import Clip, ClipList, Dataset, Download
from data_prep.datasets.official_lists import (
    find_lists,
    locate,
    make_clip_list,
    read_lines,
    require_counts,
    require_split,
)
from data_prep.downloads.fetch import Source

_COUNTS = {"1": (9537, 3783), "2": (9586, 3734), "3": (9624, 3696)}
_NAME = re.compile(r"v_[A-Za-z]+_g(\d\d)_c\d\d\.avi")
_LISTS_FOLDER = "ucfTrainTestlist"


def list_ucf101(folder: Path, split: str = "", seed: int = 0) -> ClipList:
    """Lists the 13320 clips by an official split, "1" by default; see `Dataset.list_clips`."""
    del seed  # nothing is random here
    split = require_split("UCF-101", split, tuple(_COUNTS))
    paths = walk(folder)
    train, test = f"trainlist0{split}.txt", f"testlist0{split}.txt"
    lists = find_lists(folder, paths, ["classInd.txt", train, test], _LISTS_FOLDER)

    index = {number: label for number, label in read_lines(lists["classInd.txt"], "101 YoYo", 2)}
    if len(index) != 101 or len(set(index.values())) != 101:
        raise InputError(f"{lists['classInd.txt']}: {len(index)} classes instead of 101")
    listed = [(name, "test", None) for (name,) in read_lines(lists[test], "YoYo/v_YoYo_g01_c01.avi", 1)]
    listed += [(name, "train", number) for name, number in read_lines(lists[train], "YoYo/v_YoYo_g08_c01.avi 101", 2)]
    require_counts(
        str(lists[train].parent),
        [side for _, side, _ in listed],
        dict(zip(("train", "test"), _COUNTS[split], strict=True)),
    )

    def key(path: PurePosixPath):
        return path.name if _NAME.fullmatch(path.name) else None

    found = locate(paths, key, folder)
    classes, clips = set(index.values()), []
    for listed_path, side, number in listed:
        label, _, name = listed_path.partition("/")
        match = _NAME.fullmatch(name)
        if label not in classes or not match or (number is not None and index.get(number) != label):
            raise InputError(f"{lists[train].parent}: {listed_path} {number or ''} does not fit classInd.txt")
        clips.append(Clip(found.get(name, listed_path), (label,), f"g{match[1]}", side))
    return make_clip_list("ucf101", folder, clips, split=f"official{split}")


UCF101 = Dataset(
    list_ucf101,
    official_split=True,
    downloads=(
        Download(
            "the clips",
            (
                Source("https://www.crcv.ucf.edu/data/UCF101/UCF101.rar"),
                Source(
                    "https://storage.googleapis.com/thumos14_files/UCF101_videos.zip",
                    num_bytes=6_960_400_115,
                    sha256="dabf56f573cd19c79e096563529fec8126a2a34e18e10c72eb621dd687532b0d",
                ),
            ),
            "get UCF101.rar (6.5 GB) from https://www.crcv.ucf.edu/data/UCF101.php",
        ),
        Download(
            "the splits",
            (
                Source(
                    "https://www.crcv.ucf.edu/data/UCF101/UCF101TrainTestSplits-RecognitionTask.zip",
                    num_bytes=113_943,
                    sha256="5c0d1a53b8ed364a2ac830a73f405e51bece7d98ce1254fd19ed4a36b224bd27",
                ),
            ),
            "get UCF101TrainTestSplits-RecognitionTask.zip from https://www.crcv.ucf.edu/data/UCF101.php",
        ),
    ),
)
