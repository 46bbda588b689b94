"""Fonts for texts in any script: matplotlib's own first, and then those of the system.

Pillow renders right-to-left scripts, and those whose letters join, if it was built with Raqm, as its wheels are, and if
one font has the whole text.
"""

import functools
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import matplotlib
from absl import logging
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

from attention_ar.errors import printable

BOLD, PLAIN = "DejaVuSans-Bold.ttf", "DejaVuSans.ttf"

_OWN = Path(matplotlib.get_data_path(), "fonts", "ttf")
# Fonts of boxes for every letter, and of coloured pictures.
_USELESS = ("lastresort", "emoji", "color", "colour")
_PACKAGES = dict.fromkeys(["CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO"], "fonts-noto-cjk")
_JOINERS = "\u200c\u200d"  # Invisible, and part of words in some scripts.


def readable(text: str) -> str:
    """Returns a text on one line, with letters that no font here has replaced by their numbers, such as [6325].

    A warning names once the Debian package of a font with them.
    """
    visible = "".join(c if c in _JOINERS else printable(c) for c in " ".join(text.split()))
    return "".join(c if _font_of(c) else f"[{ord(c):04X}]" for c in visible)


def runs(text: str, first: str) -> list[tuple[str, str]]:
    """Cuts a readable text into pieces that one font has.

    Args:
      text: what `readable` returned.
      first: the font to take where it has all of the text, `BOLD` or `PLAIN`.

    Returns:
      The path of a font with each piece; a single one wherever a font has the whole text.
    """
    own = str(_OWN / first)
    whole = next((path for path in (own, *dict.fromkeys(filter(None, map(_font_of, text)))) if _has(path, text)), None)
    if whole:
        return [(whole, text)]
    pieces: list[tuple[str, str]] = []
    for c in text:
        path = own if _has(own, c) else _font_of(c)
        if pieces and (pieces[-1][0] == path or unicodedata.category(c) in ("Mn", "Mc", "Cf")):
            pieces[-1] = (pieces[-1][0], pieces[-1][1] + c)
        else:
            pieces.append((path, c))
    return pieces


def families(texts: Iterable[str]) -> list[str]:
    """Returns the font families that readable texts need, as matplotlib names them."""
    paths = dict.fromkeys(path for text in texts for c in text if (path := _font_of(c)))
    for path in paths:
        font_manager.fontManager.addfont(path)
    own = font_manager.FontProperties(fname=str(_OWN / PLAIN)).get_name()
    return list(dict.fromkeys([own, *(font_manager.FontProperties(fname=path).get_name() for path in paths)]))


@functools.lru_cache(64)
def load_font(path: str, size: int):
    """Returns a font in that size, in pixels; a name without a folder is one of matplotlib's."""
    return ImageFont.truetype(str(_OWN / path), size)


@functools.cache
def _font_of(c: str) -> str | None:
    """The first font that has a letter. None if there is none; a warning is logged once for every package."""
    own = str(_OWN / PLAIN)
    if _has(own, c):
        return own
    found = next((path for path in _system_fonts() if _has(path, c)), None)
    if not found:
        _say_missing(_PACKAGES.get(unicodedata.name(c, "").partition(" ")[0].partition("-")[0], "fonts-noto-core"))
    return found


def _has(path: str, text: str) -> bool:
    letters = _letters(path)
    return all(ord(c) in letters or unicodedata.category(c) == "Cf" for c in text)


@functools.cache
def _letters(path: str) -> frozenset[int]:
    try:
        load_font(path, 12)  # Pillow reads fewer fonts than matplotlib.
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@functools.cache
def _system_fonts() -> list[str]:
    """Paths of the system's fonts, plain ones first."""
    paths = font_manager.findSystemFonts(fontext="ttf")
    useful = [path for path in paths if not any(word in Path(path).name.lower() for word in _USELESS)]
    return sorted(useful, key=lambda path: ("Sans" not in path, "Regular" not in path, path))


@functools.cache
def _say_missing(package: str):
    logging.warning(
        "no font on this machine has all letters of the class names: pictures show their numbers instead, such as "
        "[6325]; install one, for example of Debian's package %s",
        package,
    )
