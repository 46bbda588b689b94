"""Rows of pictures on one sheet, with text around them; filmstrips and the paper's figures use it."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from data_prep.common.files import write_whole
from experiments.pictures.fonts import BOLD, PLAIN
from experiments.pictures.overlay import overlay, upsample_attention
from experiments.pictures.text import INK, text_width, write_line

MAX_BYTES = 300_000  # of a sheet
MARGIN = 4

_FADED = (120, 120, 120)
_CAPTION, _UNDER, _LINE, _GAP = 28, 18, 16, 14  # pixels


@dataclass(frozen=True)
class Row:
    """Pictures side by side.

    Attributes:
      frames: `<uint8>[n, H, W, 3]`, RGB.
      attention: l_t of each, `<float>[n, K²]`, which is laid over them; None for the frames themselves.
      under: n texts below the pictures, or none.
      beside: lines to the left of them, the first of which is bold.
    """

    frames: np.ndarray
    attention: np.ndarray | None = None
    under: Sequence[str] = ()
    beside: Sequence[str] = ()

    def pictures(self, height: int) -> np.ndarray:
        """Returns the pictures, `<uint8>[n, height, width, 3]`."""
        plain = np.stack([resized(frame, height) for frame in self.frames])
        return plain if self.attention is None else overlay(plain, upsample_attention(self.attention, plain.shape[1:3]))


@dataclass(frozen=True)
class Panel:
    """Rows of pictures under a caption."""

    caption: str
    rows: Sequence[Row]


def evenly_spaced(count: int, num_columns: int) -> np.ndarray:
    """Returns at most `num_columns` of the numbers 0 … count − 1, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, num_columns).round().astype(int))


def nearest_to_even(seconds, num_columns: int) -> np.ndarray:
    """Returns which of some times are nearest to `num_columns` evenly spaced ones, with the first and the last."""
    wanted = np.linspace(seconds[0], seconds[-1], num_columns)
    return np.unique(np.abs(np.asarray(seconds)[:, None] - wanted).argmin(axis=0))


def write_sheet(panels, path, *, title="", note="", across: int = 1, height: int = 120, min_width: int = 0):
    """Writes a PNG of at most `MAX_BYTES`.

    Args:
      panels: `Panel`s, drawn row by row.
      path: of the PNG.
      title: a line above them.
      note: lines of small print below them.
      across: how many panels stand side by side.
      height: of each picture, in pixels; less where the file would otherwise be too large.
      min_width: of a panel, in pixels, so that there is room for its caption.
    """
    while True:
        png = io.BytesIO()
        sheet = _draw_sheet(panels, title, note, across, height, min_width)
        sheet.quantize(256, dither=Image.Dither.NONE).save(png, format="PNG", optimize=True)
        if len(png.getvalue()) <= MAX_BYTES or height <= 32:
            break
        height = int(height * min(0.95, math.sqrt(MAX_BYTES / len(png.getvalue()))))
    write_whole(path, png.getvalue())


def _draw_sheet(panels, title, note, across, height, min_width) -> Image.Image:
    drawn = [_draw_panel(panel, height, min_width) for panel in panels]
    lines = [drawn[n : n + across] for n in range(0, len(drawn), across)]
    widths = [max(panel.width for panel in drawn[n::across]) for n in range(min(across, len(drawn)))]
    heights = [max(panel.height for panel in line) for line in lines]
    top, notes = _CAPTION + MARGIN if title else 0, note.splitlines()
    width = sum(widths) + _GAP * (len(widths) - 1)
    bottom = _LINE * len(notes) + MARGIN if notes else 0
    sheet = Image.new("RGB", (width, top + sum(heights) + _GAP * (len(heights) - 1) + bottom), "white")
    draw = ImageDraw.Draw(sheet)
    if title:
        write_line(draw, (MARGIN, top / 2), title, 17, width - 2 * MARGIN)
    for n, line in enumerate(lines):
        for m, panel in enumerate(line):
            sheet.paste(panel, (sum(widths[:m]) + m * _GAP, top + sum(heights[:n]) + n * _GAP))
    for n, line in enumerate(notes):
        place = (MARGIN, sheet.height - bottom + (n + 0.5) * _LINE)
        write_line(draw, place, line, 11, width - 2 * MARGIN, fill=_FADED, font=PLAIN)
    return sheet


def _draw_panel(panel: Panel, height: int, min_width: int) -> Image.Image:
    rows = [row.pictures(height) for row in panel.rows]
    left = max((_label_width(row.beside) for row in panel.rows), default=0)
    width = max(MARGIN + left + sum(p.shape[1] + MARGIN for p in pictures) for pictures in rows)
    heights = [max(height, _LINE * len(row.beside)) + MARGIN + (_UNDER if row.under else 0) for row in panel.rows]
    sheet = Image.new("RGB", (max(width, min_width), _CAPTION + sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    write_line(draw, (MARGIN, _CAPTION / 2), panel.caption, 15, sheet.width - 2 * MARGIN)
    y = _CAPTION
    for row, pictures, row_height in zip(panel.rows, rows, heights, strict=True):
        for n, line in enumerate(row.beside):
            size, font, fill = (13, BOLD, INK) if n == 0 else (11, PLAIN, _FADED)
            place = (MARGIN, y + height / 2 + _LINE * (n - (len(row.beside) - 1) / 2))
            write_line(draw, place, line, size, left, fill=fill, font=font)
        for n, picture in enumerate(pictures):
            x = MARGIN + left + n * (picture.shape[1] + MARGIN)
            sheet.paste(Image.fromarray(picture), (x, y))
            if row.under:
                place = (x + picture.shape[1] / 2, y + height + MARGIN + _UNDER / 2 - 1)
                write_line(draw, place, row.under[n], 11, picture.shape[1], anchor="mm", fill=_FADED, font=PLAIN)
        y += row_height
    return sheet


def _label_width(lines) -> int:
    """Width of the texts beside a row, with a gap before the pictures."""
    widths = [text_width(line, *((13, BOLD) if n == 0 else (11, PLAIN))) for n, line in enumerate(lines)]
    return min(math.ceil(max(widths)), 320) + 3 * MARGIN if widths else 0


def resized(frame, height: int) -> np.ndarray:
    """Returns the frame in that height, aspect ratio kept."""
    width = max(1, round(height * frame.shape[1] / frame.shape[0]))
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS))
