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
from experiments.runs.localisation_scores import Localisation
from experiments.runs.models import describe_looking
from experiments.runs.protocol import Protocol
from experiments.runs.video_predictions import VideoPredictions, label_of, predict_videos, videos_of


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
    output=None,
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
      data_dir: the folder of the clips, for the size of their frames; None is the one they were extracted from.
      output: where the scores go; None is `scores.json` in the folder that is returned.
      glimpse_rule: of a model with hard attention; None is the run's own. Then the scores also have an entry
        `glimpse_rules` with the main ones under each of the rules.

    Returns:
      The scores, see `VideoPredictions.scores`; the folder of `predictions.csv`, `confusion.csv` and `confusion.png`;
      and the path of the scores.

    Raises:
      InputError: where no video is in that part, boxes are given for a model without attention, and see
        `trained.load` and `Localisation`.
    """
    model = trained.load(workdir, checkpoint, glimpse_rule)
    if boxes:
        model.require_attention("to compare with boxes")
    file = model.open_features(features)
    videos = videos_of(file, split)
    data = model.config.data
    rule = "released" if protocol == "released" else data.block_rule
    blocks = cut_blocks(file, videos, data.num_steps, data.fps, stride or data.stride, rule)

    def scored(model):
        localisation = Localisation(boxes, file, blocks, data_dir) if boxes else None
        found = predict_videos(
            model.predictor,
            model.params,
            model.store(file),
            blocks,
            batch_size or model.config.training.batch_size,
            Protocol(protocol, model.config.released.last_n),
            watch_attention=localisation.add if localisation else None,
        )
        scores = found.scores(file.labels[found.video], model.multi_label)
        return found, localisation, scores | ({"localisation": localisation.scores()} if localisation else {})

    found, localisation, main_scores = scored(model)
    scores = {
        **main_scores,
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
    if describe_looking(model.config):
        own = scores["glimpse_rule"] = model.config.attention.glimpse_rule
        if glimpse_rule is None:
            by_rule = {r: main_scores if r == own else scored(model.with_glimpse_rule(r))[2] for r in GLIMPSE_RULES}
            scores["glimpse_rules"] = by_rule

    parts = [split, *([protocol] if protocol != "paper" else []), *([glimpse_rule] if glimpse_rule else [])]
    folder = Path(workdir) / "evaluation" / "_".join(parts)
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(folder / "predictions.csv", file, found)
    if localisation:
        localisation.write(folder / "localisation.csv")
    if not model.multi_label:
        counts = metrics.confusion(found.predictions, file.labels[found.video])
        rows = [[name, *row] for name, row in zip(model.class_names, counts.tolist(), strict=True)]
        write_csv(folder / "confusion.csv", ["is \\ taken for", *model.class_names], rows)
        title = "features of a RANDOM network" if file.recipe["random"] else ""
        confusion.draw(folder / "confusion.png", counts, model.class_names, title)
    output = Path(output) if output else folder / "scores.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(output, scores)
    return scores, folder, output


def write_predictions(path, file, found: VideoPredictions):
    """Writes one line per video: name, group, labels, the most probable class, and the probability of every class."""
    rows = []
    for video, p, num_blocks in zip(found.video, found.predictions, found.num_blocks, strict=True):
        best = int(np.argmax(p))
        row = [file.names[video], file.groups[video], label_of(file, video), file.class_names[best]]
        rows.append([*row, file.labels[video][best], num_blocks, *(f"{value:.9g}" for value in p)])
    columns = ["path", "group", "label", "predicted", "correct", "num_blocks"]
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
