"""UCF-11, "YouTube Action": 1600 clips of 11 actions in 25 groups.

Both layouts in which it is distributed are read:

    UCF11_updated_mpg/biking/v_biking_07/v_biking_07_02.mpg
    action_youtube_naudio/biking/v_biking_07/v_biking_07_02.avi

The middle number of a name is the group: its clips come from one video or show one person. The paper's list of 975
training and 625 test clips was never published; ten groups, always these, give exactly those numbers.
"""

import re
from pathlib import Path, PurePosixPath

from data_prep.common.folders import walk
from data_prep.datasets.clip_list import Clip, ClipList, Dataset, Download, NothingHere
from data_prep.datasets.official_lists import locate, make_clip_list, require_counts, require_split
from data_prep.downloads.fetch import Source
from data_prep.video.frames import EXTENSIONS

TEST_GROUPS = (8, 12, 14, 17, 18, 21, 22, 23, 24, 25)

# Class, the word in its clips' names, and how many clips its groups 1 to 25 have; these count from 1.
_CLIPS = (
    ("basketball", "shooting", "7 6 6 4 4 4 4 4 5 5 5 5 4 5 7 7 4 5 8 7 6 8 6 6 9"),
    ("biking", "biking", "4 7 4 5 9 5 6 6 4 6 6 4 6 4 5 5 6 6 4 10 12 5 4 8 4"),
    ("diving", "diving", "7 7 8 7 6 7 4 6 7 7 6 7 7 4 9 8 4 4 4 7 7 6 6 7 4"),
    ("golf_swing", "golf", "6 4 7 6 8 4 5 6 4 4 7 4 4 4 4 4 8 6 6 7 6 6 8 7 7"),
    ("horse_riding", "riding", "9 9 8 8 8 10 8 6 6 8 7 7 4 8 7 6 6 6 9 8 6 7 6 8 23"),
    ("soccer_juggling", "juggle", "5 6 4 6 6 5 8 4 7 4 6 6 5 10 4 8 7 8 8 6 5 8 6 8 6"),
    ("swing", "swing", "5 5 4 8 8 9 8 5 6 4 6 4 4 5 8 5 4 4 4 6 6 5 5 5 4"),
    ("tennis_swing", "tennis", "7 7 7 7 7 7 7 6 7 7 7 7 7 7 8 7 7 6 6 6 6 6 6 6 6"),
    ("trampoline_jumping", "jumping", "4 6 4 5 4 4 5 4 6 6 6 5 4 4 5 6 4 4 6 5 4 6 4 4 4"),
    ("volleyball_spiking", "spiking", "4 4 4 7 5 4 7 6 6 4 6 4 7 4 4 4 4 4 4 4 4 4 4 4 4"),
    ("walking", "walk_dog", "4 6 5 5 5 5 6 5 6 5 5 5 5 4 4 5 5 4 5 7 4 4 4 6 4"),
)
_NAME = re.compile(r"v_[a-z_]+_\d\d_\d\d")
_BY_HAND = "get UCF11_updated_mpg.rar (UCF11, about 1 GB) from https://www.crcv.ucf.edu/data/UCF_YouTube_Action.php"


def official_clips() -> dict[str, tuple[str, int]]:
    """Returns class and group of all 1600 clips, under their names without ending."""
    return {
        f"v_{word}_{group:02d}_{clip:02d}": (label, group)
        for label, word, counts in _CLIPS
        for group, count in enumerate(map(int, counts.split()), 1)
        for clip in range(1, count + 1)
    }


def list_ucf11(folder: Path, split: str = "", seed: int = 0) -> ClipList:
    """Lists the 1600 clips of UCF-11, 975 of them for training; see `Dataset.list_clips`."""
    del seed  # nothing is random here
    require_split("UCF-11", split, ())

    def key(path: PurePosixPath):
        return path.stem if path.suffix[1:] in EXTENSIONS and _NAME.fullmatch(path.stem) else None

    found = locate(walk(folder), key, folder)
    official = official_clips()
    if not found.keys() & official.keys():
        raise NothingHere(
            f"{folder}: no clips of UCF-11; it should hold UCF11_updated_mpg or action_youtube_naudio, "
            "with files like biking/v_biking_07/v_biking_07_02.mpg"
        )
    clips = [
        Clip(
            path=found.get(name, f"{label}/{name[:-3]}/{name}.mpg"),
            labels=(label,),
            group=f"{group:02d}",
            split="test" if group in TEST_GROUPS else "train",
        )
        for name, (label, group) in official.items()
    ]
    require_counts("UCF-11", [clip.split for clip in clips], {"train": 975, "test": 625})
    return make_clip_list("ucf11", folder, clips, split="groups")


UCF11 = Dataset(
    list_ucf11,
    known_bad={
        "v_shooting_24_01": "broken in the copies in circulation",
        "v_shooting_25_06": "has 12 frames in the copies in circulation",
    },
    downloads=(
        Download(
            "the clips",
            (
                Source("https://www.crcv.ucf.edu/data/UCF11_updated_mpg.rar"),
                Source("https://www.crcv.ucf.edu/data/YouTube_DataSet_Annotated.zip"),
            ),
            _BY_HAND,
        ),
    ),
)
