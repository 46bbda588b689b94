"""A model's predictions on videos, and their scores (section 4.2)."""

import csv
from pathlib import Path

import numpy as np

from attention_ar import metrics
from attention_ar.errors import InputError
from attention_ar.hard_attention import GLIMPSE_RULES
from data_prep.common.files import write_csv, write_json
from data_prep.features.recipe import recipe_hash
from data_prep.loading.block_table import cut_blocks
from experiments.pictures import confusion
from experiments.runs import trained
from experiments.runs.calibration import NONE_OF_THESE, calibration_scores, rejection
from experiments.runs.class_scores import by_name, write_classes, write_curves
from experiments.runs.localisation_scores import Localisation, localisation_file
from experiments.runs.models import describe_looking
from experiments.runs.protocol import Protocol
from experiments.runs.video_predictions import VideoPredictions, label_of, predict_videos, videos_of

_UNDER_A_RULE = (
    *("score_name", "accuracy", "mean_average_precision", "mean_class_accuracy", "cross_entropy"),
    *("attention", "localisation"),
)
"""The scores that are reported under each glimpse rule."""


def evaluate(
    workdir,
    *,
    features=None,
    split="test",
    protocol="paper",
    checkpoint="best",
    stride=None,
    batch_size=None,
    boxes=None,
    data_dir=None,
    reject_below=None,
    output=None,
    explain="attention",
    glimpse_rule=None,
):
    """Evaluates a run on one part of a features file, and writes the results.

    Args:
      workdir: of the run.
      features: the features file; None is the one that the run was trained on.
      split: "train", "validation" or "test".
      protocol: "paper" or "released", see `Protocol`; the latter also cuts videos into blocks by the released rule.
      checkpoint: "best" or "latest".
      stride, batch_size: None is the run's own.
      boxes: a boxes file, see `data_prep.datasets.boxes`; the scores then have an entry `localisation`, see
        `Localisation.scores`.
      explain: what is compared with the boxes, see `explanations.as_maps`.
      data_dir: the folder of the clips, for the size of their frames; None is the one they were extracted from.
      reject_below: a probability; less sure videos are "none of these" in `predictions.csv`, and the scores have an
        entry `rejection`, see `calibration.rejection`. All other scores are of the most probable classes.
      output: where the scores go; None is `scores.json` in the folder that is returned.
      glimpse_rule: of a model with hard attention. None is the run's own; the others are then evaluated, too, into
        folders of their own, and the scores have an entry `glimpse_rules` with the main ones under each rule.

    Returns:
      The scores, see `VideoPredictions.scores`, with `classes` (see `Protocol.class_scores`) and `calibration` (see
      `calibration_scores`); the folder of `predictions.csv`, `classes.csv`, `confusion.csv` and `confusion.png`, with
      several labels `curves.csv` instead; and the path of the scores.

    Raises:
      InputError: where no video is in that part, boxes are given for the attention of a model without, and see
        `trained.load` and `Localisation`.
    """
    model = trained.load(workdir, checkpoint, glimpse_rule)
    if boxes and explain == "attention":
        model.require_attention("to compare with boxes")
    file = model.open_features(features)
    videos = videos_of(file, split)
    data = model.config.data
    rule = "released" if protocol == "released" else data.block_rule
    blocks = cut_blocks(file, videos, data.num_steps, data.fps, stride or data.stride, rule)
    localisation = Localisation(boxes, file, blocks, data_dir, explain) if boxes else None
    found = predict_videos(
        model.predictor,
        model.params,
        model.store(file),
        blocks,
        batch_size or model.config.training.batch_size,
        Protocol(protocol, model.config.released.last_n),
        explain=explain if localisation else None,
        watch_maps=localisation.add if localisation else None,
    )
    labels = file.labels[found.video]
    classes = by_name(model.class_names, found.protocol.class_scores(found.predictions, labels, model.multi_label))
    calibrated = model.temperature(found.predictions, found.protocol, model.multi_label)
    scores = {
        **found.scores(labels, model.multi_label),
        "classes": classes,
        "calibration": calibration_scores(model.temperature, found, labels, model.multi_label),
        "split": split,
        "split_id": file.split_id,
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
    if localisation:
        scores["localisation"] = localisation.scores()
    if reject_below is not None:
        scores["rejection"] = rejection(calibrated, labels, reject_below)

    if describe_looking(model.config):
        scores["glimpse_rule"] = model.config.attention.glimpse_rule
        if glimpse_rule is None:
            scores["glimpse_rules"] = {}
            for other in GLIMPSE_RULES:
                under = scores
                if other != scores["glimpse_rule"]:
                    options = {"split": split, "protocol": protocol, "checkpoint": checkpoint, "explain": explain}
                    options |= {"stride": stride, "batch_size": batch_size, "boxes": boxes, "data_dir": data_dir}
                    under, *_ = evaluate(workdir, features=features, **options, glimpse_rule=other)
                scores["glimpse_rules"][other] = {name: under[name] for name in _UNDER_A_RULE if name in under}

    parts = [split, *([protocol] if protocol != "paper" else []), *([glimpse_rule] if glimpse_rule else [])]
    folder = Path(workdir) / "evaluation" / "_".join(parts)
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(folder / "predictions.csv", file, found, calibrated, reject_below)
    write_classes(folder / "classes.csv", classes)
    if localisation:
        localisation.write(folder / localisation_file(explain))
    if model.multi_label:
        write_curves(folder / "curves.csv", model.class_names, found.predictions, labels)
    else:
        counts = metrics.confusion(found.predictions, labels)
        rows = [[name, *row] for name, row in zip(model.class_names, counts.tolist(), strict=True)]
        write_csv(folder / "confusion.csv", ["is \\ taken for", *model.class_names], rows)
        title = "features of a RANDOM network" if file.recipe["random"] else ""
        confusion.draw(folder / "confusion.png", counts, model.class_names, title)
    output = Path(output) if output else folder / "scores.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(output, scores)
    return scores, folder, output


def write_predictions(path, file, found: VideoPredictions, calibrated, reject_below=None):
    """Writes one line per video: name, group, labels, the most probable class, and the probability of every class.

    Args:
      path: of the CSV file.
      file: the FeaturesFile.
      found: the predictions, whose probabilities are the columns `p(…)`.
      calibrated: the same at the run's temperature, `<float>[N, C]`; `confidence` is that of the most probable class.
      reject_below: see `evaluate`.
    """
    rows = []
    for video, p, num_blocks, confidences in zip(
        found.video, found.predictions, found.num_blocks, calibrated, strict=True
    ):
        best = int(np.argmax(p))
        predicted, correct = file.class_names[best], file.labels[video][best]
        if reject_below is not None and confidences[best] < reject_below:
            predicted, correct = NONE_OF_THESE, ""
        row = [file.names[video], file.groups[video], label_of(file, video), predicted, correct, num_blocks]
        rows.append([*row, f"{confidences[best]:.6g}", *(f"{value:.9g}" for value in p)])
    columns = ["path", "group", "label", "predicted", "correct", "num_blocks", "confidence"]
    write_csv(path, [*columns, *(f"p({name})" for name in file.class_names)], rows)


def read_predictions(path) -> tuple[list[str], np.ndarray]:
    """Returns what `write_predictions` wrote: the names of the videos, and `<float64>[N, C]`.

    Raises:
      InputError: where there is no such file.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file, strict=True)
        columns = [n for n, name in enumerate(header) if name.startswith("p(")]
        return [row[0] for row in rows], np.array([[float(row[n]) for n in columns] for row in rows])
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise InputError(f"{path}: not the predictions of an evaluation ({error}); evaluate again") from None
