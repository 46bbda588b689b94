"""The flags that say which data set, where it lies and which of its splits; the same for every program."""

from absl import flags

from attention_ar.errors import InputError
from data_prep.datasets.clip_list import ClipList
from data_prep.datasets.registry import DATASETS, list_clips

DATASET = flags.DEFINE_enum("dataset", "folder", sorted(DATASETS), "Which data set lies in --data_dir.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "The data set's folder on disk, as it is distributed.")
SPLIT = flags.DEFINE_string(
    "split",
    "",
    "Which of its official splits: 1, 2 or 3 for hmdb51 and ucf101, where 1 is the default; the others have one.",
)
SEED = flags.DEFINE_integer("seed", 0, "Of the random split, where the data set has none.", lower_bound=0)
ALLOW_MISSING = flags.DEFINE_bool("allow_missing", False, "Go on without the clips that are not on disk.")


def listed_clips() -> ClipList:
    """Returns the clips that the flags name, and says on the way how many are missing.

    Raises:
      InputError: see `list_clips`; and without --data_dir.
    """
    if not DATA_DIR.value:
        raise InputError("--data_dir: must name the data set's folder")
    clip_list = list_clips(
        DATASET.value, DATA_DIR.value, split=SPLIT.value, seed=SEED.value, allow_missing=ALLOW_MISSING.value
    )
    if clip_list.missing:
        there, missing = len(clip_list.clips), len(clip_list.missing)
        print(f"{missing} of {there + missing} clips are MISSING on disk; going on with {there}")
    return clip_list
