"""How the released program predicts blocks from steps and videos from blocks, and its scores."""

import logging

import jax
import jax.numpy as jnp
import numpy as np

from attention_ar.released.model import sigmoid


def block_predictions(logits, last_n: int, multi_label: bool):
    """Predicts a block from its last steps; the mask has no effect.

    Args:
      logits: `<float>[B, T, C]`.
      last_n: how many steps at the end count; all of them if there are fewer.
      multi_label: see Returns.

    Returns:
      The class of the greatest sum of probabilities, `<int32>[B]`; or, with several labels, the mean of each
      class's probability, `<float>[B, C]`.
    """
    if multi_label:
        return jnp.mean(sigmoid(logits[:, -last_n:]), axis=1)
    return jnp.argmax(jnp.sum(jax.nn.softmax(logits[:, -last_n:]), axis=1), axis=-1)


def vote(block_classes, block_video, num_videos: int) -> np.ndarray:
    """Predicts a video: the most frequent class of its blocks, the smallest among equals.

    Args:
      block_classes: `<int>[num_blocks]`.
      block_video: the video of each block, `<int>[num_blocks]`.
      num_videos: how many videos there are; each has at least one block.

    Returns:
      `<int64>[num_videos]`.
    """
    counts = np.zeros((num_videos, np.max(block_classes, initial=0) + 1), np.int64)
    np.add.at(counts, (block_video, block_classes), 1)
    return np.argmax(counts, axis=1)


def accuracy(video_classes, labels) -> float:
    """Fraction of the videos whose class is right; both `<int>[num_videos]`."""
    return float(np.mean(np.asarray(video_classes) == np.asarray(labels)))


def average_precision(scores, labels) -> float:
    """Mean, over the videos of a class, of the precision at their rank by falling score; NaN without such a video.

    Videos of equal score keep their order: each has a rank of its own. `attention_ar.metrics` lets them share it.

    Args:
      scores: `<float>[num_videos]`.
      labels: 0 or 1, `<int>[num_videos]`.
    """
    relevant = np.asarray(labels)[np.argsort(-np.asarray(scores), kind="stable")]
    precision = np.cumsum(relevant) / np.arange(1, len(relevant) + 1)
    return float(np.mean(precision[relevant == 1])) if np.any(relevant == 1) else float("nan")


def average_precisions(scores, labels) -> np.ndarray:
    """The `average_precision` of each class, `<float64>[C]`, of scores and labels `[num_videos, C]`."""
    return np.array([average_precision(scores[:, c], labels[:, c]) for c in range(labels.shape[1])])


def mean_average_precision(scores, labels) -> float:
    """Mean of the `average_precisions`. Classes without a video are left out, with a warning in the log.

    The program's mean is NaN then.
    """
    precisions = average_precisions(scores, labels)
    undefined = np.isnan(precisions)
    if np.any(undefined):
        classes = np.flatnonzero(undefined).tolist()
        logging.warning("mean average precision leaves out classes without a video: %s", classes)
    return float("nan") if np.all(undefined) else float(np.mean(precisions[~undefined]))
