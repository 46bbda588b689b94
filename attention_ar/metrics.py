"""Predictions of videos from those of their blocks, and the paper's scores (sections 4.2 and 4.3)."""

import logging

import numpy as np

# scikit-learn is imported where it is used: that takes as long as the rest of a program's imports, and a program's
# first lines and its --help need not wait for it.


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
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(
        np.argmax(labels, axis=1), np.argmax(predictions, axis=1), labels=np.arange(labels.shape[1])
    )


def mean_class_accuracy(predictions, labels) -> float:
    """Mean of the per-class accuracies; classes without a video are left out. See `accuracy`."""
    counts = confusion(predictions, labels)
    present = counts.sum(axis=1) > 0
    return float(np.mean(np.diag(counts)[present] / counts.sum(axis=1)[present]))


def precision_recall_f1(predictions, labels, multi_label: bool = False) -> dict[str, np.ndarray]:
    """Precision, recall and F1 of each class, and how many videos it has.

    Of one label, the most probable class counts as the prediction; of several, every class with a probability of at
    least 1/2. Precision is the share of right ones among the videos that are taken for the class (NaN where there are
    none), recall the share of the class's videos that are found (NaN where it has none), and F1 their harmonic mean,
    2·right / (taken + videos), which is NaN only where both are.

    Args:
      predictions: `<float>[num_videos, C]`.
      labels: 0 or 1, `[num_videos, C]`.
      multi_label: whether a clip may have several labels.

    Returns:
      `num_videos` `<int64>[C]`, and `precision`, `recall` and `f1`, each `<float64>[C]`.
    """
    from sklearn.metrics import precision_recall_fscore_support

    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if multi_label:
        truth, said = labels > 0, predictions >= 0.5
    else:
        truth, said = np.argmax(labels, axis=1), np.argmax(predictions, axis=1)
    found = precision_recall_fscore_support(
        truth, said, labels=np.arange(labels.shape[1]), average=None, zero_division=np.nan
    )
    precision, recall, f1, num_videos = found
    return {"num_videos": num_videos, "precision": precision, "recall": recall, "f1": f1}


def mean_f1(predictions, labels, multi_label: bool = False) -> float:
    """Mean of the classes' F1 ("macro F1"); classes without a video are left out. See `precision_recall_f1`."""
    found = precision_recall_f1(predictions, labels, multi_label)
    present = found["num_videos"] > 0
    return float(np.mean(found["f1"][present])) if present.any() else float("nan")


def threshold_curves(scores, labels) -> dict[str, np.ndarray]:
    """The ROC and the precision–recall curve of one class: a point for every score that some video has.

    Args:
      scores: of the class, `<float>[num_videos]`.
      labels: whether a video has it, 0 or 1, `[num_videos]`; there is a video of either kind.

    Returns:
      `threshold`, falling, and, where all videos with at least that score are taken for the class,
      `false_positive_rate`, `recall` (the true positive rate) and `precision`, each `<float64>[n]`.
    """
    from sklearn.metrics import precision_recall_curve, roc_curve

    false_positive_rate, recall, threshold = roc_curve(labels, scores, drop_intermediate=False)
    precision, _, _ = precision_recall_curve(labels, scores)
    # The one curve begins with no video at all, the other, by rising thresholds, ends with it.
    return {
        "threshold": threshold[1:],
        "false_positive_rate": false_positive_rate[1:],
        "recall": recall[1:],
        "precision": precision[-2::-1],
    }


def roc_areas(scores, labels) -> np.ndarray:
    """The area under each class's ROC curve, `<float64>[C]`: how often a video of the class has a higher score than one
    that is not of it. NaN where there are no two such videos. See `average_precisions`."""
    from sklearn.metrics import roc_auc_score

    labels = np.asarray(labels)
    return np.array(
        [
            roc_auc_score(labels[:, c], scores[:, c]) if 0 < labels[:, c].sum() < len(labels) else np.nan
            for c in range(labels.shape[1])
        ]
    )


def average_precisions(scores, labels) -> np.ndarray:
    """Average precision of each class, `<float64>[C]`.

    It is the mean, over the videos of the class, of the precision at their rank. Videos of equal score share a rank, so
    that the result does not depend on their order. A class without videos has NaN.

    Args:
      scores: `<float>[num_videos, C]`.
      labels: 0 or 1, `[num_videos, C]`.
    """
    from sklearn.metrics import average_precision_score

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
