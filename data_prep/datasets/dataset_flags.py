"""The flags that say which data set, where it lies and which of its splits; the same for every program."""

from absl import flags

from attention_ar.errors import InputError
from data_prep.common.command_line import refuse_flags
from data_prep.datasets.clip_list import ClipList
from data_prep.datasets.registry import DATASETS, list_clips
from data_prep.video.image_folder import DEFAULT_FPS

flags.disclaim_key_flags()  # The flags belong to the program that calls `define`.

_DEFINITIONS = {
    "dataset": lambda: flags.DEFINE_enum("dataset", "folder", sorted(DATASETS), "Which data set lies in --data_dir."),
    "data_dir": lambda: flags.DEFINE_string("data_dir", None, "The data set's folder on disk, as it is distributed."),
    "split": lambda: flags.DEFINE_string(
        "split",
        "",
        "Which of its official splits: 1, 2 or 3 for hmdb51 and ucf101, where 1 is the default; the others have one.",
    ),
    "seed": lambda: flags.DEFINE_integer("seed", 0, "Of the random split, where the data set has none.", lower_bound=0),
    "allow_missing": lambda: flags.DEFINE_bool(
        "allow_missing", False, "Continue without the clips that are not on disk."
    ),
    "image_fps": lambda: flags.DEFINE_float(
        "image_fps", DEFAULT_FPS, "How many pictures are a second, where a clip is a folder of numbered pictures."
    ),
}


def define(*names: str):
    """Defines the flags of these names, by default all: dataset, data_dir, split, seed, allow_missing, image_fps."""
    for name in names or _DEFINITIONS:
        _DEFINITIONS[name]()


def listed_clips() -> ClipList:
    """Returns the clips that the flags name, and prints how many are missing.

    Raises:
      InputError: see `list_clips`; and without --data_dir.
    """
    f = flags.FLAGS
    if not f.data_dir:
        raise InputError("--data_dir: must name the data set's folder")
    if f.dataset != "folder":
        refuse_flags("seed", because=f"with --dataset={f.dataset}, whose split is published")
    clip_list = list_clips(
        f.dataset,
        f.data_dir,
        split=f.split,
        seed=f.seed,
        allow_missing=f.allow_missing,
        image_fps=f.image_fps,
    )
    if clip_list.missing:
        there, missing = len(clip_list.clips), len(clip_list.missing)
        print(f"{missing} of {there + missing} clips are MISSING on disk; continuing with {there}")
    return clip_list
