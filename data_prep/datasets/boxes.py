"""Boxes around the action in a clip: `boxes.csv` with the columns path, frame, x0, y0, x1, y1.

Paths are relative to the folder of the clips, as in `index.csv`; frames count from 0; the rest are pixels from the
upper left corner of the frame as a player shows it (rotated, mirrored, with square pixels: `verify_videos` lists its
size), x0 and y0 the box's upper left corner, x1 and y1 its lower right one. A frame has one row or, if it is
not annotated, none.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attention_ar.errors import InputError
from data_prep.common.spreadsheet import Row, read_table
from data_prep.datasets.look_alike import KnownPaths

COLUMNS = ("path", "frame", "x0", "y0", "x1", "y1")
_MOST_FRAMES = 1 << 31


@dataclass(frozen=True)
class ClipBoxes:
    """The boxes of one clip.

    Attributes:
      frames: numbers of the frames that have one, ascending, `<int64>[n]`.
      boxes: x0, y0, x1, y1 of each, `<float64>[n, 4]`.
    """

    frames: np.ndarray
    boxes: np.ndarray

    def at(self, frames) -> np.ndarray:
        """Returns the boxes of frames `<int>[...]`, `<float64>[..., 4]`; NaN of a frame that has none."""
        frames = np.asarray(frames)
        place = np.minimum(np.searchsorted(self.frames, frames), len(self.frames) - 1)
        return np.where((self.frames[place] == frames)[..., None], self.boxes[place], np.nan)


def read_boxes(
    path, frame_size: Callable[[str], tuple[int, int] | None] = lambda clip: None, clips: Iterable[str] = ()
) -> dict[str, ClipBoxes]:
    """Reads a boxes file.

    Args:
      path: of the file.
      frame_size: a function that returns (width, height) of a clip's frames where it knows them, and else None. A box
        that leaves a frame of known size is an error too.
      clips: names of clips. A path that differs from one of them in backslashes or in Unicode form alone means that.

    Returns:
      The boxes of every clip that has some.

    Raises:
      InputError: where the file cannot be read, a column is missing, a frame is there twice, or a box is no box; it
        names the line.
    """
    path = Path(path)
    boxes: dict[str, dict[int, tuple]] = {}
    table = read_table(path, COLUMNS, required=COLUMNS, others=True)
    known = KnownPaths(clips)
    for row in table.rows:
        clip = known.find(row.fields["path"]) if row.fields["path"] else ""
        frame, box = _read_row(row, clip, frame_size, table.decimal_commas)
        if frame in boxes.setdefault(clip, {}):
            raise InputError(f"{row.where}: a second box for frame {frame} of {clip}; one per frame")
        boxes[clip][frame] = box
    if not boxes:
        raise InputError(f"{path}: no boxes in it; every line after the first is one")
    return {
        clip: ClipBoxes(np.array(sorted(frames)), np.array([frames[n] for n in sorted(frames)]))
        for clip, frames in boxes.items()
    }


def _read_row(row: Row, clip: str, frame_size, decimal_commas: bool):
    where = row.where
    if not clip:
        raise InputError(f"{where}: has no path; must name a clip")
    numbers = [row.fields[name].replace(",", "." if decimal_commas else ",") for name in COLUMNS[1:]]
    try:
        frame = int(numbers[0])
        x0, y0, x1, y1 = box = tuple(map(float, numbers[1:]))
    except ValueError:
        raise InputError(f"{where}: frame must be a whole number and x0, y0, x1, y1 numbers") from None
    if not 0 <= frame < _MOST_FRAMES:
        raise InputError(f"{where}: frame={frame}; must be 0 or greater, and below {_MOST_FRAMES}")
    if not (x0 < x1 and y0 < y1):
        raise InputError(f"{where}: no box, from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}); must have x0 < x1 and y0 < y1")
    size = frame_size(clip)
    width, height = size or (np.finfo(float).max, np.finfo(float).max)
    if not (x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height):
        upto = f"{width:g} across and {height:g} down" if size else "the frame's width and height"
        raise InputError(f"{where}: the box leaves the frame; must lie within 0 and {upto}")
    return frame, box


def box_cell_weights(box, width: float, height: float, grid: int = 7) -> np.ndarray:
    """Returns which share of each cell a box covers, `<float64>[..., grid²]`, row by row.

    The mean over the cells is the share of the frame that the box covers.

    Args:
      box: x0, y0, x1, y1, in pixels from the frame's upper left corner, `<float>[..., 4]`; what lies outside the frame
        is cut off.
      width: of the frame, in pixels.
      height: likewise.
      grid: K, cells a side.
    """
    edges = np.arange(grid + 1)

    def covered(low, high, length):
        low, high = low[..., None] * (grid / length), high[..., None] * (grid / length)
        return np.clip(np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1]), 0, None)

    x0, y0, x1, y1 = np.moveaxis(np.asarray(box, np.float64), -1, 0)
    cells = covered(y0, y1, height)[..., :, None] * covered(x0, x1, width)[..., None, :]
    return cells.reshape(*cells.shape[:-2], grid**2)
