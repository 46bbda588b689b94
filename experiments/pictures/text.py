"""Text on pictures."""

import unicodedata

from experiments.pictures.fonts import BOLD, load_font, readable, runs

INK = (30, 30, 30)

_SMALLEST = 9  # pixels


def write_line(draw, position, text, size, width, *, anchor="lm", fill=INK, font=BOLD):
    """Writes a text on one line, in a smaller size or shortened if it would be wider than `width`.

    Args:
      draw: a PIL ImageDraw.
      position: where the `anchor` of the text is, (x, y) in pixels.
      text: any text, in any script: see `fonts`.
      size: of the letters, in pixels.
      width: the most that the text may have, in pixels.
      anchor, fill: as PIL has them.
      font: `fonts.BOLD` or `fonts.PLAIN`.
    """
    text = readable(text)
    pieces = runs(text, font)
    size = next((n for n in range(size, _SMALLEST - 1, -1) if _width(pieces, n) <= width), min(size, _SMALLEST))
    while _width(pieces, size) > width and len(text) > 1:
        text = _shorter(text)
        pieces = runs(text, font)
    x, y = position
    x -= {"l": 0, "m": 0.5, "r": 1}[anchor[0]] * _width(pieces, size)
    for path, piece in pieces:
        draw.text((x, y), piece, fill=fill, font=load_font(path, size), anchor=f"l{anchor[1]}")
        x += load_font(path, size).getlength(piece)


def text_width(text: str, size: int, font=BOLD) -> float:
    """Returns the width of a text as `write_line` would write it without a limit, in pixels."""
    return _width(runs(readable(text), font), size)


def _width(pieces, size: int) -> float:
    return sum(load_font(path, size).getlength(piece) for path, piece in pieces)


def _shorter(text: str) -> str:
    """Returns the text without its last letter and the marks on it, and an ellipsis at its end."""
    text = text.removesuffix("…")
    while len(text) > 1 and unicodedata.combining(text[-1]):
        text = text[:-1]
    return text[:-1] + "…"
