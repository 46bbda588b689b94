"""A model's predictions on videos, and the scores they get (section 4.2)."""

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from attention_ar import metrics
from attention_ar.errors import InputError
from attention_ar.released import evaluation as released_evaluation
from data_prep.batches import Blocks, batches, prefetch
from data_prep.features_file import recipe_hash
from experiments import confusion_picture, trained
from experiments.config import write_json

HEALTH = ("entropy", "movement", "largest_mass")


@dataclass(frozen=True)
class Protocol:
    """How steps make the prediction of a block, blocks that of a video, and videos the score.

    Attributes:
      name: "paper": means over all steps and over the blocks (section 4.2). "released", as the authors' program does: a
        block says the class that is most probable over its last steps, and a video the class that most of its blocks
        say; with several labels, means over the last steps and over the blocks, and videos of equal score do not share
        a rank.
      last_n: the steps at the block's end that count in the released protocol.
    """

    name: str = "paper"
    last_n: int = 30

    def block_predictions(self, predictions, multi_label: bool):
        """`<float>[B, T, C]` to `<float>[B, C]`, whose means over a video's blocks predict the video."""
        if self.name == "paper":
            return predictions.mean(axis=1)
        means = predictions[:, -self.last_n :].mean(axis=1)
        return means if multi_label else np.eye(means.shape[1])[np.argmax(means, axis=1)]

    def score(self, predictions, labels, multi_label: bool) -> tuple[str, float]:
        """See `metrics.score`."""
        if self.name == "released" and multi_label:
            return "mean_average_precision", released_evaluation.mean_average_precision(predictions, labels)
        return metrics.score(predictions, labels, multi_label)


PAPER = Protocol()


@dataclass(frozen=True)
class VideoPredictions:
    """What a model says of some videos of a features file.

    Attributes:
      video: the videos' indices in the file, `<int64>[N]`.
      predictions: `<float64>[N, C]`; in the paper's protocol the mean over the blocks of the mean over the steps of
      ŷ_t.
      num_blocks: blocks of each video, `<int64>[N]`.
      cross_entropy: the first term of Eq. 7, mean over all blocks, in nats.
      attention_health: means over all blocks of the `attention_health` numbers; empty for a model without attention.
      protocol: by which they came about.
    """

    video: np.ndarray
    predictions: np.ndarray
    num_blocks: np.ndarray
    cross_entropy: float
    attention_health: dict
    protocol: Protocol

    def scores(self, labels, multi_label: bool) -> dict:
        """Returns the paper's score (`score_name` says which entry it is) and those beside it.

        Args:
          labels: of these videos, `[N, C]`.
          multi_label: whether a clip may have several labels.
        """
        name, value = metrics.score(self.predictions, labels, multi_label)
        result = {
            "score_name": name,
            name: value,
            "num_videos": len(self.video),
            "num_blocks": int(self.num_blocks.sum()),
        }
        if multi_label:
            by_class = metrics.average_precisions(self.predictions, labels)
            result["average_precisions"] = [None if np.isnan(p) else float(p) for p in by_class]
        else:
            result["mean_class_accuracy"] = metrics.mean_class_accuracy(self.predictions, labels)
        result["cross_entropy"] = self.cross_entropy
        if self.attention_health:
            result["attention"] = self.attention_health
        return result


def predict_blocks(
    compiled_eval_step, params, file, blocks: Blocks, batch_size: int, protocol=PAPER, keep_attention=False
) -> dict:
    """Runs the model over blocks.

    Args:
      compiled_eval_step: `steps.eval_step` of one model, compiled; a function of params and batch.
      params: the model's parameters.
      file: the FeaturesFile that the blocks are from.
      blocks: which blocks.
      batch_size: B.
      protocol: how steps make the prediction of a block.
      keep_attention: whether l_t is returned too.

    Returns:
      A dict of arrays with one row a block: `predictions` `<float>[num_blocks, C]`, `cross_entropy`, the
      `attention_health` numbers and, where asked for, `attention` `<float32>[num_blocks, T, K²]`.
    """
    collected = {}
    order, batch_size = np.arange(len(blocks)), min(batch_size, len(blocks))
    with tqdm(total=len(blocks), unit="block", desc="evaluating", disable=None, leave=False) as progress:
        for batch in prefetch(batches(file, blocks, order, batch_size)):
            block = batch.pop("block")
            results = compiled_eval_step(params, batch)
            real = batch["weight"] > 0
            kept = {"predictions", "cross_entropy", *HEALTH, *(["attention"] if keep_attention else [])}
            row = jax.device_get({name: value for name, value in results.items() if name in kept})
            row["predictions"] = protocol.block_predictions(row["predictions"], file.multi_label)
            for name, value in row.items():
                collected.setdefault(name, []).append(value[real])
            bad = block[~np.isfinite(row["cross_entropy"])]
            if len(bad):
                names = sorted({file.names[v] for v in blocks.video[bad]})
                raise InputError(f"not finite numbers come of the features of {', '.join(names)}; extract them again")
            progress.update(int(real.sum()))
    return {name: np.concatenate(values) for name, values in collected.items()}


def predict_videos(
    compiled_eval_step, params, file, blocks: Blocks, batch_size: int, protocol=PAPER
) -> VideoPredictions:
    """Returns the predictions of all videos that have a block in `blocks`. See `predict_blocks`."""
    by_block = predict_blocks(compiled_eval_step, params, file, blocks, batch_size, protocol)
    videos, block_video = np.unique(blocks.video, return_inverse=True)
    return VideoPredictions(
        video=videos,
        predictions=metrics.video_predictions(by_block["predictions"], block_video, len(videos)),
        num_blocks=np.bincount(block_video),
        cross_entropy=float(by_block["cross_entropy"].mean()),
        attention_health={name: float(by_block[name].mean()) for name in HEALTH if name in by_block},
        protocol=protocol,
    )


def evaluate(
    workdir,
    *,
    features=None,
    split="test",
    protocol="paper",
    checkpoint="best",
    stride=None,
    batch_size=None,
    output=None,
):
    """Evaluates a run on one part of a features file, and writes down what comes out.

    Args:
      workdir: of the run.
      features: the features file; None is the one that the run was trained on.
      split: "train", "validation" or "test".
      protocol: "paper" or "released", see `Protocol`; the latter also cuts videos into blocks by the released rule.
      checkpoint: "best" or "latest".
      stride, batch_size: None is the run's own.
      output: where the scores go; None is `scores.json` in the folder that is returned.

    Returns:
      The scores, see `VideoPredictions.scores`; the folder of `predictions.csv`, `confusion.csv` and `confusion.png`;
      and the path of the scores.

    Raises:
      InputError: where no video is in that part, and see `trained.load`.
    """
    model = trained.load(workdir, checkpoint)
    file = model.open_features(features)
    videos = np.flatnonzero(np.array(file.splits) == split)
    if not len(videos):
        raise InputError(f"split={split}: no video of the features file is in it; it has {sorted(set(file.splits))}")
    data = model.config.data
    blocks = data.cut(file, videos, stride, "released" if protocol == "released" else None)
    found = predict_videos(
        model.eval_step,
        model.params,
        file,
        blocks,
        batch_size or model.config.training.batch_size,
        Protocol(protocol, model.config.released.last_n),
    )
    scores = {
        **found.scores(file.labels[found.video], model.multi_label),
        "split": split,
        "protocol": protocol,
        "checkpoint": checkpoint,
        "epoch": model.epoch,
        "model": model.config.model.model,
        "num_steps": data.num_steps,
        "fps": data.fps,
        "stride": stride or data.stride,
        "num_cells": model.feature_shape[0] ** 2,
        "class_names": model.class_names,
        "recipe": recipe_hash(file.recipe),
        "random_network": file.recipe["random"],
    }

    folder = Path(workdir) / "evaluation" / (split if protocol == "paper" else f"{split}_{protocol}")
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(folder / "predictions.csv", file, found)
    if not model.multi_label:
        counts = metrics.confusion(found.predictions, file.labels[found.video])
        rows = [[name, *row] for name, row in zip(model.class_names, counts.tolist(), strict=True)]
        write_csv(folder / "confusion.csv", ["is \\ taken for", *model.class_names], rows)
        confusion_picture.draw(folder / "confusion.png", counts, model.class_names)
    output = Path(output) if output else folder / "scores.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(output, scores)
    return scores, folder, output


def write_predictions(path, file, found: VideoPredictions):
    """Writes one line a video: its name, group, labels, the most probable class, and the probability of every class."""
    rows = []
    for video, p, num_blocks in zip(found.video, found.predictions, found.num_blocks, strict=True):
        best = int(np.argmax(p))
        row = [file.names[video], file.groups[video], label_of(file, video), file.class_names[best]]
        rows.append([*row, file.labels[video][best], num_blocks, *(f"{value:.6f}" for value in p)])
    columns = ["path", "group", "label", "predicted", "correct", "num_blocks"]
    write_csv(path, [*columns, *(f"p({name})" for name in file.class_names)], rows)


def label_of(file, video: int) -> str:
    """Returns the class of a video, or its classes joined by "|"."""
    return "|".join(name for name, has in zip(file.class_names, file.labels[video], strict=True) if has)


def write_csv(path, header: list, rows: list):
    """Writes a CSV file atomically."""
    beside = f"{path}.partial"
    with open(beside, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    os.replace(beside, path)
