"""The contents of a report: scores, curves, and clips with the attention over them."""

import base64
import datetime
import io
import math
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from attention_ar import calibration, metrics
from attention_ar.errors import InputError
from data_prep.common.progress import Progress
from data_prep.loading.block_table import cut_blocks
from experiments.html_report.page_file import write_page
from experiments.pictures.overlay import spread
from experiments.runs import trained
from experiments.runs.calibration import calibration_scores
from experiments.runs.config import as_flags
from experiments.runs.explanations import maps_of
from experiments.runs.metrics_log import read_metrics
from experiments.runs.models import MODELS, describe_looking
from experiments.runs.video_predictions import VideoPredictions, predict_videos, videos_of
from experiments.runs.visualization import Watched, at_most, original_frames, watch

HEIGHT = 180  # pixels of a frame, at most
MAX_FRAMES = 60  # of a clip
COLUMNS = 8  # of frames in the one picture that holds all of a clip
JPEG_QUALITY = 70
MAX_POINTS = 200  # of a curve


def report(
    workdir,
    *,
    features=None,
    data_dir=None,
    split="test",
    checkpoint="best",
    max_clips=60,
    output=None,
    explain="attention",
) -> tuple[Path, list[str]]:
    """Writes one HTML file that shows a run and needs nothing beside it.

    Clips that are not on disk are shown without their frames.

    Args:
      workdir: of the run.
      features: the features file; None is the one that the run was trained on.
      data_dir: the folder that has the clips; None is the one they were extracted from.
      split: "train", "validation" or "test".
      checkpoint: "best" or "latest".
      max_clips: in the gallery, see `choose_clips`.
      output: the HTML file; None is `report.html` in the run's folder.
      explain: what is white over the clips, see `visualization.watch`.

    Returns:
      The path of the file, and lines about what is missing in it.

    Raises:
      InputError: where no video is in that part, or the file cannot be written, and see `trained.load`.
    """
    model = trained.load(workdir, checkpoint)
    features = features or model.config.data.features
    contents, pictures = gather(model, features, data_dir, split, checkpoint, max_clips, explain)
    path = Path(output) if output else Path(workdir) / "report.html"
    write_page(path, contents, pictures)
    missing = [clip["missing"] for clip in contents["clips"] if clip["missing"]]
    some = f"{len(missing)} of {len(pictures)} clips are shown without their frames"
    return path, [f"{some}: {missing[0]}"] if missing else []


def gather(
    model: trained.TrainedModel,
    features,
    data_dir=None,
    split="test",
    checkpoint="best",
    max_clips=60,
    explain="attention",
) -> tuple[dict, list[bytes | None]]:
    """Evaluates a model, and collects the pictures of some clips; see `report`.

    Returns:
      The arguments of `write_page`: a dict of the contents, and for each clip its frames as a JPEG, or None.
    """
    file = model.open_features(features)
    data = model.config.data
    blocks = cut_blocks(file, videos_of(file, split), data.num_steps, data.fps, data.stride, data.block_rule)
    store, batch_size = model.store(file), model.config.training.batch_size
    found = predict_videos(model.predictor, model.params, store, blocks, batch_size)
    calibrated = model.temperature(found.predictions, found.protocol, model.multi_label)
    chosen = choose_clips(calibrated, file.labels[found.video], max_clips)
    watched = watch(model, file, found.video[chosen], batch_size, explain) if chosen else []
    clips, pictures = [], []
    with Progress(len(chosen), 0, "clip") as progress:
        for position, seen in zip(chosen, watched, strict=True):
            video = found.video[position]
            clip, picture = about_clip(file, video, calibrated[position], seen, data_dir)
            clips.append(clip)
            pictures.append(picture)
            progress.advance(1)

    contents = {
        **about_run(model, file, features, split, checkpoint),
        **about_scores(found, file.labels[found.video], model),
        "explain": maps_of(model, explain),
        "clips": clips,
        "spread": {
            str(pixels): spread(model.feature_shape[0], pixels).round(6).tolist()
            for pixels in {clip[side] for clip in clips for side in ("width", "height") if maps_of(model, explain)}
        },
    }
    return contents, pictures


def about_run(model: trained.TrainedModel, file, features, split: str, checkpoint: str) -> dict:
    """Returns facts about the run and its training."""
    c = model.config
    log = model.workdir / "metrics.jsonl"
    epochs = read_metrics(log) if log.exists() else []  # An imported model has none.
    which = MODELS[c.model.model]
    num_layers = c.model.num_layers if "num_layers" in which.flags else 1
    size = f", {num_layers} layer{'s'[: num_layers != 1]}, d = {c.model.hidden_dim}, dropout {c.model.dropout:g}"
    weights = str(file.recipe.get("weights_sha256", ""))[:12]
    attention = describe_looking(c)
    facts = {
        "Model": which.title + size * ("hidden_dim" in which.flags),
        **({"Attention": attention} if attention else {}),
        "Loss": f"λ = {c.objective.attention_penalty:g}, γ = {c.objective.weight_decay:g}",
        "Blocks": f"T = {c.data.num_steps} frames at {c.data.fps:g} fps, stride {c.data.stride}",
        "Training": f"{c.training.optimizer}, learning rate {c.training.learning_rate:g}, batches of "
        f"{c.training.batch_size}, epochs {c.training.epochs}, seed {c.training.seed}",
        "Evaluated": f"{checkpoint} checkpoint, epoch {model.epoch}",
        "Predictions": "means over the steps of a block, then over a clip’s blocks (section 4.2); probabilities of "
        f"clips at {model.temperature.describe()}",
        "Features": f"{Path(features).name}: {file.recipe.get('network')}, "
        f"{' and '.join(' × '.join(map(str, shape)) for shape in model.input_shapes)}"
        + f", weights {weights}…"
        * bool(weights),
        "Split": f"{split} of {file.split_id}; {_about_training_part(model, file)}",
    }
    return {
        "name": model.workdir.resolve().name,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "split": split,
        "random_network": file.recipe["random"],
        "facts": list(facts.items()),
        "flags": as_flags(c)
        | {"features": Path(c.data.features).name, "init_from": "/".join(Path(c.attention.init_from).parts[1:][-2:])},
        "recipe": file.recipe,
        "classes": model.class_names,
        "multi_label": model.multi_label,
        "has_attention": model.has_attention,
        "num_cells": model.feature_shape[0] ** 2,
        "levels": list(model.levels),
        "penalty_weight": c.objective.attention_penalty,
        "epochs": epochs,
        "checkpoint": checkpoint,
        "epoch": model.epoch,
        "columns": COLUMNS,
        "max_frames": MAX_FRAMES,
    }


def _about_training_part(model: trained.TrainedModel, file) -> str:
    if file.split_id != model.split_id:
        return f"training was on {model.split_id}: check that no clip is in both"
    splits = np.array(file.splits)[~file.mirrored].tolist()
    held_out, rest = (splits.count(part) for part in ("validation", "train"))
    data = model.config.data
    fold = f", fold {data.fold + 1} of {data.folds} (--fold={data.fold})" if data.folds else ""
    return "held out of training: " + (
        f"{held_out} of {held_out + rest} training clips{fold}" if held_out else "nothing"
    )


def about_scores(found: VideoPredictions, labels, model: trained.TrainedModel) -> dict:
    """Returns the scores, those of each class, the calibration, and the confusion matrix or, with several labels, the
    curves of the classes."""
    multi_label = model.multi_label
    by_class = found.protocol.class_scores(found.predictions, labels, multi_label)
    for entry in by_class:
        entry["videos"] = entry.pop("num_videos")
    contents = {
        "scores": found.scores(labels, multi_label),
        "by_class": by_class,
        "calibration": about_calibration(found, labels, model),
        "confusion": None,
    }
    if multi_label:
        return contents | {"curves": about_curves(found.predictions, labels, model.class_names)}
    counts = metrics.confusion(found.predictions, labels)
    for entry, right, taken in zip(by_class, np.diag(counts).tolist(), counts.sum(axis=0).tolist(), strict=True):
        entry |= {"right": right, "taken": taken}
    return contents | {"confusion": counts.tolist()}


def about_calibration(found: VideoPredictions, labels, model: trained.TrainedModel) -> dict:
    """Returns `calibration_scores` and, as `curve`, points of [coverage, accuracy], the surest answers first."""
    calibrated = model.temperature(found.predictions, found.protocol, model.multi_label)
    confidence, right = calibration.best(calibrated, labels)
    thresholds = thinned(np.unique(confidence)[::-1])
    curve = np.stack(calibration.coverage(confidence, right, thresholds), axis=1)
    scores = calibration_scores(model.temperature, found, labels, model.multi_label)
    return scores | {"curve": curve.round(5).tolist()}


def about_curves(predictions, labels, class_names) -> list[dict]:
    """Returns, for all classes pooled and for each class that has videos with and without it, its name, `roc_area`,
    `average_precision`, and the `points` [false positive rate, recall, precision]."""
    everything = np.reshape(predictions, (-1, 1)), np.reshape(labels, (-1, 1))
    parts = {"all classes pooled": everything}
    parts |= {name: (predictions[:, [c]], labels[:, [c]]) for c, name in enumerate(class_names)}
    found = []
    for name, (scores, has) in parts.items():
        if 0 < has.sum() < len(has):
            curve = metrics.threshold_curves(scores[:, 0], has[:, 0])
            points = np.stack([curve[axis] for axis in ("false_positive_rate", "recall", "precision")], axis=1)
            found.append(
                {
                    "name": name,
                    "roc_area": float(metrics.roc_areas(scores, has)[0]),
                    "average_precision": float(metrics.average_precisions(scores, has)[0]),
                    "points": thinned(points).round(5).tolist(),
                }
            )
    return found


def thinned(points: np.ndarray) -> np.ndarray:
    """Returns at most `MAX_POINTS` of the points, the first and the last among them."""
    return points[np.unique(np.linspace(0, len(points) - 1, min(len(points), MAX_POINTS)).round().astype(int))]


def choose_clips(predictions, labels, count: int) -> list[int]:
    """Chooses clips for the gallery: of every class in turn the most confident right one and the most confident wrong
    one, then the next of each, until there are enough.

    Args:
      predictions: of videos, `<float>[N, C]`.
      labels: theirs, `[N, C]`; of several labels the first is a clip's class here.
      count: how many clips at most.

    Returns:
      Their positions, the best ones first.
    """
    right = labels[np.arange(len(labels)), predictions.argmax(axis=1)] > 0
    places = []
    of_class, of_round = Counter(), Counter()
    for position in np.argsort(-predictions.max(axis=1), kind="stable").tolist():
        hit = bool(right[position])
        own = (hit, int(labels[position].argmax()))
        turn = (hit, of_class[own])
        places.append((of_class[own], of_round[turn], not hit, position))
        of_class[own] += 1
        of_round[turn] += 1
    return [position for *_, position in sorted(places)[:count]]


def about_clip(file, video: int, prediction, seen: Watched, data_dir) -> tuple[dict, bytes | None]:
    """Returns a clip's entry in the gallery, and its frames as one JPEG, row by row; None if they are missing.

    If the clip has more than `MAX_FRAMES` frames, the entry has every second, third, … of those that the model saw.

    Args:
      file: features of the clip.
      video: its index there.
      prediction: its calibrated probabilities, `<float>[C]`.
      seen: see `watch`.
      data_dir: see `report`.
    """
    every = math.ceil(len(seen.frames) / MAX_FRAMES)
    shown = slice(None, None, every)
    best = int(np.argmax(prediction))
    clip = {
        "name": file.names[video],
        "labels": np.flatnonzero(file.labels[video]).tolist(),
        "predicted": best,
        "right": bool(file.labels[video][best]),
        "probabilities": prediction.round(5).tolist(),
        "numbers": (seen.frames[shown] + 1).tolist(),
        "every": every,
        "fps": seen.fps / every,
        "steps": in_bytes(seen.predictions[shown], 0, 1),
        "height": HEIGHT,
        "width": HEIGHT,
        "missing": "",
    }
    if seen.attention is not None:
        attention = seen.attention[shown]
        low, high = attention.min(axis=1, keepdims=True), attention.max(axis=1, keepdims=True)
        clip |= {"attention": in_bytes(attention, low, high)}
        clip |= {"low": low[:, 0].astype(float).tolist(), "high": high[:, 0].astype(float).tolist()}
    if seen.levels is not None:
        clip |= {"levels": in_bytes(seen.levels[shown], 0, 1)}
    try:
        frames = original_frames(file, video, seen.frames[shown], data_dir)
    except InputError as error:
        return clip | {"missing": str(error)}, None
    frames = np.stack([at_most(frame, HEIGHT) for frame in frames])
    clip |= {"height": frames.shape[1], "width": frames.shape[2]}
    return clip, as_jpeg(frames)


def in_bytes(values, low, high) -> str:
    """Returns values between `low` and `high` in steps of 1/255 of the way, as base64."""
    span = np.maximum(high - np.asarray(low), np.finfo(np.float32).tiny)
    steps = np.round(255 * (values - np.asarray(low)) / span).clip(0, 255).astype(np.uint8)
    return base64.b64encode(steps.tobytes()).decode()


def as_jpeg(frames) -> bytes:
    """Puts frames `<uint8>[n, H, W, 3]` into one picture, `COLUMNS` in a row."""
    count, height, width, _ = frames.shape
    rows = math.ceil(count / COLUMNS)
    sheet = np.zeros((rows * COLUMNS, height, width, 3), np.uint8)
    sheet[:count] = frames
    sheet = sheet.reshape(rows, COLUMNS, height, width, 3).swapaxes(1, 2).reshape(rows * height, COLUMNS * width, 3)
    jpeg = io.BytesIO()
    Image.fromarray(sheet).save(jpeg, format="JPEG", quality=JPEG_QUALITY, optimize=True, progressive=True)
    return jpeg.getvalue()
