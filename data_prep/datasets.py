"""The data sets by name. Each is one file with one function that makes a `ClipList` of a folder on disk."""

from collections.abc import Callable

from attention_ar.errors import InputError
from data_prep.clip_list import SPLITS, Clip, ClipList
from data_prep.folder import list_folder

__all__ = ["DATASETS", "SPLITS", "Clip", "ClipList", "list_clips"]

# name: function of (data_dir, split, seed). `split` is what --split says: "" or the name of an official split.
DATASETS: dict[str, Callable[[str, str, int], ClipList]] = {
    "folder": list_folder,
}


def list_clips(dataset: str, data_dir, *, split: str = "", seed: int = 0) -> ClipList:
    """Lists the clips of a data set.

    Args:
      dataset: a name in `DATASETS`.
      data_dir: where the data set lies on disk.
      split: which of its official splits; "" for a data set that has only one.
      seed: of the splits that are made at random.

    Raises:
      InputError: for an unknown name or a folder that does not hold this data set.
    """
    if dataset not in DATASETS:
        raise InputError(f"dataset={dataset}: no such data set; there are {', '.join(sorted(DATASETS))}")
    return DATASETS[dataset](data_dir, split, seed)
