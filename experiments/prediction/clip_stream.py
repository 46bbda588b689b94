"""One video on its way to predictions, in one pass and in bounded memory: frames, features, blocks, ŷ.

What a block says is known when its last frame is there, for the first state (Eq. 6) is made of all its frames.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from attention_ar.blocks import frame_skip
from attention_ar.errors import InputError
from attention_ar.released.blocks import released_skip
from data_prep.common.map_ahead import map_ahead
from data_prep.common.read_ahead import read_ahead
from data_prep.loading.block_window import BlockWindow
from data_prep.loading.buffers import aligned_empty, copy_rows
from data_prep.video.clip_frames import kept_every
from data_prep.video.frames import Pictures, WholeFrames
from data_prep.video.probe import VideoProbe, probe
from data_prep.video.sources import find_source, is_endless
from experiments.runs.protocol import Protocol
from experiments.runs.trained import TrainedModel


@dataclass(frozen=True)
class BlockPrediction:
    """What the model says of one block.

    Attributes:
      number: of the block, from 0.
      first: the block's first frame, among those that features are made of.
      seconds: when in the video its first frame begins and its last one ends.
      probabilities: ŷ of the block, `<float>[C]`; in the released protocol with one label, 1 for the class it says.
      so_far: of the clip up to here, `<float64>[C]`.
      attention: l_t, `<float32>[T, K²]`, where asked for and there.
      counts: false for a last block that the video leaves unfinished, which is for pictures alone.
    """

    number: int
    first: int
    seconds: tuple[float, float]
    probabilities: np.ndarray
    so_far: np.ndarray
    attention: np.ndarray | None
    counts: bool


@dataclass(frozen=True)
class ClipPrediction:
    """What the model says of a whole clip.

    Attributes:
      probabilities: `<float64>[C]`, the mean over the blocks.
      num_blocks: how many.
      num_frames: decoded ones.
      padded: whether the clip is shorter than one block, so that its last frame was repeated.
      cut_short: the reason why the clip's rest is missing, "" for a whole one.
      stopped: whether the user ended it.
    """

    probabilities: np.ndarray
    num_blocks: int
    num_frames: int
    padded: bool
    cut_short: str
    stopped: bool


@dataclass(frozen=True)
class _Chunk:
    """Frames that came since the chunk before: those the network must see, their numbers, and how many there are now.

    `shown` are all of them for pictures, with their numbers among the decoded ones.
    """

    pictures: np.ndarray
    frames: list[int]
    num_frames: int
    shown: list[tuple[int, np.ndarray]]


class ClipPredictor:
    """A trained model behind the network that its features came from.

    Args:
      model: the model.
      network: the network.
      stride: frames from the start of one block to that of the next; None is the run's.
      protocol: "paper" or "released", see `Protocol`; None is what the run's blocks were cut by.
      frame_batch: frames per call of the network.
      keep_attention: whether blocks shall have their attention, and the clip's rest a block too.
    """

    def __init__(
        self,
        model: TrainedModel,
        network,
        *,
        stride: int | None = None,
        protocol: str | None = None,
        frame_batch: int = 8,
        keep_attention: bool = False,
    ):
        data = model.config.data
        self.model, self.network, self.frame_batch = model, network, frame_batch
        self.stride = stride or data.stride
        self.protocol = Protocol(protocol or data.block_rule, model.config.released.last_n)
        self.rule = "released" if "released" in (protocol, data.block_rule) else "paper"
        self.keep_attention = keep_attention
        kept = model.recipe["extraction_fps"]
        self.extraction_fps = None if kept == "native" else kept
        # As many blocks as one call of the network completes, at least.
        num_blocks = model.predictor.parallel.fitting(-(-frame_batch // self.stride))
        side, _, num_maps = model.feature_shape
        self._buffer = aligned_empty((num_blocks, data.num_steps, side**2, num_maps), model.predictor.dtype)

    def skip(self, fps: float) -> int:
        """Returns the distance of two frames of a block where `fps` of a second have features."""
        data = self.model.config.data
        return released_skip(data.fps) if self.rule == "released" else frame_skip(fps, data.fps)

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """Returns the network's `<float>[n, K², D]` of `<uint8>[n, height, width, 3]`, n ≤ `frame_batch`."""
        batch = np.zeros((self.frame_batch, *pictures.shape[1:]), np.uint8)
        batch[: len(pictures)] = pictures
        found = self.network(batch)[: len(pictures)]
        if list(found.shape[1:]) != self.model.feature_shape:
            raise InputError(f"features of shape {list(found.shape[1:])}: must be {self.model.feature_shape}")
        return found.reshape(len(pictures), -1, found.shape[-1])

    def blocks(self, features: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        """Predicts blocks.

        Args:
          features: of each block, `<float>[T, K², D]`.

        Returns:
          Probabilities `<float>[n, C]`, and attention `<float32>[n, T, K²]` or None.
        """
        model, buffer = self.model, self._buffer
        keep = ("predictions", *self.protocol.needs, *(["attention"] if self.keep_attention else []))
        labels = np.zeros((len(buffer), len(model.class_names)), np.float32)  # For the loss, which is not computed.
        probabilities, attention = [], []
        for first in range(0, len(features), len(buffer)):
            some = features[first : first + len(buffer)]
            for into, block in zip(buffer, some, strict=False):
                copy_rows(block, np.arange(len(block)), into)
            buffer[len(some) :] = 0
            arrays = model.predictor.parallel.put({"features": buffer, "labels": labels})
            results = jax.device_get(model.predictor(model.params, arrays, keep))
            probabilities.append(self.protocol.block_predictions(results, model.multi_label)[: len(some)])
            attention.append(results["attention"][: len(some)] if self.keep_attention else None)
        found = np.concatenate(probabilities)
        if not np.isfinite(found).all():
            raise InputError("the model's predictions are not finite numbers")
        return found, np.concatenate(attention) if self.keep_attention else None


class ClipStream(contextlib.AbstractContextManager):
    """One clip, open: its blocks as they become known, and what they say together.

    Args:
      predictor: of the model.
      name: what the user named: a path, "-", a camera.
      stop: once it is set, the clip counts as ended.

    Attributes:
      found: rate and size of the clip, as a `VideoProbe`, once this context is entered.
      num_frames_expected: how many frames the clip should have; 0 where that cannot be known.
      num_frames: decoded so far.
      fps: frames of a second that have features.
      skip, every: of these, every skip-th is in a block; of the decoded ones, every every-th is among these.
      result: the ClipPrediction, after the last block; None where the user stopped before the first frame.

    Raises:
      InputError: where the clip cannot be read, or its rate is too low; the line names it.
    """

    def __init__(self, predictor: ClipPredictor, name: str, stop: threading.Event):
        self._predictor, self.name, self._stop = predictor, name, stop
        self._abandoned = False  # A thread that waits for a pipe has to hear of it.
        self.result = None

    def __enter__(self):
        source = find_source(self.name, self._stopped)
        with contextlib.ExitStack() as stack:
            self._frames = stack.enter_context(WholeFrames(source, self._stopped))
            self.found = self._frames.said if is_endless(source) else probe(source)
            self.num_frames_expected = 0 if is_endless(source) else self.found.num_packets
            try:
                self._plan(self.found)
            except InputError as error:
                raise InputError(f"{os.fspath(source)}: {error}") from None
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._open.close()

    def _stopped(self) -> bool:
        return self._abandoned or self._stop.is_set()

    @property
    def num_frames(self) -> int:
        return self._frames.num_frames

    def _plan(self, found: VideoProbe):
        predictor = self._predictor
        self.every = kept_every(found.fps, predictor.extraction_fps)
        self.fps = found.fps / self.every
        self.skip = predictor.skip(self.fps)
        num_steps = predictor.model.config.data.num_steps
        self._window = BlockWindow(num_steps, self.skip, predictor.stride, predictor.rule)

    def _decode(self, large: Pictures | None) -> Iterator[_Chunk]:
        """Runs in a thread of its own, ahead of the network by a few chunks."""
        small = Pictures(self._predictor.network.input_size, "bgr24")
        batch = self._predictor.frame_batch
        pictures, numbers, shown, number, told = [], [], [], -1, 0
        for decoded, frame in enumerate(self._frames):
            if large:
                shown.append((decoded, large(frame)))
            if decoded % self.every:
                continue
            number = decoded // self.every
            if self._window.needs(number):
                pictures.append(small(frame))
                numbers.append(number)
            if len(pictures) == batch or (pictures and number - numbers[0] >= batch * self.skip):
                told = number + 1
                yield _Chunk(np.stack(pictures), numbers, told, shown)
                pictures, numbers, shown = [], [], []
            elif len(shown) >= batch:
                yield _Chunk(None, [], told, shown)
                shown = []
        yield _Chunk(np.stack(pictures) if pictures else None, numbers, number + 1, shown)

    def _features(self, chunk: _Chunk) -> tuple[_Chunk, Sequence[np.ndarray]]:
        return chunk, self._predictor.features(chunk.pictures) if chunk.frames else []

    def blocks(self, show: Callable | None = None, shown_size: Callable | None = None) -> Iterator[BlockPrediction]:
        """Yields every block once its last frame is there. It can be done once, and `close` ends it early.

        Args:
          show: called with the number and the picture `<uint8>[height, width, 3]`, RGB, of every decoded frame, before
            the blocks that end with it; None where no picture is wanted.
          shown_size: of these pictures, see `Pictures`.
        """
        window, sums, count = self._window, np.zeros(len(self._predictor.model.class_names)), 0
        chunks = read_ahead([Pictures(shown_size, "rgb24") if show else None], self._decode, workers=1)
        workers = self._predictor.network.calls_in_flight
        with contextlib.closing(map_ahead(self._features, chunks, workers=workers)) as done:
            try:
                for chunk, features in done:
                    for shown in chunk.shown:
                        show(*shown)
                    window.add(chunk.frames, features, chunk.num_frames)
                    for block in self._predict(list(window.complete()), count, sums):
                        yield block
                        count += 1
            except BaseException:
                self._abandoned = True
                raise
        if not window.num_frames:
            return
        padded = count == 0
        seen = window.next_start - window.stride + window.num_steps * window.skip
        if padded or (self._predictor.keep_attention and seen < window.num_frames):
            rest = window.rest()
            yield from self._predict([rest] if rest else [], count, sums, counts=padded)
        self.result = ClipPrediction(
            probabilities=sums / max(count, 1),
            num_blocks=max(count, 1),
            num_frames=self.num_frames,
            padded=padded,
            cut_short=self._frames.cut_short or "",
            stopped=self._stop.is_set(),
        )

    def _predict(self, blocks, count: int, sums: np.ndarray, counts: bool = True) -> Iterator[BlockPrediction]:
        if not blocks:
            return
        starts, features = zip(*blocks, strict=True)
        try:
            probabilities, attention = self._predictor.blocks(features)
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from None
        for n, first in enumerate(starts):
            if counts:
                sums += probabilities[n]
            number = count + n
            end = min(first + (self._window.num_steps - 1) * self.skip + 1, self._window.num_frames)
            yield BlockPrediction(
                number=number,
                first=first,
                seconds=(first / self.fps, end / self.fps),
                probabilities=probabilities[n],
                so_far=sums / (number + counts),
                attention=None if attention is None else attention[n],
                counts=counts,
            )
