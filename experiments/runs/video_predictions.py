"""Predictions of videos: blocks through the model, and their means."""

import contextlib
from dataclasses import dataclass

import jax
import numpy as np
from tqdm import tqdm

from attention_ar.errors import InputError
from data_prep.loading.batches import load_batches
from data_prep.loading.block_table import Blocks
from data_prep.loading.feature_stores import Levels
from experiments.runs.explanations import as_maps, result_of
from experiments.runs.predictor import SCORED, Predictor
from experiments.runs.protocol import PAPER, Protocol

HEALTH = ("entropy", "movement", "largest_mass")


@dataclass(frozen=True)
class VideoPredictions:
    """A model's predictions for some videos of a features file.

    Attributes:
      video: the videos' indices in the file, `<int64>[N]`.
      predictions: `<float64>[N, C]`; in the paper's protocol, means over the blocks of means over the steps of ŷ_t.
      num_blocks: blocks of each video, `<int64>[N]`.
      cross_entropy: the first term of Eq. 7, mean over all blocks, in nats.
      attention_health: means over all blocks of the `attention_health` numbers; empty for a model without attention.
      protocol: of the predictions.
    """

    video: np.ndarray
    predictions: np.ndarray
    num_blocks: np.ndarray
    cross_entropy: float
    attention_health: dict
    protocol: Protocol

    def scores(self, labels, multi_label: bool) -> dict:
        """Returns the paper's score (`score_name` names its entry) and further scores.

        Args:
          labels: of these videos, `[N, C]`.
          multi_label: whether a clip may have several labels.
        """
        result = self.protocol.scores(self.predictions, labels, multi_label)
        result |= {"num_videos": len(self.video), "num_blocks": int(self.num_blocks.sum())}
        result["cross_entropy"] = self.cross_entropy
        if self.attention_health:
            result["attention"] = self.attention_health
        return result


class NotFiniteError(InputError):
    """Raised for predictions that are not finite, with the videos that caused it, if known."""

    def __init__(self, file, videos):
        """Finds the cause.

        Args:
          file: the FeaturesFile.
          videos: indices of the videos in the batch.
        """
        rows = [slice(file.first_row[v], file.first_row[v] + file.num_frames[v]) for v in videos]
        levels = [file.features, *file.levels.values()]
        guilty = [
            v for v, r in zip(videos, rows, strict=True) if not all(np.isfinite(level[r]).all() for level in levels)
        ]
        names = ", ".join(file.names[v] for v in (guilty or videos))
        self.cause = (
            f"the features of {names} are not finite; extract them again" if guilty else f"videos in the batch: {names}"
        )
        super().__init__(f"the model's predictions are not finite numbers; {self.cause}")


def predict_blocks(
    predictor: Predictor,
    params,
    store,
    blocks: Blocks,
    batch_size: int,
    protocol=PAPER,
    explain: str | None = None,
    watch_maps=None,
    keep_steps: bool = False,
) -> dict:
    """Runs the model over blocks, in full batches that span videos.

    Args:
      predictor: of the model.
      params: the model's parameters.
      store: the feature store of the blocks, see `data_prep.loading.feature_stores`.
      blocks: which blocks.
      batch_size: B; rounded up to a multiple of the number of devices.
      protocol: how steps make the prediction of a block.
      explain: which maps to make, "attention" or "evidence", see `explanations.as_maps`; None makes none.
      watch_maps: a function that is called with the maps of each batch instead of returning them: the blocks' rows
        `<int64>[n, T]` and the maps `<float32>[n, T, K²]`.
      keep_steps: whether ŷ_t is returned too.

    Returns:
      A dict of arrays with one row a block: `predictions` `<float>[num_blocks, C]`, `cross_entropy`, the
      `attention_health` numbers and, if requested, `maps` `<float32>[num_blocks, T, K²]`, beside them `levels`
      `<float32>[num_blocks, T, V]` for a model of several, and `step_predictions` `<float32>[num_blocks, T, C]`.
    """
    if explain == "evidence" and isinstance(store, Levels):
        raise InputError(f"explain=evidence: is for models of one level; this one reads {', '.join(store.stores)}")
    keep = (*SCORED, *protocol.needs, *([result_of(explain), "levels"] if explain else []))
    dropped = {*protocol.needs, explain and result_of(explain)}
    collected = {}
    order, batch_size = np.arange(len(blocks)), predictor.parallel.round_up(min(batch_size, len(blocks)))
    loaded = load_batches(store, blocks, order, batch_size, predictor.parallel, share_frames=True)
    quiet = None if jax.process_index() == 0 else True
    with (
        contextlib.closing(loaded) as batches,
        tqdm(total=len(blocks), unit="block", desc="evaluating", disable=quiet, leave=False) as progress,
    ):
        for batch in batches:
            results = jax.device_get(predictor(params, batch.arrays, keep))
            if keep_steps:
                results["step_predictions"] = results["predictions"]
            results["predictions"] = protocol.block_predictions(results, store.file.multi_label)
            real = batch.weight > 0
            if not np.isfinite(results["cross_entropy"][real]).all():
                raise NotFiniteError(store.file, np.unique(blocks.video[batch.block]))
            if explain:
                results["maps"] = as_maps(results[result_of(explain)], explain)
            if watch_maps:
                watch_maps(blocks.rows[batch.block[real]], results.pop("maps")[real])
            for name in results.keys() - dropped:
                collected.setdefault(name, []).append(results[name][real])
            progress.update(int(real.sum()))
    return {name: np.concatenate(values) for name, values in collected.items()}


def predict_videos(
    predictor: Predictor, params, store, blocks: Blocks, batch_size: int, protocol=PAPER, **explained
) -> VideoPredictions:
    """Returns the predictions of all videos that have a block in `blocks`. See `predict_blocks`, also for `explained`:
    `explain` and `watch_maps`."""
    by_block = predict_blocks(predictor, params, store, blocks, batch_size, protocol, **explained)
    videos, block_video = np.unique(blocks.video, return_inverse=True)
    return VideoPredictions(
        video=videos,
        predictions=protocol.video_predictions(by_block["predictions"], block_video, len(videos)),
        num_blocks=np.bincount(block_video),
        cross_entropy=float(by_block["cross_entropy"].mean()),
        attention_health=mean_health(by_block),
        protocol=protocol,
    )


def mean_health(by_block: dict) -> dict:
    """Returns the means over blocks of the available `attention_health` numbers."""
    return {name: float(by_block[name].mean(dtype=np.float64)) for name in HEALTH if name in by_block}


def videos_of(file, split: str) -> np.ndarray:
    """Returns the indices of the videos in one part of a features file, of which there is at least one.

    Mirrored videos are trained on and never evaluated, not even in the training part.
    """
    videos = np.flatnonzero((np.array(file.splits) == split) & ~file.mirrored)
    if not len(videos):
        raise InputError(f"split={split}: no video of the features file is in it; it has {sorted(set(file.splits))}")
    return videos


def label_of(file, video: int) -> str:
    """Returns the class of a video, or its classes joined by "|"."""
    return "|".join(name for name, has in zip(file.class_names, file.labels[video], strict=True) if has)
