"""Hollywood2, its actions: 823 training and 884 test clips from other movies, with one to three of 12 labels each.

    AVIClips/actioncliptrain00001.avi, …
    ClipSets/AnswerPhone_train.txt, AnswerPhone_test.txt, …   lines `actioncliptrain00001  -1`; 1 means it has the label

Which clips share a movie is not published, so groups are unknown. The noisy `autotrain` clips are not used.
"""

from pathlib import Path, PurePosixPath

from attention_ar.errors import InputError, some
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
from data_prep.video.frames import EXTENSIONS

CLASSES = (
    "AnswerPhone",
    "DriveCar",
    "Eat",
    "FightPerson",
    "GetOutCar",
    "HandShake",
    "HugPerson",
    "Kiss",
    "Run",
    "SitDown",
    "SitUp",
    "StandUp",
)


def list_hollywood2(folder: Path, split: str = "", seed: int = 0) -> ClipList:
    """Lists the 1707 clips of Hollywood2's actions with all their labels; see `Dataset.list_clips`."""
    del seed  # nothing is random here
    require_split("Hollywood2", split, ())
    paths = walk(folder)
    names = [f"{label}_{side}.txt" for side in ("train", "test") for label in CLASSES]
    lists = find_lists(folder, paths, names, "ClipSets")

    labels: dict[tuple[str, str], list[str]] = {}
    for side in ("train", "test"):
        of_side = None
        for label in CLASSES:
            path = lists[f"{label}_{side}.txt"]
            rows = read_lines(path, "actioncliptrain00001  -1", 2)
            wrong = [name for name, flag in rows if flag not in ("1", "-1")]
            if wrong:
                raise InputError(f"{path}: {some(wrong)} should have 1 or -1")
            clips = sorted(name for name, _ in rows)
            of_side = of_side or clips
            if clips != of_side:
                raise InputError(f"{path}: names other clips than {lists[f'{CLASSES[0]}_{side}.txt']}")
            for name, flag in rows:
                labels.setdefault((side, name), []).extend([label] if flag == "1" else [])
    none = [name for (_, name), of_clip in labels.items() if not of_clip]
    if none:
        raise InputError(f"{folder}: the lists give no label to {some(none)}")

    wanted = {name for _, name in labels}

    def key(path: PurePosixPath):
        return path.stem if path.stem in wanted and path.suffix[1:] in EXTENSIONS else None

    found = locate(paths, key, folder)
    clips = [
        Clip(found.get(name, f"AVIClips/{name}.avi"), tuple(of_clip), "", side)
        for (side, name), of_clip in labels.items()
    ]
    require_counts(f"{folder}/ClipSets", [clip.split for clip in clips], {"train": 823, "test": 884})
    return make_clip_list("hollywood2", folder, clips, split="official", multi_label=True)


_MD5 = "55948d0ef45a569a2134ea44e6f8976c"  # as its makers publish it

HOLLYWOOD2 = Dataset(
    list_hollywood2,
    official_split=True,
    downloads=(
        Download(
            "clips and lists",
            (
                Source("ftp://ftp.irisa.fr/local/vistas/actions/Hollywood2-actions.tar.gz", md5=_MD5),
                Source("http://lear.inrialpes.fr/people/marszalek/data/hollywood2/Hollywood2-actions.tar.gz", md5=_MD5),
            ),
            "get Hollywood2-actions.tar.gz (15 GB) by way of https://www.di.ens.fr/~laptev/actions/hollywood2/",
        ),
    ),
)
