"""Pictures of where a model looks: filmstrips as in the paper's Fig. 1, videos and animations."""

import io
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from attention_ar.errors import InputError
from data_prep.common.files import write_whole
from experiments.pictures.level_shares import legend, level_strip
from experiments.pictures.mp4 import Mp4
from experiments.pictures.overlay import overlay, upsample_attention
from experiments.pictures.sheet import MARGIN, Panel, Row, evenly_spaced, nearest_to_even, resized, write_sheet
from experiments.pictures.text import write_line

MAX_ANIMATION_FRAMES, MAX_ANIMATION_FPS = 60, 12.5


def filmstrip(
    frames,
    attention,
    caption: str,
    path,
    num_columns: int = 8,
    height: int = 120,
    seconds=None,
    levels=None,
    level_names=(),
):
    """Writes a PNG: frames above, the same frames under the attention below, both evenly spaced in time.

    The step numbers below count all frames that were given, from 1.

    Args:
      frames: `<uint8>[n, H, W, 3]`, RGB.
      attention: l_t for each, `<float>[n, K²]`.
      caption: a line above the picture, for example class names and probabilities.
      path: of the PNG.
      num_columns: how many frames are shown, at most n.
      height: of each, in pixels; less where the file would otherwise exceed `sheet.MAX_BYTES`.
      seconds: when each frame is shown, `<float>[n]`, where they are not equally far apart.
      levels: m_t for each frame, `<float>[n, V]`, of a model that attends to several levels: a third row shows it, from
        the first frame to the last.
      level_names: V names.

    Raises:
      InputError: where there are no frames, or not as many as glimpses.
    """
    frames, attention = _matching(frames, attention)
    shown = evenly_spaced(len(frames), num_columns) if seconds is None else nearest_to_even(seconds, num_columns)
    seen = Row(frames[shown], attention[shown], under=[f"t = {number}" for number in shown + 1])
    rows = [Row(frames[shown]), seen]
    if levels is not None:
        size = height, round(len(shown) * height * frames.shape[2] / frames.shape[1])
        rows.append(Row(level_strip(levels, size)[None], under=[f"attention on {legend(level_names)}"]))
    write_sheet([Panel(caption, rows)], path, height=height)


def attention_movie(frames, attention, path, *, fps: float, caption="", height: int = 224, seconds=None):
    """Writes an MP4 or, where the path ends in .gif, an animation: each frame beside itself under the attention.

    An animation is half as high and leaves frames out where there are more than `MAX_ANIMATION_FPS` per second or
    `MAX_ANIMATION_FRAMES` in all; it lasts as long as the video.

    Args:
      frames, attention: see `filmstrip`.
      path: of the file.
      fps: frames per second.
      caption: a line above the picture, or a list of n of them, one for each frame.
      height: of the frames, in pixels.
      seconds: when each frame is shown, `<float>[n]`, where they are not equally far apart.

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
        pictures = list(pictures)
        lengths = [every / fps] * len(pictures)
        if seconds is not None:
            lengths = np.diff(np.asarray(seconds)[::every], append=seconds[-1] + 1 / fps)
        write_whole(path, _gif(pictures, lengths))
    else:
        with Mp4(path, fps) as video:
            for picture, time in zip(pictures, [None] * len(frames) if seconds is None else seconds, strict=True):
                video.add(picture, time)


def _matching(frames, attention):
    frames, attention = np.asarray(frames), np.asarray(attention)
    if len(frames) != len(attention) or not len(frames):
        raise InputError(f"{len(frames)} frames and {len(attention)} glimpses: must be as many, and at least one")
    return frames, attention


def _side_by_side(frame, attention, caption: str, height: int, text_size: int) -> Image.Image:
    plain = resized(frame, height)
    seen = overlay(plain, upsample_attention(attention, plain.shape[:2]))
    top = 2 * text_size
    sheet = Image.new("RGB", (2 * plain.shape[1], top + height + height % 2), "white")  # Encoders need even sizes.
    sheet.paste(Image.fromarray(plain), (0, top))
    sheet.paste(Image.fromarray(seen), (plain.shape[1], top))
    write_line(ImageDraw.Draw(sheet), (MARGIN, top / 2), caption, text_size, sheet.width - 2 * MARGIN)
    return sheet


def _gif(pictures, seconds) -> bytes:
    """A looping animation, each picture shown that long. All share one palette, so that still parts stay still."""
    whole = Image.fromarray(np.concatenate([np.asarray(picture) for picture in pictures[:: len(pictures) // 8 + 1]]))
    palette = whole.quantize(128)
    first, *others = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    milliseconds = [10 * max(2, round(100 * length)) for length in seconds]
    gif = io.BytesIO()
    first.save(gif, format="GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)
    return gif.getvalue()
