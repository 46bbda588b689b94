"""From steps to blocks, to videos, to a score, in the paper's protocol and the released program's."""

from dataclasses import dataclass

import numpy as np

from attention_ar import metrics, released


@dataclass(frozen=True)
class Protocol:
    """How predictions are combined and scored.

    Attributes:
      name: "paper": means over all steps and over the blocks (section 4.2). "released", as the authors' program does: a
        block predicts the class that is most probable over its last steps, and a video the class that most of its
        blocks predict; with several labels, means over the last steps and over the blocks, and videos of equal score do
        not share a rank. See `attention_ar.released.evaluation`.
      last_n: the steps at the block's end that count in the released protocol.
    """

    name: str = "paper"
    last_n: int = 30

    @property
    def needs(self) -> frozenset:
        """Which results of `eval_step` are needed beside the predictions."""
        return frozenset() if self.name == "paper" else frozenset({"logits"})

    def block_predictions(self, results: dict, multi_label: bool):
        """Predicts blocks.

        Args:
          results: of `eval_step`, of which `logits` and `predictions` count.
          multi_label: whether a clip may have several labels.

        Returns:
          `<float>[B, C]`; in the released protocol with one label, 1 for the predicted class and 0 for the
          others.
        """
        if self.name == "paper":
            return np.asarray(results["predictions"]).mean(axis=1)
        said = np.asarray(released.evaluation.block_predictions(results["logits"], self.last_n, multi_label))
        return said if multi_label else np.eye(results["logits"].shape[-1])[said]

    def video_predictions(self, block_predictions, block_video, num_videos: int) -> np.ndarray:
        """Means over each video's blocks, `<float64>[num_videos, C]`; of released blocks with one label, shares of
        votes.

        The greatest share, the first of equals, is `released.evaluation.vote`.
        """
        return metrics.video_predictions(block_predictions, block_video, num_videos)

    def scores(self, predictions, labels, multi_label: bool) -> dict:
        """Returns the paper's score (`score_name` names its entry) and further scores.

        Args:
          predictions: of videos, `<float>[N, C]`.
          labels: theirs, `[N, C]`.
          multi_label: whether a clip may have several labels.
        """
        if not multi_label:
            return {
                "score_name": "accuracy",
                "accuracy": metrics.accuracy(predictions, labels),
                "mean_class_accuracy": metrics.mean_class_accuracy(predictions, labels),
                "mean_f1": metrics.mean_f1(predictions, labels),
            }
        rules = metrics if self.name == "paper" else released.evaluation
        by_class = rules.average_precisions(predictions, labels)
        return {
            "score_name": "mean_average_precision",
            "mean_average_precision": rules.mean_average_precision(predictions, labels),
            "average_precisions": [None if np.isnan(p) else float(p) for p in by_class],
            "mean_f1": metrics.mean_f1(predictions, labels, multi_label=True),
        }

    def class_scores(self, predictions, labels, multi_label: bool) -> list[dict]:
        """Returns the scores of each class: `num_videos`, `precision`, `recall`, `f1`; with several labels also
        `average_precision` and `roc_area`. What is undefined, for want of videos, is None. See `scores`."""
        by_name = metrics.precision_recall_f1(predictions, labels, multi_label)
        if multi_label:
            rules = metrics if self.name == "paper" else released.evaluation
            by_name["average_precision"] = rules.average_precisions(predictions, labels)
            by_name["roc_area"] = metrics.roc_areas(predictions, labels)
        return [
            {name: None if np.isnan(value) else value.item() for name, value in zip(by_name, values, strict=True)}
            for values in zip(*by_name.values(), strict=True)
        ]


PAPER = Protocol()
