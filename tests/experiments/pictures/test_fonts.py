"""Class names in any script and of any length, in videos, filmstrips and confusion matrices."""

import logging
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, features

from experiments.pictures import confusion, fonts
from experiments.pictures.fonts import readable, runs
from experiments.pictures.text import write_line

OWN = Path(matplotlib.get_data_path(), "fonts", "ttf")
SEGMENT = "\u2313"  # of matplotlib's fonts, STIX alone has it


@pytest.fixture(autouse=True)
def system_fonts(monkeypatch):
    """A machine with no font but STIX."""
    for function in (fonts._font_of, fonts._say_missing):
        function.cache_clear()
    monkeypatch.setattr(fonts, "_system_fonts", lambda: [str(OWN / "STIXGeneral.ttf")])
    yield
    fonts._font_of.cache_clear()


def drawn(text, width=200):
    image = Image.new("L", (220, 30))
    write_line(ImageDraw.Draw(image), (2, 15), text, 18, width, fill=255)
    return np.asarray(image)


def test_a_font_of_the_system_is_taken_where_it_has_the_letters():
    assert runs(readable(f"a{SEGMENT}"), fonts.BOLD) == [(str(OWN / "STIXGeneral.ttf"), f"a{SEGMENT}")]
    assert runs(readable("jump"), fonts.BOLD) == [(str(OWN / fonts.BOLD), "jump")]
    image = Image.new("L", (220, 30))
    font = ImageFont.truetype(str(OWN / "STIXGeneral.ttf"), 18)
    ImageDraw.Draw(image).text((2, 15), f"a{SEGMENT}", fill=255, font=font, anchor="lm")
    np.testing.assert_array_equal(drawn(f"a{SEGMENT}"), np.asarray(image))


def test_a_text_of_several_scripts_takes_several_fonts():
    text = f"\u05d0 {SEGMENT}"  # STIX has no Hebrew.
    assert [piece for _, piece in runs(readable(text), fonts.PLAIN)] == ["\u05d0 ", SEGMENT]
    assert drawn(text).any()


def test_letters_that_no_font_has_can_be_told_apart_and_a_note_says_what_to_install(caplog):
    with caplog.at_level(logging.WARNING):
        assert (readable("挥手"), readable("跑 a")) == ("[6325][624B]", "[8DD1] a")
        assert (drawn("挥") != drawn("跑")).any()
    assert caplog.text.count("fonts-noto-cjk") == 1
    with caplog.at_level(logging.WARNING):
        assert readable("\u0915") == "[0915]"
    assert caplog.text.count("fonts-noto-core") == 1


@pytest.mark.skipif(not features.check("raqm"), reason="this Pillow was built without Raqm")
@pytest.mark.parametrize("text", ["\u05e8\u05d9\u05e6\u05d4", "\u0642\u0641\u0632", "e\u0301lan"])
def test_right_to_left_scripts_and_marks_are_set_by_raqm(text):
    image = Image.new("L", (220, 30))
    font = ImageFont.truetype(str(OWN / fonts.PLAIN), 18)
    ImageDraw.Draw(image).text((2, 15), text, fill=255, font=font, anchor="lm")
    drawn_plain = Image.new("L", (220, 30))
    write_line(ImageDraw.Draw(drawn_plain), (2, 15), text, 18, 200, fill=255, font=fonts.PLAIN)
    np.testing.assert_array_equal(np.asarray(drawn_plain), np.asarray(image))


def test_what_would_change_the_rest_of_a_line_is_no_part_of_it():
    assert readable("a\u202eb\x1b[2J\nc") == "a\\u202eb\\x1b[2J c"
    assert readable("\u0645\u06cc\u200c\u062e") == "\u0645\u06cc\u200c\u062e"


def test_a_shortened_text_keeps_marks_with_their_letters():
    image = drawn("e\u0301" * 40, width=100)
    assert image[:, 102:].max() == 0 and image.any()


@pytest.mark.parametrize(
    "names", [["挥手", "跑步"], [f"a{SEGMENT}", "$x^2$"], ["\u05e8\u05d9\u05e6\u05d4", "e\u0301lan"]]
)
def test_a_confusion_matrix_in_any_script(tmp_path, names):
    confusion.draw(tmp_path / "c.png", np.eye(2, dtype=int), names, title=names[0])  # Warnings are errors here.
    assert (tmp_path / "c.png").stat().st_size > 5000


def blue_columns(path):
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)[:, :-150]  # Without the scale of colours.
    return (pixels[..., 2] - pixels[..., 0] > 60).any(axis=0).sum()


def test_long_names_leave_the_matrix_its_size(tmp_path):
    short = [f"class {n}" for n in range(11)]
    confusion.draw(tmp_path / "short.png", np.eye(11, dtype=int), short)
    for long in ("very long label " + "x" * 60, "挥" * 50):
        confusion.draw(tmp_path / "long.png", np.eye(11, dtype=int), [*short[:10], long])
        assert blue_columns(tmp_path / "long.png") > 0.85 * blue_columns(tmp_path / "short.png") > 300


def test_names_that_are_shortened_differ():
    names = ["a" * 30 + f"{n}" + "b" * 30 for n in range(3)]
    short = confusion.shortened([*names, "jump"])
    assert len(set(short)) == 4 and all(len(name) <= 28 for name in short) and short[3] == "jump"
