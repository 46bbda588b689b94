"""Pictures of where a model looks: filmstrips as in the paper's Fig. 1, films and animations."""

import io
import math
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from attention_ar.errors import InputError
from experiments.lettering import write_line
from experiments.mp4 import Mp4
from experiments.overlay import overlay, upsample_attention

MAX_BYTES = 300_000  # of a filmstrip
MAX_ANIMATION_FRAMES, MAX_ANIMATION_FPS = 60, 12.5

_FADED = (120, 120, 120)
_MARGIN = 4


def filmstrip(frames, attention, caption: str, path, num_columns: int = 8, height: int = 120):
    """Writes a PNG: frames above, the same frames under the attention below, both evenly spaced in time.

    The step numbers below count all frames that were given, from 1.

    Args:
      frames: `<uint8>[n, H, W, 3]`, RGB.
      attention: l_t for each, `<float>[n, K²]`.
      caption: a line above the picture, for example class names and probabilities.
      path: of the PNG.
      num_columns: how many frames are shown, at most n.
      height: of each, in pixels; less where the file would otherwise exceed `MAX_BYTES`.

    Raises:
      InputError: where there are no frames, or not as many as glimpses.
    """
    frames, attention = _matching(frames, attention)
    shown = np.unique(np.linspace(0, len(frames) - 1, num_columns).round().astype(int))
    while True:
        png = io.BytesIO()
        sheet = _sheet(frames[shown], attention[shown], shown + 1, caption, height)
        sheet.quantize(256, dither=Image.Dither.NONE).save(png, format="PNG", optimize=True)
        if len(png.getvalue()) <= MAX_BYTES or height <= 32:
            break
        height = int(height * min(0.95, math.sqrt(MAX_BYTES / len(png.getvalue()))))
    _write(path, png.getvalue())


def attention_movie(frames, attention, path, *, fps: float, caption="", height: int = 224):
    """Writes an MP4 or, where the path ends in .gif, an animation: each frame beside itself under the attention.

    An animation is half as high and leaves frames out where there are more than `MAX_ANIMATION_FPS` per second or
    `MAX_ANIMATION_FRAMES` in all; it lasts as long as the film.

    Args:
      frames, attention: see `filmstrip`.
      path: of the file.
      fps: frames per second.
      caption: a line above the picture, or a list of n of them, one for each frame.
      height: of the frames, in pixels.

    Raises:
      InputError: where there are no frames, or not as many as glimpses or captions.
    """
    frames, attention = _matching(frames, attention)
    captions = [caption] * len(frames) if isinstance(caption, str) else list(caption)
    if len(captions) != len(frames):
        raise InputError(f"{len(frames)} frames and {len(captions)} captions: must be as many, or a single caption")
    animated = Path(path).suffix.lower() == ".gif"
    every, text_size = 1, 14
    if animated:
        every = max(math.ceil(fps / MAX_ANIMATION_FPS), math.ceil(len(frames) / MAX_ANIMATION_FRAMES))
        height, text_size = height // 2, 11
    pictures = (
        _side_by_side(frames[n], attention[n], captions[n], height, text_size) for n in range(0, len(frames), every)
    )
    if animated:
        _write(path, _gif(list(pictures), every / fps))
    else:
        with Mp4(path, fps) as film:
            for picture in pictures:
                film.add(picture)


def _matching(frames, attention):
    frames, attention = np.asarray(frames), np.asarray(attention)
    if len(frames) != len(attention) or not len(frames):
        raise InputError(f"{len(frames)} frames and {len(attention)} glimpses: must be as many, and at least one")
    return frames, attention


def _sheet(frames, attention, numbers, caption: str, height: int) -> Image.Image:
    plain = np.stack([_resized(frame, height) for frame in frames])
    seen = overlay(plain, upsample_attention(attention, plain.shape[1:3]))
    width = plain.shape[2]
    top, bottom = 28, 18
    size = (_MARGIN + len(plain) * (width + _MARGIN), top + 2 * (height + _MARGIN) + bottom)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    write_line(draw, (_MARGIN, top / 2), caption, 15, size[0] - 2 * _MARGIN)
    for column, number in enumerate(numbers):
        x = _MARGIN + column * (width + _MARGIN)
        for row, picture in enumerate((plain[column], seen[column])):
            sheet.paste(Image.fromarray(picture), (x, top + row * (height + _MARGIN)))
        place = (x + width / 2, size[1] - bottom / 2 - 1)
        write_line(draw, place, f"t = {number}", 11, width, anchor="mm", fill=_FADED, font="DejaVuSans.ttf")
    return sheet


def _side_by_side(frame, attention, caption: str, height: int, text_size: int) -> Image.Image:
    plain = _resized(frame, height)
    seen = overlay(plain, upsample_attention(attention, plain.shape[:2]))
    top = 2 * text_size
    sheet = Image.new("RGB", (2 * plain.shape[1], top + height + height % 2), "white")  # Encoders want even sizes.
    sheet.paste(Image.fromarray(plain), (0, top))
    sheet.paste(Image.fromarray(seen), (plain.shape[1], top))
    write_line(ImageDraw.Draw(sheet), (_MARGIN, top / 2), caption, text_size, sheet.width - 2 * _MARGIN)
    return sheet


def _resized(frame, height: int) -> np.ndarray:
    """The frame in that height, aspect ratio kept."""
    width = max(1, round(height * frame.shape[1] / frame.shape[0]))
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS))


def _gif(pictures, seconds: float) -> bytes:
    """An endless animation, each picture shown that long. All share one palette, so that still parts stay still."""
    whole = Image.fromarray(np.concatenate([np.asarray(picture) for picture in pictures[:: len(pictures) // 8 + 1]]))
    palette = whole.quantize(128)
    first, *others = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    hundredths = max(2, round(100 * seconds))
    gif = io.BytesIO()
    first.save(gif, format="GIF", save_all=True, append_images=others, duration=10 * hundredths, loop=0)
    return gif.getvalue()


def _write(path, contents: bytes):
    beside = Path(f"{path}.partial")
    beside.write_bytes(contents)
    os.replace(beside, path)
