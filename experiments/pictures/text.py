"""Text on pictures."""

import functools
from pathlib import Path

import matplotlib
from PIL import ImageFont

INK = (30, 30, 30)

_FONTS = Path(matplotlib.get_data_path(), "fonts", "ttf")


def write_line(draw, position, text, size, width, *, anchor="lm", fill=INK, font="DejaVuSans-Bold.ttf"):
    """Writes a text on one line, in smaller letters or shortened where it would be wider than `width`.

    Args:
      draw: a PIL ImageDraw.
      position: where the `anchor` of the text is, (x, y) in pixels.
      text: any text.
      size: of the letters, in pixels.
      width: that the text may have, in pixels.
      anchor, fill: as PIL has them.
      font: one of matplotlib's.
    """
    text = " ".join(text.split())
    fonts = [load_font(font, n) for n in range(size, 8, -1)] or [ImageFont.load_default()]
    font = next((font for font in fonts if draw.textlength(text, font) <= width), fonts[-1])
    while draw.textlength(text, font) > width and len(text) > 1:
        text = text[:-2] + "…"
    draw.text(position, text, fill=fill, font=font, anchor=anchor)


@functools.lru_cache(64)
def load_font(name: str, size: int):
    """Returns one of matplotlib's fonts in that size, in pixels."""
    return ImageFont.truetype(str(_FONTS / name), size)
