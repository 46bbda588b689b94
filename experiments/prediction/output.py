"""What `experiments.predict` prints: for people, or as JSON, one object a line."""

import json

import numpy as np

from attention_ar.errors import printable
from experiments.prediction.clip_predictor import ClipPredictor
from experiments.prediction.clip_stream import BlockPrediction, ClipPrediction, ClipStream


def describe(predictor: ClipPredictor, probabilities, count: int) -> str:
    """Returns the most probable classes of a prediction as it came from the model: for example "wave1 0.91, wave2 0.05"
    or, where it is rejected, "none of these (wave1 0.41, wave2 0.35)"."""
    probabilities = predictor.calibrated(probabilities)
    text = most_probable(predictor.model.class_names, probabilities, count)
    return f"{predictor.answer(probabilities)} ({text})" if predictor.rejects(probabilities) else text


def most_probable(class_names, probabilities, count: int) -> str:
    """Returns for example "wave1 0.91, wave2 0.05"."""
    order = np.argsort(-np.asarray(probabilities), kind="stable")[:count]
    return ", ".join(f"{class_names[i]} {probabilities[i]:.2f}" for i in order)


class Report:
    """Takes what is found; this one does nothing with it."""

    def begin(self, stream: ClipStream):
        """A clip is open."""

    def block(self, stream: ClipStream, block: BlockPrediction):
        """A block is known."""

    def clip(self, stream: ClipStream, result: ClipPrediction):
        """A clip is at its end."""

    def overlay(self, path):
        """A clip's overlay is written."""

    def failure(self, name: str, error: Exception):
        """A clip could not be read, or something about it not be written."""


class TextReport(Report):
    """For people.

    Args:
      predictor: whose predictions these are.
      top: how many classes are named.
      seconds: of video from one block's line to the next; 0 prints every block.
    """

    def __init__(self, predictor: ClipPredictor, top: int = 3, seconds: float = 1.0):
        self._predictor, self._top, self._seconds = predictor, top, seconds
        model, data = predictor.model, predictor.model.config.data
        votes = predictor.protocol.name == "released" and not model.multi_label
        _print(
            f"model {model.config.model.model}, epoch {model.epoch}: blocks of {data.num_steps} frames at "
            f"{data.fps:g} fps, stride {predictor.stride}, {predictor.protocol.name} protocol"
            + (" (a clip's numbers are its blocks' votes)" if votes else "")
            + (f"; {predictor.temperature.describe()}" if predictor.temperature else "")
        )
        if model.recipe["random"]:
            _print("NOTE: the network is RANDOM: these are trial outputs, not results")

    def begin(self, stream: ClipStream):
        found = stream.found
        _print(f"{stream.name} ({found.width}×{found.height}, {found.fps:.4g} fps)")
        if not found.rate_known:
            _print(f"  NOTE: it does not say its frame rate; {found.fps:g} frames per second are assumed")
        self._next = 0.0

    def block(self, stream: ClipStream, block: BlockPrediction):
        begin, end = block.seconds
        if begin >= self._next - 1e-6:
            self._next = begin + self._seconds
            _print(f"  {begin:.1f} to {end:.1f} s: {self._describe(block.probabilities)}")

    def clip(self, stream: ClipStream, result: ClipPrediction):
        blocks = f"{result.num_blocks} block{'s' * (result.num_blocks > 1)}"
        details = [blocks, f"{result.seconds:.1f} s", *result.notes()]
        if self._predictor.model.recipe["random"]:
            details.append("features of a RANDOM network")
        _print(f"  whole clip: {self._describe(result.probabilities)}  ({'; '.join(details)})")

    def overlay(self, path):
        _print(f"  overlay: {path}")

    def _describe(self, probabilities) -> str:
        return describe(self._predictor, probabilities, self._top)


class JsonReport(Report):
    """One JSON object a line, and nothing else, so that it appears while an endless video runs and jq can read it.

    Every object has a `type`, "block", "clip" or "error", and says of which `clip` it is.

    Args:
      predictor: whose predictions these are.
    """

    def __init__(self, predictor: ClipPredictor):
        self._predictor = predictor

    def block(self, stream: ClipStream, block: BlockPrediction):
        begin, end = block.seconds
        about = {"block": block.number, "begin_seconds": round(begin, 3), "end_seconds": round(end, 3)}
        self._say("block", stream.name, **about, **self._probabilities(block.probabilities))

    def clip(self, stream: ClipStream, result: ClipPrediction):
        model, data = self._predictor.model, self._predictor.model.config.data
        self._say(
            "clip",
            stream.name,
            **self._probabilities(result.probabilities),
            num_blocks=result.num_blocks,
            num_frames=result.num_frames,
            frames_per_second=stream.found.fps,
            frame_rate_known=stream.found.rate_known,
            shorter_than_one_block=result.padded,
            cut_short=result.cut_short,
            stopped=result.stopped,
            dropped_frames=result.num_dropped,
            temperature=self._predictor.temperature.value if self._predictor.temperature else 1.0,
            model=model.config.model.model,
            epoch=model.epoch,
            multi_label=model.multi_label,
            protocol=self._predictor.protocol.name,
            num_steps=data.num_steps,
            fps=data.fps,
            stride=self._predictor.stride,
        )

    def failure(self, name: str, error: Exception):
        self._say("error", name, error=str(error))

    def _probabilities(self, probabilities) -> dict:
        names = self._predictor.model.class_names
        probabilities = self._predictor.calibrated(probabilities)
        return {
            "predicted": self._predictor.answer(probabilities),
            "rejected": self._predictor.rejects(probabilities),
            "probabilities": {name: round(float(p), 6) for name, p in zip(names, probabilities, strict=True)},
        }

    def _say(self, kind: str, clip: str, **about):
        about["random_network"] = self._predictor.model.recipe["random"]
        print(json.dumps({"type": kind, "clip": clip, **about}), flush=True)


def _print(line: str):
    print(printable(line), flush=True)
