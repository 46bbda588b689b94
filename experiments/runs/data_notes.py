"""Notes on the clips before training: classes that cannot be learnt, and held-out scores that are too high."""

from collections.abc import Sequence

import numpy as np

from data_prep.datasets.clip_list import notes_on_classes
from data_prep.features.contents import FeaturesFile

NEAR = 0.75
"""Clips whose features are more alike than this are near copies.

Their likeness is the cosine between their mean features (over frames and cells), after the mean of the training clips
is subtracted. Measured with GoogLeNet, held-out clips with a near copy where groups are unknown, and where whole groups
are held out: Weizmann with mirror images 100 % and 0 %, fights cut from the same videos 42 to 53 % and 0 %, JHMDB 40 to
45 % and 1 %.
"""
MANY = 0.25
"""Training warns if at least this share of held-out clips are near copies."""

_FRAMES = 4  # of a clip
_CLIPS = 256, 2048  # compared at most: held-out ones, training ones
_CLIPS_IN_RECORDS = 32, 256  # A record is read whole.


def notes_on(file: FeaturesFile, training: Sequence[int], held_out: Sequence[int]) -> list[str]:
    """Returns one line for each note that a user needs before training.

    Args:
      file: the features.
      training: indices of the videos to train on.
      held_out: of those on which the best epoch is chosen.
    """
    in_training = np.any(file.labels[np.asarray(training)], axis=0)
    notes = notes_on_classes(file.class_names, np.array(file.class_names)[in_training])
    share = near_copies(file, training, held_out) if len(held_out) and not any(file.groups) else 0.0
    if share >= MANY:
        notes.append(
            f"{share:.0%} of the held-out clips are near copies of training clips, and groups are unknown: the "
            "held-out score will be too high. The column `group` of index.csv says which clips belong together (one "
            "person, one scene, one source video)"
        )
    return notes


def near_copies(file: FeaturesFile, training: Sequence[int], held_out: Sequence[int]) -> float:
    """Returns the share of held-out clips that have a near copy among the training clips; see `NEAR`.

    Of large data sets, evenly spread clips are compared.
    """
    most_new, most_known = _CLIPS if isinstance(file.features, np.ndarray) else _CLIPS_IN_RECORDS
    known = _mean_features(file, _some(training, most_known))
    new = _mean_features(file, _some(held_out, most_new))
    middle = known.mean(axis=0)
    likeness = _unit(new - middle) @ _unit(known - middle).T
    return float(np.mean(likeness.max(axis=1) > NEAR))


def _some(videos: Sequence[int], most: int) -> np.ndarray:
    return np.asarray(videos)[np.unique(np.linspace(0, len(videos) - 1, min(len(videos), most)).round().astype(int))]


def _mean_features(file: FeaturesFile, videos: np.ndarray) -> np.ndarray:
    """Returns the mean over frames and cells, <float64>[n, D]."""
    means = []
    for video in videos:
        rows = int(file.first_row[video]) + _some(np.arange(file.num_frames[video]), _FRAMES)
        means.append(np.nan_to_num(file.features[rows].astype(np.float64)).mean(axis=(0, 1, 2)))
    return np.stack(means)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
