"""Predictions of videos from those of their blocks, and the paper's scores (sections 4.2 and 4.3)."""

import logging

import numpy as np
from sklearn.metrics import average_precision_score, confusion_matrix


def video_predictions(block_predictions, block_video, num_videos):
    """A video's prediction: "we average the predictions from all 30 frame blocks in the video" (section 4.2).

    Args:
      block_predictions: ŷ of each block, itself the mean of ŷ_t over its T steps, `<float>[num_blocks, C]`.
      block_video: the video of each block, `<int>[num_blocks]`.
      num_videos: how many videos there are; each has at least one block.

    Returns:
      `<float64>[num_videos, C]`. Every video counts once, whatever its number of blocks.
    """
    sums = np.zeros((num_videos, block_predictions.shape[1]))
    np.add.at(sums, block_video, block_predictions)
    return sums / np.bincount(block_video, minlength=num_videos)[:, None]


def accuracy(predictions, labels) -> float:
    """Fraction of videos whose most probable class is the label.

    Args:
      predictions: `<float>[num_videos, C]`.
      labels: one-hot, `[num_videos, C]`.
    """
    return float(np.mean(np.argmax(predictions, axis=1) == np.argmax(labels, axis=1)))


def confusion(predictions, labels) -> np.ndarray:
    """Counts the videos of class i that are predicted as class j, `<int64>[C, C]`. See `accuracy`."""
    return confusion_matrix(
        np.argmax(labels, axis=1), np.argmax(predictions, axis=1), labels=np.arange(labels.shape[1])
    )


def mean_class_accuracy(predictions, labels) -> float:
    """Mean of the per-class accuracies; classes without a video are left out. See `accuracy`."""
    counts = confusion(predictions, labels)
    present = counts.sum(axis=1) > 0
    return float(np.mean(np.diag(counts)[present] / counts.sum(axis=1)[present]))


def average_precisions(scores, labels) -> np.ndarray:
    """Average precision of each class, `<float64>[C]`.

    It is the mean, over the videos of the class, of the precision at their rank. Videos of equal score share a rank, so
    that the result does not depend on their order. A class without videos has NaN.

    Args:
      scores: `<float>[num_videos, C]`.
      labels: 0 or 1, `[num_videos, C]`.
    """
    return np.array(
        [
            average_precision_score(labels[:, c], scores[:, c]) if np.any(labels[:, c]) else np.nan
            for c in range(labels.shape[1])
        ]
    )


def mean_average_precision(scores, labels) -> float:
    """Mean of the `average_precisions`. Classes without a video are left out, with a warning in the log."""
    precisions = average_precisions(scores, labels)
    undefined = np.flatnonzero(np.isnan(precisions))
    if len(undefined):
        logging.warning("mean average precision leaves out classes without a video: %s", undefined.tolist())
    return float(np.mean(precisions[~np.isnan(precisions)])) if len(undefined) < len(precisions) else float("nan")
