"""Which videos of a features file a run trains on, and which it holds out."""

import numpy as np

from attention_ar.errors import InputError
from data_prep.datasets.splits import check_disjoint_groups, hold_out_part
from data_prep.features.contents import FeaturesFile
from experiments.runs.config import RunConfig


def split_of_run(file: FeaturesFile, config: RunConfig) -> list[str]:
    """Returns the part of each video: "train", "validation" for what is held out of training, or "test"."""
    data = config.data
    seed = config.training.seed if data.split_seed < 0 else data.split_seed
    return hold_out_part(
        file,
        fraction=data.validation_fraction,
        seed=seed,
        folds=data.folds,
        fold=data.fold,
        test_folds=data.test_folds,
        test_fold=data.test_fold,
    )


def choose_videos(file: FeaturesFile, config: RunConfig) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices of the videos to train on, and of those held out of train to choose the best epoch."""
    check_disjoint_groups(file)
    splits = np.array(split_of_run(file, config))
    training_videos = np.flatnonzero(splits == "train")
    if not len(training_videos):
        raise InputError("the features file has no video in its training part; index.csv must put some in `train`")
    return training_videos, np.flatnonzero(splits == "validation")
