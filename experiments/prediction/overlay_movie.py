"""Writes a clip with its attention and predictions to an MP4 while decoding."""

import contextlib
import io
from collections import deque

import numpy as np
from PIL import Image, ImageDraw

from attention_ar.errors import InputError
from experiments.pictures.mp4 import Mp4
from experiments.pictures.overlay import overlay, upsample_attention
from experiments.pictures.text import write_line
from experiments.prediction.clip_stream import BlockPrediction

MIN_HEIGHT, MAX_HEIGHT = 240, 480  # pixels: a line of text must be readable, and frames wait in memory for their block
MIN_WIDTH, MAX_WIDTH = 160, 1920

_LIGHT, _SHADE = (255, 255, 255), 0.35
_QUALITY = 95  # of the JPEGs, well above that of the MP4


def overlay_size(height: int, width: int) -> tuple[int, int]:
    """Returns the overlay's (height, width) for frames of this size: clipped to the bounds, and even, for encoders.

    The aspect ratio is kept, except for clips whose aspect ratio is extreme: they are squeezed.
    """
    new = min(max(height, MIN_HEIGHT), MAX_HEIGHT)
    return 2 * round(new / 2), 2 * round(min(max(width * new / height, MIN_WIDTH), MAX_WIDTH) / 2)


class OverlayMovie(contextlib.AbstractContextManager):
    """Writes every frame of a clip, under the attention of the first block that contains it.

    That block has seen most of the frames before. At stride 1, a frame is shown under the last step of the block that
    ends with it; the first T frames are shown under their own step of the first block. Frames between two sampled
    frames of a block are shown under the attention of the earlier one. If the stride is longer than a block, frames
    between two blocks are shown without attention.

    At a low rate a block spans hundreds of frames, which wait for it as JPEGs: T·skip rows of 480×854 pixels, about
    0.1 MB each. If writing fails, the error is stored and waiting frames are dropped.

    Args:
      path: of the MP4.
      fps: of the clip.
      skip: the distance, in rows (frames that have features), of two frames of a block.
      stride: the distance, in rows, of the starts of two blocks.
      timed: whether frames keep their times in the clip, and are not 1/fps apart.
      describe: a function of probabilities `<float>[C]` that returns a short text.
      note: a text on every picture, "" for none.

    Attributes:
      failure: the InputError if writing failed, else None.
    """

    def __init__(self, path, *, fps: float, skip: int, stride: int, describe, note: str = "", timed: bool = False):
        self._mp4 = Mp4(path, fps)
        self._skip, self._stride, self._timed = skip, stride, timed
        self._describe, self._note = describe, note
        self._waiting: deque[tuple[int, float, bytes]] = deque()
        self._block: BlockPrediction | None = None
        self._open = contextlib.ExitStack()
        self.failure: InputError | None = None

    def __enter__(self):
        with self._giving_up():
            self._open.enter_context(self._mp4)
        return self

    def __exit__(self, kind, *error):
        with self._giving_up():
            if kind is None:
                self._add(len(self._waiting))
            self._open.__exit__(kind, *error)

    @contextlib.contextmanager
    def _giving_up(self):
        """If writing fails, stores the error and drops waiting frames."""
        try:
            yield
        except InputError as error:
            self.failure = error
            self._waiting.clear()
            self._open.__exit__(type(error), error, error.__traceback__)

    def add_frame(self, row: int, seconds: float, picture: np.ndarray):
        """Takes the next decoded frame, which waits for its block.

        Args:
          row: the last row made of this frame or an earlier one.
          seconds: when the frame is shown.
          picture: `<uint8>[height, width, 3]`, RGB.
        """
        if self.failure:
            return
        self._waiting.append((row, seconds, _to_jpeg(picture)))
        self._write_known()

    def add_block(self, block: BlockPrediction):
        """Takes the next block."""
        self._block = block
        self._write_known()

    def _write_known(self):
        """Writes the waiting frames whose block is known."""
        if self._block:
            known = max(self._seen(), self._block.first + self._stride)
            with self._giving_up():
                self._add(sum(row < known for row, _, _ in self._waiting))

    def _seen(self) -> int:
        """The row after the last one that the block covers."""
        return self._block.first + len(self._block.attention) * self._skip

    def _add(self, count: int):
        for _ in range(count):
            row, seconds, jpeg = self._waiting.popleft()
            picture = np.asarray(Image.open(io.BytesIO(jpeg)))
            block = self._block
            lines = [f"so far: {self._describe(block.so_far)}"] if block else []
            if block and block.first <= row < self._seen():
                l = block.attention[(row - block.first) // self._skip]
                picture = overlay(picture, upsample_attention(l, picture.shape[:2]))
                lines.insert(0, f"now: {self._describe(block.probabilities)}")
            picture = _with_text(picture, [*lines, *([self._note] if self._note else [])])
            self._mp4.add(picture, seconds if self._timed else None)


def _to_jpeg(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "jpeg", quality=_QUALITY)
    return file.getvalue()


def _with_text(picture: np.ndarray, lines: list[str]) -> Image.Image:
    """Writes lines over a picture's lower edge, which is darkened there."""
    height, width = picture.shape[:2]
    size = max(11, height // 20)
    top = height - int(1.5 * size) * len(lines)
    picture = picture.copy()
    picture[top:] = _SHADE * picture[top:]
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for n, line in enumerate(lines):
        write_line(draw, (size / 2, top + int(1.5 * size) * (n + 0.5)), line, size, width - size, fill=_LIGHT)
    return image
