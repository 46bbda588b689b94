"""Boxes around what happens in a clip: `boxes.csv` with the columns path, frame, x0, y0, x1, y1, in pixels."""

import csv
from pathlib import Path

import numpy as np

from attention_ar.errors import InputError

COLUMNS = ("path", "frame", "x0", "y0", "x1", "y1")


def read_boxes(path) -> dict[str, np.ndarray]:
    """Reads a boxes file.

    Returns:
      For every clip `<float64>[num_frames, 4]`: x0, y0, x1, y1 of the frames 0, 1, …

    Raises:
      InputError: where the file, a column or a frame is missing, or a box is no box; it names the line.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"{path}: has no column {', '.join(missing)}; must have {','.join(COLUMNS)}")
            rows = [_read_row(path, reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    boxes: dict[str, dict[int, tuple]] = {}
    for clip, frame, box in rows:
        boxes.setdefault(clip, {})[frame] = box
    for clip, frames in boxes.items():
        if sorted(frames) != list(range(len(frames))):
            raise InputError(
                f"{path}: {clip} has {len(frames)} boxes, but not one for each frame from 0 on"
            )
    return {clip: np.array([frames[n] for n in range(len(frames))]) for clip, frames in boxes.items()}


def _read_row(path, line: int, row: dict):
    try:
        frame = int(row["frame"])
        x0, y0, x1, y1 = (float(row[name]) for name in COLUMNS[2:])
    except (TypeError, ValueError):
        raise InputError(f"{path}, line {line}: frame must be a whole number, x0, y0, x1, y1 numbers") from None
    if not (x0 < x1 and y0 < y1):
        raise InputError(f"{path}, line {line}: must have x0 < x1 and y0 < y1")
    return row["path"], frame, (x0, y0, x1, y1)


def box_cell_weights(box, width: float, height: float, grid: int = 7) -> np.ndarray:
    """Returns which share of each cell a box covers, `<float64>[grid²]`, row by row.

    Args:
      box: x0, y0, x1, y1, in pixels from the frame's upper left corner; what lies outside the frame is cut off.
      width, height: of the frame, in pixels.
      grid: K, cells a side.
    """
    x0, y0, x1, y1 = box
    edges = np.arange(grid + 1) / grid

    def covered(low, high):
        return np.clip(np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1]), 0, None) * grid

    return np.outer(covered(y0 / height, y1 / height), covered(x0 / width, x1 / width)).ravel()
