"""Decoded frames as arrays, as a player shows them: rotated, mirrored, and with square pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import VideoReformatter

from attention_ar.errors import InputError

_SLANT = 0.02  # tolerance of a quarter turn, as a share of its size
_NEARLY_SQUARE = 0.01  # an encoder that rounds a picture's size makes up for it by such pixels
_MOST_OBLONG = 8  # beyond that, the header is damaged


@dataclass(frozen=True)
class Orientation:
    """How a stored picture becomes the shown one: transposed if need be, and then mirrored along either axis."""

    transposed: bool = False
    mirrored_rows: bool = False
    mirrored_columns: bool = False

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Returns `<uint8>[height, width, 3]` as it is shown."""
        picture = picture.swapaxes(0, 1) if self.transposed else picture
        return picture[:: -1 if self.mirrored_rows else 1, :: -1 if self.mirrored_columns else 1]

    def size(self, height, width) -> tuple:
        """Returns the size of a shown picture for that of the stored one, and the reverse."""
        return (width, height) if self.transposed else (height, width)


def orientation(matrix) -> Orientation | None:
    """Returns one of the eight orientations that quarter turns and mirroring make, or None for any other matrix.

    Args:
      matrix: a display matrix, nine numbers: the point (x, y) of the stored picture, y downwards, is shown at
        (m[0]·x + m[3]·y, m[1]·x + m[4]·y), but for a shift. A change of size does not count.
    """
    a, b, c, d = (float(matrix[n]) for n in (0, 1, 3, 4))
    straight, crossed = min(abs(a), abs(d)), min(abs(b), abs(c))
    if straight > 0 and max(abs(b), abs(c)) <= _SLANT * straight:
        return Orientation(False, mirrored_rows=d < 0, mirrored_columns=a < 0)
    if crossed > 0 and max(abs(a), abs(d)) <= _SLANT * crossed:
        return Orientation(True, mirrored_rows=b < 0, mirrored_columns=c < 0)
    return None


def display_matrix(frame: av.VideoFrame) -> np.ndarray | None:
    """Returns a frame's display matrix `<int32>[9]`, of the container or of the stream; None where it has none."""
    if not len(frame.side_data):
        return None
    found = frame.side_data.get(Type.DISPLAYMATRIX)
    return None if found is None else np.frombuffer(bytes(found), np.int32)


def shown_size(width: int, height: int, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """Returns (height, width) with square pixels: the height stays, the width is stretched or squeezed.

    Args:
      width, height: of the stored picture.
      pixel_aspect: width by height of its pixels; None and values near 1 count as 1.
    """
    aspect = float(pixel_aspect or 1)
    if abs(aspect - 1) <= _NEARLY_SQUARE or not 1 / _MOST_OBLONG <= aspect <= _MOST_OBLONG:
        return height, width
    return height, max(1, round(width * aspect))


class Pictures:
    """A function from decoded frames to arrays, as a player shows them.

    Args:
      size: (height, width) to which frames are resized (bilinear, aspect ratio not kept); a function of the first
        frame's shown size that returns it; or None for that size itself. All are of the size of the first.
      colour: "bgr24" or "rgb24", the order of the last axis.
      pixel_aspect: width by height of a stored pixel, see `shown_size`.
      square_pixels: whether, where `size` is no numbers, frames are stretched or squeezed to their shown width.

    Attributes:
      shown_size: (height, width) of the first frame as it is shown, with square pixels; None before there is one.
      is_askew: whether some frame had a display matrix that is none of the eight orientations; it is shown as stored.
    """

    def __init__(
        self,
        size: tuple[int, int] | Callable | None,
        colour: str,
        pixel_aspect: Fraction | None = None,
        square_pixels: bool = True,
    ):
        if colour not in ("bgr24", "rgb24"):
            raise InputError(f"colour={colour!r}: must be bgr24 or rgb24")
        self._size, self._format = size, colour
        self._pixel_aspect, self._square = pixel_aspect, square_pixels
        self._reformatter = VideoReformatter()  # one for all frames: it keeps its tables, and is 3.5 times as fast
        self.shown_size: tuple[int, int] | None = None
        self.is_askew = False

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """Returns `<uint8>[height, width, 3]`."""
        matrix = display_matrix(frame)
        turn = Orientation() if matrix is None else orientation(matrix)
        aspect = self._pixel_aspect
        if turn is None:
            self.is_askew, turn = True, Orientation()
            aspect = None  # ffmpeg would derive it from the matrix
        if self.shown_size is None:
            self.shown_size = turn.size(*shown_size(frame.width, frame.height, aspect))
        if not isinstance(self._size, tuple):
            own = self.shown_size if self._square else turn.size(frame.height, frame.width)
            self._size = self._size(*own) if self._size else own
        height, width = turn.size(*self._size)
        scaled = self._reformatter.reformat(frame, width, height, self._format, interpolation="BILINEAR", threads=1)
        return turn(scaled.to_ndarray())
