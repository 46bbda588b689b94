"""A trained model after its network: from pictures to features, from blocks of them to predictions and answers."""

from collections.abc import Sequence

import jax
import numpy as np

from attention_ar.blocks import frame_skip
from attention_ar.errors import InputError
from attention_ar.released.blocks import released_skip
from data_prep.loading.buffers import aligned_empty, copy_rows
from data_prep.networks.network import all_levels, split_levels
from data_prep.video.image_folder import DEFAULT_FPS
from experiments.runs.calibration import NONE_OF_THESE
from experiments.runs.explanations import as_maps, result_of
from experiments.runs.protocol import Protocol
from experiments.runs.trained import TrainedModel


class ClipPredictor:
    """A trained model after the network that its features came from.

    Args:
      model: the model.
      network: the network.
      stride: frames from the start of one block to that of the next; None is the run's.
      protocol: "paper" or "released", see `Protocol`; None is what the run's blocks were cut by.
      frame_batch: frames per call of the network; None is `clip_stream.FRAME_BATCH`, and 1 for live sources.
      image_fps: how many pictures are a second, where a clip is a folder of pictures.
      calibrate: whether `calibrated` applies the run's temperature.
      reject_below: see `rejects`.
      live: whether pipes and cameras are live, see `ClipStream`; None: cameras are.
      explain: which maps blocks have, see `explanations.as_maps`; the frames after the last block then have a block,
        too. None is no maps.
    """

    def __init__(
        self,
        model: TrainedModel,
        network,
        *,
        stride: int | None = None,
        protocol: str | None = None,
        frame_batch: int | None = None,
        image_fps: float = DEFAULT_FPS,
        calibrate: bool = True,
        reject_below: float | None = None,
        live: bool | None = None,
        explain: str | None = None,
    ):
        data = model.config.data
        self.model, self.network, self.frame_batch = model, network, frame_batch
        self.stride = stride or data.stride
        self.protocol = Protocol(protocol or data.block_rule, model.config.released.last_n)
        self.rule = "released" if "released" in (protocol, data.block_rule) else "paper"
        if explain == "evidence":
            model.require_one_level("explain=evidence")
        self.explain, self.image_fps = explain, image_fps
        self.temperature = model.temperature if calibrate and self.protocol.name == "paper" else None
        self.reject_below, self.live = reject_below, live
        kept = model.recipe["extraction_fps"]
        self.extraction_fps = None if kept == "native" else kept
        self._buffers: dict[int, list[np.ndarray]] = {}

    def calibrated(self, probabilities) -> np.ndarray:
        """Returns the prediction of a block or a clip at the run's temperature, `<float>[C]`."""
        if self.temperature is None:
            return probabilities
        return self.temperature(probabilities, self.protocol, self.model.multi_label)

    def rejects(self, calibrated) -> bool:
        """Whether no class is as probable as `reject_below`."""
        return self.reject_below is not None and float(np.max(calibrated)) < self.reject_below

    def answer(self, calibrated) -> str:
        """Returns the most probable class of a calibrated prediction or, where it is rejected, "none of these"."""
        return NONE_OF_THESE if self.rejects(calibrated) else self.model.class_names[int(np.argmax(calibrated))]

    def skip(self, fps: float) -> int:
        """Returns the distance of two frames of a block where `fps` of a second have features."""
        data = self.model.config.data
        return released_skip(data.fps) if self.rule == "released" else frame_skip(fps, data.fps)

    def features(self, pictures: np.ndarray, frame_batch: int) -> np.ndarray:
        """Returns the features of `<uint8>[n, height, width, 3]`, n ≤ `frame_batch`.

        They are `<float>[n, K²·D]`, the levels that the model reads one after the other, see `split_levels`.
        """
        batch = np.zeros((frame_batch, *pictures.shape[1:]), np.uint8)
        batch[: len(pictures)] = pictures
        levels = dict(zip(self.model.recipe.get("levels", [""]), all_levels(self.network, batch), strict=True))
        levels = [levels[name] for name in self.model.levels] or [next(iter(levels.values()))]
        for found, shape in zip(levels, self.model.input_shapes, strict=True):
            if list(found.shape[1:]) != shape:
                raise InputError(f"features of shape {list(found.shape[1:])}: must be {shape}")
        rows = [found[: len(pictures)].reshape(len(pictures), -1) for found in levels]
        return rows[0] if len(rows) == 1 else np.concatenate(rows, axis=1)

    def blocks(
        self, starts: Sequence[int], features: Sequence[np.ndarray], frame_batch: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Predicts blocks.

        Args:
          starts: of each block, the row of its first frame.
          features: of each block, `<float>[T, K²·D]`, see `features`.
          frame_batch: frames per call of the network.

        Returns:
          Probabilities `<float>[n, C]`, and maps `<float32>[n, T, K²]` or None.
        """
        model, buffers = self.model, self._buffers_for(frame_batch)
        keep = ("predictions", *self.protocol.needs, *([result_of(self.explain)] if self.explain else []))
        probabilities, maps = [], []
        for first in range(0, len(features), len(buffers[0])):
            some = features[first : first + len(buffers[0])]
            for number, block in enumerate(some):
                levels = split_levels(block, [buffer.shape[2:] for buffer in buffers])
                for level, buffer in zip(levels, buffers, strict=True):
                    copy_rows(level, np.arange(len(block)), buffer[number])
            for buffer in buffers:
                buffer[len(some) :] = 0
            named = dict(zip(model.levels, buffers, strict=True)) if model.levels else buffers[0]
            start = np.zeros(len(buffers[0]), np.int32)
            start[: len(some)] = starts[first : first + len(some)]
            arrays = model.predictor.parallel.put({"features": named, "start": start})
            results = jax.device_get(model.predictor(model.params, arrays, keep))
            probabilities.append(self.protocol.block_predictions(results, model.multi_label)[: len(some)])
            if self.explain:
                maps.append(as_maps(results[result_of(self.explain)][: len(some)], self.explain))
        found = np.concatenate(probabilities)
        if not np.isfinite(found).all():
            raise InputError("the model's predictions are not finite numbers")
        return found, np.concatenate(maps) if self.explain else None

    def _buffers_for(self, frame_batch: int) -> list[np.ndarray]:
        """One a level, for as many blocks as one call of the network completes, at least."""
        if frame_batch not in self._buffers:
            model = self.model
            num_blocks = model.predictor.parallel.round_up(-(-frame_batch // self.stride))
            self._buffers[frame_batch] = [
                aligned_empty((num_blocks, model.config.data.num_steps, side**2, num_maps), model.predictor.dtype)
                for side, _, num_maps in model.input_shapes
            ]
        return self._buffers[frame_batch]
