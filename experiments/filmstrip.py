"""Pictures of where a model looks: filmstrips as in the paper's Fig. 1, films and animations."""

import os
from pathlib import Path

import av
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from attention_ar.errors import InputError
from experiments.overlay import overlay, upsample_attention

_FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
_MARGIN = 4


def _resized(frames, height: int) -> list[np.ndarray]:
    """Frames of that height and of even width (which video encoders want), aspect ratio kept."""
    width = max(2, 2 * round(height * frames.shape[2] / frames.shape[1] / 2))
    return [np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS)) for frame in frames]


def _overlays(frames, attention) -> list[np.ndarray]:
    maps = upsample_attention(attention, frames[0].shape[:2])
    return [overlay(frame, enlarged) for frame, enlarged in zip(frames, maps, strict=True)]


def _text(draw, position, text: str, size: int, width: int, fill="black"):
    """Writes one line, in smaller letters or shortened where it would be too long."""
    font = ImageFont.truetype(str(_FONT), size)
    while draw.textlength(text, font) > width and font.size > 9:
        font = ImageFont.truetype(str(_FONT), font.size - 1)
    while draw.textlength(text, font) > width and len(text) > 1:
        text = text[:-2] + "…"
    draw.text(position, text, fill=fill, font=font)


def filmstrip(frames, attention, caption: str, path, num_columns: int = 8, height: int = 112):
    """Writes a PNG: frames above, the same frames under the attention below, both evenly spaced in time.

    Args:
      frames: `<uint8>[n, H, W, 3]`, RGB.
      attention: l_t for each, `<float>[n, K²]`.
      caption: a line above the picture.
      path: of the PNG.
      num_columns: how many frames are shown, at most n.
      height: of each, in pixels.
    """
    _check(frames, attention)
    shown = np.unique(np.linspace(0, len(frames) - 1, num_columns).round().astype(int))
    plain = _resized(np.asarray(frames)[shown], height)
    under = _overlays(plain, np.asarray(attention)[shown])
    width = plain[0].shape[1]
    top, numbers = 24, 16
    sheet = Image.new(
        "RGB",
        (len(shown) * (width + _MARGIN) + _MARGIN, top + 2 * (height + _MARGIN) + numbers),
        "white",
    )
    draw = ImageDraw.Draw(sheet)
    _text(draw, (_MARGIN, 4), caption, 14, sheet.width - 2 * _MARGIN)
    for column, number in enumerate(shown):
        x = _MARGIN + column * (width + _MARGIN)
        for row, picture in enumerate((plain[column], under[column])):
            sheet.paste(Image.fromarray(picture), (x, top + row * (height + _MARGIN)))
        _text(draw, (x, sheet.height - numbers), f"t = {number + 1}", 10, width, fill="gray")
    _save(sheet.quantize(256, dither=Image.Dither.NONE), path, format="PNG", optimize=True)


def attention_movie(frames, attention, path, *, fps: float, caption: str = "", height: int = 224):
    """Writes an MP4 or, where the path ends in .gif, an animation: each frame beside itself under the attention.

    Args:
      frames, attention: see `filmstrip`.
      path: of the file.
      fps: frames per second. An animation shows every second frame and is half as large.
      caption: a line above the picture.
      height: of the frames, in pixels.
    """
    _check(frames, attention)
    frames, attention = np.asarray(frames), np.asarray(attention)
    animated = str(path).endswith(".gif")
    if animated:
        frames, attention, height, fps = frames[::2], attention[::2], height // 2, fps / 2
    plain = _resized(frames, height)
    pictures = []
    for left, right in zip(plain, _overlays(plain, attention), strict=True):
        sheet = Image.new("RGB", (left.shape[1] + right.shape[1], height + 24), "white")
        sheet.paste(Image.fromarray(left), (0, 24))
        sheet.paste(Image.fromarray(right), (left.shape[1], 24))
        _text(ImageDraw.Draw(sheet), (_MARGIN, 4), caption, 14 if not animated else 11, sheet.width - 2 * _MARGIN)
        pictures.append(sheet)
    if animated:
        palette = [picture.quantize(128, dither=Image.Dither.NONE) for picture in pictures]
        milliseconds = max(20, round(1000 / fps))
        _save(palette[0], path, format="GIF", save_all=True, append_images=palette[1:], duration=milliseconds, loop=0)
    else:
        _save_mp4(pictures, path, fps)


def _check(frames, attention):
    if len(frames) != len(attention) or not len(frames):
        raise InputError(f"{len(frames)} frames and {len(attention)} glimpses: must be as many, and at least one")


def _save(image, path, **options):
    beside = f"{path}.partial"
    image.save(beside, **options)
    os.replace(beside, path)


def _save_mp4(pictures, path, fps: float):
    beside = f"{path}.partial"
    with av.open(beside, "w", format="mp4") as container:
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        stream = container.add_stream(codec, rate=max(1, round(fps)))
        stream.width, stream.height = pictures[0].size
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode(None))
    os.replace(beside, path)
