"""A clip under its attention, with what the model says of it at the moment, as a film that is made while it comes."""

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
_QUALITY = 95  # of the JPEGs, well above that of the film


def film_size(height: int, width: int) -> tuple[int, int]:
    """Returns the film's (height, width) for frames of such: the same between the bounds, and even, for encoders.

    The shape is kept, but for clips that are far longer than high, or the reverse: they are squeezed.
    """
    new = min(max(height, MIN_HEIGHT), MAX_HEIGHT)
    return 2 * round(new / 2), 2 * round(min(max(width * new / height, MIN_WIDTH), MAX_WIDTH) / 2)


class OverlayMovie(contextlib.AbstractContextManager):
    """Writes every frame of a clip, under the attention of the first block that contains it.

    In that block most of the frames before have been seen, and no frame has to wait for another: where blocks begin
    at every frame, a frame is under the last step of the block that ends with it, or, among the first T, under its
    own step of the first block. Frames between two that are in a block are under the attention of the one before;
    those between two blocks, where the stride is longer than a block, are shown as they are.

    At a low rate a block spans hundreds of frames, which wait for it as JPEG: of T·skip rows of 480×854 pixels
    some 0.1 MB each. A film that cannot be written is given up, and what comes is let go.

    Args:
      path: of the MP4.
      fps: of the clip.
      skip: rows, which are frames that have features, for one that is in a block.
      stride: rows for the start of a block.
      timed: whether every frame is shown when it is in the clip, and not 1/fps after the one before.
      describe: a function of probabilities `<float>[C]` that returns a short text.
      note: a text that every picture has, "" for none.

    Attributes:
      failure: the InputError that says why there is no film, else None.
    """

    def __init__(self, path, *, fps: float, skip: int, stride: int, describe, note: str = "", timed: bool = False):
        self._film = Mp4(path, fps)
        self._skip, self._stride, self._timed = skip, stride, timed
        self._describe, self._note = describe, note
        self._waiting: deque[tuple[int, float, bytes]] = deque()
        self._block: BlockPrediction | None = None
        self._open = contextlib.ExitStack()
        self.failure: InputError | None = None

    def __enter__(self):
        with self._giving_up():
            self._open.enter_context(self._film)
        return self

    def __exit__(self, kind, *error):
        with self._giving_up():
            if kind is None:
                self._add(len(self._waiting))
            self._open.__exit__(kind, *error)

    @contextlib.contextmanager
    def _giving_up(self):
        """Where the film fails, keeps why, and nothing else of it."""
        try:
            yield
        except InputError as error:
            self.failure = error
            self._waiting.clear()
            self._open.__exit__(type(error), error, error.__traceback__)

    def add_frame(self, row: int, seconds: float, picture: np.ndarray):
        """Takes the next decoded frame, which waits for its block.

        Args:
          row: the last one that is made of this frame or one before.
          seconds: when the frame is shown.
          picture: `<uint8>[height, width, 3]`, RGB.
        """
        if self.failure:
            return
        self._waiting.append((row, seconds, _to_jpeg(picture)))
        self._film_known()

    def add_block(self, block: BlockPrediction):
        """Takes the next block."""
        self._block = block
        self._film_known()

    def _film_known(self):
        """Films the frames that are not in a later block for the first time."""
        if self._block:
            known = max(self._seen(), self._block.first + self._stride)
            with self._giving_up():
                self._add(sum(row < known for row, _, _ in self._waiting))

    def _seen(self) -> int:
        """The frame after the last that the block says something of."""
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
            picture = _lettered(picture, [*lines, *([self._note] if self._note else [])])
            self._film.add(picture, seconds if self._timed else None)


def _to_jpeg(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "jpeg", quality=_QUALITY)
    return file.getvalue()


def _lettered(picture: np.ndarray, lines: list[str]) -> Image.Image:
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
