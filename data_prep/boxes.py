"""Boxes around what happens in a clip: `boxes.csv` with the columns path, frame, x0, y0, x1, y1.

Paths are relative to the folder of the clips, as in `index.csv`; frames count from 0; the rest are pixels from the
frame's upper left corner, x0 and y0 the box's upper left one, x1 and y1 its lower right one. Every frame has one row.
"""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from attention_ar.errors import InputError

COLUMNS = ("path", "frame", "x0", "y0", "x1", "y1")


def read_boxes(path, frame_sizes: Mapping[str, tuple[int, int]] | None = None) -> dict[str, np.ndarray]:
    """Reads a boxes file.

    Args:
      path: of the file.
      frame_sizes: (width, height) of every clip that there is. Where it is given, a row of another clip and a box that
        leaves the frame are errors too.

    Returns:
      For every clip `<float64>[num_frames, 4]`: x0, y0, x1, y1 of the frames 0, 1, …

    Raises:
      InputError: where the file cannot be read, a column or a frame is missing or twice there, or a box is no box; it
        names the line or the clip.
    """
    path = Path(path)
    boxes: dict[str, dict[int, tuple]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"{path}: has no column {', '.join(missing)}; must have {','.join(COLUMNS)}")
            for row in reader:
                where = f"{path} line {reader.line_num}"
                frame, box = _read_row(where, row, frame_sizes)
                if frame in boxes.setdefault(row["path"], {}):
                    raise InputError(f"{where}: a second box for frame {frame} of {row['path']}; one per frame")
                boxes[row["path"]][frame] = box
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not readable as comma-separated UTF-8 text ({error})") from None
    if not boxes:
        raise InputError(f"{path}: no boxes in it; every line after the first is one")
    for clip, frames in boxes.items():
        absent = next((n for n in range(len(frames)) if n not in frames), None)
        if absent is not None:
            raise InputError(f"{path}: {clip} has no box for frame {absent}; must have one for each from 0 on")
    return {clip: np.array([frames[n] for n in range(len(frames))]) for clip, frames in boxes.items()}


def _read_row(where: str, row: dict, frame_sizes):
    try:
        frame = int(row["frame"])
        x0, y0, x1, y1 = box = tuple(float(row[name]) for name in COLUMNS[2:])
    except (TypeError, ValueError):
        raise InputError(f"{where}: frame must be a whole number and x0, y0, x1, y1 numbers") from None
    if frame < 0:
        raise InputError(f"{where}: frame={frame}; must be 0 or greater")
    if not (x0 < x1 and y0 < y1):
        raise InputError(f"{where}: no box, from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}); must have x0 < x1 and y0 < y1")
    width, height = np.finfo(float).max, np.finfo(float).max
    if frame_sizes is not None:
        if row["path"] not in frame_sizes:
            raise InputError(f"{where}: no clip {row['path']}; paths are relative to the clips' folder")
        width, height = frame_sizes[row["path"]]
    if not (x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height):
        upto = f"{width:g} across and {height:g} down" if frame_sizes is not None else "the frame's width and height"
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
