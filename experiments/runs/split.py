"""Which videos of a features file a run trains on, and which it holds out."""

from dataclasses import dataclass

import numpy as np

from attention_ar.errors import InputError
from data_prep.datasets.splits import check_disjoint_groups, hold_out_part
from data_prep.features.contents import FeaturesFile
from experiments.runs.config import RunConfig

UNUSED = "unused"


@dataclass(frozen=True)
class _Parts:
    """What `hold_out_part` needs of videos."""

    labels: np.ndarray
    groups: list[str]
    splits: list[str]


def split_of_run(file: FeaturesFile, config: RunConfig) -> list[str]:
    """Returns the part of each video: "train", "validation" for what is held out of training, or "test".

    Mirrored videos do not change what is held out. They are in "train" if their source is, and otherwise `UNUSED`.
    """
    data = config.data
    seed = config.training.seed if data.split_seed < 0 else data.split_seed
    real = np.flatnonzero(~file.mirrored)
    parts = hold_out_part(
        _Parts(file.labels[real], [file.groups[i] for i in real], [file.splits[i] for i in real]),
        fraction=data.validation_fraction,
        seed=seed,
        folds=data.folds,
        fold=data.fold,
        test_folds=data.test_folds,
        test_fold=data.test_fold,
    )
    part_of = dict(zip(real.tolist(), parts, strict=True))
    found = [part_of[source] for source in file.source.tolist()]
    return [
        UNUSED if is_mirrored and part != "train" else part
        for part, is_mirrored in zip(found, file.mirrored.tolist(), strict=True)
    ]


def choose_videos(file: FeaturesFile, config: RunConfig) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices of the videos to train on, and of those held out of train to choose the best epoch."""
    check_disjoint_groups(file)
    splits = np.array(split_of_run(file, config))
    training_videos = np.flatnonzero(splits == "train")
    if not len(training_videos):
        raise InputError("the features file has no video in its training part; index.csv must put some in `train`")
    return training_videos, np.flatnonzero(splits == "validation")
