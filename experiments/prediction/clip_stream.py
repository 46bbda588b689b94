"""One video on its way to predictions, in one pass and in bounded memory: frames, features, blocks, ŷ.

A block's prediction is known when its last frame has arrived: the first state (Eq. 6) is made of all its frames.
"""

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from attention_ar.errors import InputError
from data_prep.common.map_ahead import map_ahead
from data_prep.common.read_ahead import read_ahead
from data_prep.loading.block_window import BlockWindow
from data_prep.video.decoding import WholeFrames
from data_prep.video.frame_times import FrameTimes, plan_sampling, take
from data_prep.video.pictures import Pictures, display_matrix, orientation, shown_size
from data_prep.video.probe import VideoProbe, probe
from data_prep.video.sources import find_source, is_endless, is_live
from experiments.prediction.clip_predictor import ClipPredictor

FRAME_BATCH = 8  # frames per call of the network; of a live source one, so that it is never waited for others
_FIRST = 12  # frames of a pipe or a camera that are used to check its rate; they come at once, and none is dropped


@dataclass(frozen=True)
class BlockPrediction:
    """Prediction of one block.

    Attributes:
      number: of the block, from 0.
      first: the block's first frame, among those that features are made of.
      seconds: when in the video its first frame begins and its last one ends.
      probabilities: ŷ of the block, `<float>[C]`; in the released protocol with one label, 1 for the predicted class.
      so_far: of the clip up to here, `<float64>[C]`.
      attention: l_t, or the evidence for the class that the block is taken for, `<float32>[T, K²]`, if requested.
      counts: false for an unfinished last block, which is used only for pictures.
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
    """Prediction of a whole clip.

    Attributes:
      probabilities: `<float64>[C]`, the mean over the blocks.
      num_blocks: how many.
      num_frames: decoded ones.
      seconds: until the last of them ends.
      padded: whether the clip is shorter than one block, so that its last frame was repeated.
      cut_short: the reason why the rest of the clip is missing, "" for a whole one.
      stopped: whether the user ended it.
      num_dropped: frames of a live source that came while the network was busy, and that it did not see.
    """

    probabilities: np.ndarray
    num_blocks: int
    num_frames: int
    seconds: float
    padded: bool
    cut_short: str
    stopped: bool
    num_dropped: int = 0

    def notes(self) -> list[str]:
        """Returns what is special about the clip, as short texts."""
        dropped = f"{self.num_dropped} of {self.num_frames} frames came too fast for the network and were dropped"
        said = {
            "shorter than one block: its last frame was repeated": self.padded,
            self.cut_short: self.cut_short,
            dropped: self.num_dropped,
            "stopped there": self.stopped,
        }
        return [text for text, holds in said.items() if holds]


@dataclass(frozen=True)
class _Chunk:
    """Rows that came since the chunk before: the frames that the network must see, the numbers of their rows, and how
    many rows there are now.

    `seconds` says when each new row is shown. `shown` are all frames, for pictures; with each, the row that is the last
    one by then, and when it is shown.
    """

    pictures: np.ndarray | None
    rows: list[int]
    num_rows: int
    seconds: list[float]
    shown: list[tuple[int, float, np.ndarray]]


class ClipStream(contextlib.AbstractContextManager):
    """An open clip: its blocks as they become known, and their combined prediction.

    A live source does not wait. A frame that comes while the network is busy is dropped: its blocks see the frame
    before it once more in its place, so they span the time that they should. Of blocks that become complete at the same
    time, then, only the last ones are predicted.

    Args:
      predictor: of the model.
      name: what the user named: a path, "-", a camera.
      stop: once it is set, the clip counts as ended.

    Attributes:
      found: rate and size of the clip, as a `VideoProbe`, once this context is entered. Of a pipe or a camera it has
        what the container and the first frames say.
      num_frames_expected: how many frames the clip should have; 0 where that cannot be known.
      num_frames: decoded so far.
      fps: frames per second that have features.
      skip: of these, every skip-th is in a block.
      is_live: whether late frames are dropped.
      num_dropped: how many were.
      result: the ClipPrediction, after the last block; None where the user stopped before the first frame.

    Raises:
      InputError: where the clip cannot be read, or its rate is too low; the line names it.
    """

    def __init__(self, predictor: ClipPredictor, name: str, stop: threading.Event):
        self._predictor, self.name, self._stop = predictor, name, stop
        self._abandoned = False  # It must reach a thread that waits for a pipe.
        # Chunks that the reading thread has given, and that are done with. Each has one thread that writes it.
        self._num_given = self._num_done = 0
        self._held: np.ndarray | None = None  # features of the last frame that the network has seen
        self.num_dropped = 0
        self.result = None

    def __enter__(self):
        source = find_source(self.name, self._stopped, self._predictor.image_fps)
        with contextlib.ExitStack() as stack:
            self._frames = stack.enter_context(WholeFrames(source, self._stopped))
            self.is_endless = is_endless(source)
            self.is_live = is_live(source, self._predictor.live)
            self._batch = self._predictor.frame_batch or (1 if self.is_live else FRAME_BATCH)
            self._most_given = self._predictor.network.calls_in_flight + 1  # more would have to wait
            frames = ((frame, self._frames.ticks) for frame in self._frames)
            first = list(itertools.islice(frames, _FIRST if self.is_endless else 0))
            self._timed = itertools.chain(first, frames)
            self.found = _found(self._frames, first) if self.is_endless else probe(source)
            self.num_frames_expected = self.found.num_frames
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
        self._sampling = plan_sampling(found.fps, predictor.extraction_fps, found.fastest_fps)
        self.fps = self._sampling.rate(found.fps)
        self.skip = predictor.skip(self.fps)
        num_steps = predictor.model.config.data.num_steps
        self._window = BlockWindow(num_steps, self.skip, predictor.stride, predictor.rule)
        self._seconds: dict[int, float] = {}  # when the rows of blocks to come are shown

    def _decode(self, large: Pictures | None) -> Iterator[_Chunk]:
        """Runs in a thread of its own, ahead of the network by a few chunks."""
        small = Pictures(self._predictor.network.input_size, "bgr24")
        batch, tick = self._batch, self._frames.tick
        pictures, rows, seconds, shown, num_rows, told = [], [], [], [], 0, 0
        # The rate of a stream may turn out to vary; the rows are then chosen by their times.
        fps_if_uneven = self._predictor.extraction_fps if self.is_endless and self._sampling.every > 1 else None
        frames = (((frame, ticks), ticks) for frame, ticks in self._timed)
        for (frame, ticks), own in take(frames, tick, self._sampling, fps_if_uneven):
            if large:
                shown.append((own.start if own else num_rows - 1, float(ticks * tick), large(frame)))
            picture = None
            for row in own:  # Several where a frame is shown for long.
                num_rows = row + 1
                seconds.append(float(ticks * tick))
                if row >= _FIRST and self._window.needs(row) and self._is_late():
                    self.num_dropped += 1
                elif self._window.needs(row):
                    picture = small(frame) if picture is None else picture
                    pictures.append(picture)
                    rows.append(row)
                if len(pictures) == batch or (pictures and row - rows[0] >= batch * self.skip):
                    told = num_rows
                    self._num_given += 1
                    yield _Chunk(np.stack(pictures), rows, told, seconds, shown)
                    pictures, rows, seconds, shown = [], [], [], []
            if len(shown) >= batch and not self._is_late():
                self._num_given += 1
                yield _Chunk(None, [], told, [], shown)
                shown = []
        yield _Chunk(np.stack(pictures) if pictures else None, rows, num_rows, seconds, shown)

    def _is_late(self) -> bool:
        """Whether a live source is ahead of the network."""
        return self.is_live and self._num_given - self._num_done >= self._most_given

    def _features(self, chunk: _Chunk) -> tuple[_Chunk, Sequence[np.ndarray]]:
        try:
            return chunk, self._predictor.features(chunk.pictures, self._batch) if chunk.rows else []
        except BaseException:
            self._abandoned = True  # Before `map_ahead` waits for the thread that reads.
            raise

    def blocks(self, show: Callable | None = None, size: Callable | None = None) -> Iterator[BlockPrediction]:
        """Yields every block once its last frame has arrived. It can be iterated once, and `close` ends it early.

        Args:
          show: called for every decoded frame, before the blocks that end with it, with the number of the row that is
            the last one by then, the seconds when it is shown, and the picture `<uint8>[height, width, 3]`, RGB; None
            where no picture is wanted.
          size: of these pictures, see `Pictures`.
        """
        window, sums, count = self._window, np.zeros(len(self._predictor.model.class_names)), 0
        large = Pictures(size, "rgb24", self._frames.pixel_aspect) if show else None
        chunks = read_ahead([large], self._decode, workers=1)
        workers = self._predictor.network.calls_in_flight
        with contextlib.closing(map_ahead(self._features, chunks, workers=workers)) as done:
            try:
                for chunk, features in done:
                    for shown in chunk.shown:
                        show(*shown)
                    self._seconds.update(enumerate(chunk.seconds, window.num_frames))
                    window.add(*self._with_held(chunk, features), chunk.num_rows)
                    complete = list(window.complete())
                    complete = complete[-self._batch :] if self.is_live else complete
                    for block in self._predict(complete, count, sums):
                        yield block
                        count += 1
                    self._num_done += 1
            except BaseException:
                self._abandoned = True
                raise
        if not window.num_frames:
            return
        padded = count == 0
        seen = window.next_start - window.stride + window.num_steps * window.skip
        if padded or (self._predictor.explain and seen < window.num_frames):
            rest = window.rest()
            yield from self._predict([rest] if rest else [], count, sums, counts=padded)
        self.result = ClipPrediction(
            probabilities=sums / max(count, 1),
            num_blocks=max(count, 1),
            num_frames=self.num_frames,
            seconds=float(self._frames.ticks * self._frames.tick) + 1 / self.found.fps,
            padded=padded,
            cut_short=self._frames.cut_short or "",
            stopped=self._stop.is_set(),
            num_dropped=self.num_dropped,
        )

    def _with_held(self, chunk: _Chunk, features: Sequence[np.ndarray]) -> tuple[list[int], list[np.ndarray]]:
        """Returns rows and features of a chunk, with the last features seen in the place of those that were dropped."""
        if not self.is_live:
            return chunk.rows, features
        seen, rows, filled = dict(zip(chunk.rows, features, strict=True)), [], []
        for row in range(self._window.num_frames, chunk.num_rows):
            if self._window.needs(row):
                self._held = seen.get(row, self._held)
                rows.append(row)
                filled.append(self._held)
        return rows, filled

    def _predict(self, blocks, count: int, sums: np.ndarray, counts: bool = True) -> Iterator[BlockPrediction]:
        if not blocks:
            return
        starts, features = zip(*blocks, strict=True)
        try:
            probabilities, attention = self._predictor.blocks(starts, features, self._batch)
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from None
        for n, first in enumerate(starts):
            if counts:
                sums += probabilities[n]
            number = count + n
            yield BlockPrediction(
                number=number,
                first=first,
                seconds=(self._seconds[first], self._end(first)),
                probabilities=probabilities[n],
                so_far=sums / (number + counts),
                attention=None if attention is None else attention[n],
                counts=counts,
            )
        for row in [row for row in self._seconds if row < self._window.next_start]:
            del self._seconds[row]

    def _end(self, first: int) -> float:
        """When the last frame of a block ends, in seconds."""
        last = min(first + (self._window.num_steps - 1) * self.skip, self._window.num_frames - 1)
        return self._seconds[last] + 1 / self.fps


def _found(frames: WholeFrames, first: list) -> VideoProbe:
    """Returns what is known of a source that may have no end, from its first frames and their times.

    These determine its rate if it varies already, or differs from the container's by more than a quarter.
    """
    times = FrameTimes(np.array([ticks for _, ticks in first], np.int64), frames.tick, frames.said_fps)
    said, measured = frames.said_fps or times.fps, times.measured_fps
    height, width = shown_size(frames.stream.width, frames.stream.height, frames.pixel_aspect)
    turn = first and display_matrix(first[0][0]) is not None and orientation(display_matrix(first[0][0]))
    height, width = turn.size(height, width) if turn else (height, width)
    return VideoProbe(
        fps=measured if measured and (times.varies or abs(measured / said - 1) > 0.25) else said,
        num_frames=0,
        num_missing=0,
        container_frames=frames.stream.frames,
        width=width,
        height=height,
        rate_known=times.rate_known,
        fastest_fps=times.fastest_fps,
    )
