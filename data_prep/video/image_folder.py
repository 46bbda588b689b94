"""Frames that are pictures already: a folder of numbered files, 000001.jpg …, as a video that PyAV opens.

Pillow decodes the pictures, and ffmpeg gets them one after the other in the plainest of formats. So everything that
reads videos also reads such folders, whatever kinds and sizes of pictures they hold.
"""

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import av
import numpy as np
from PIL import Image, ImageOps

from attention_ar.errors import InputError

PICTURES = ("jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff", "ppm", "pgm")
DEFAULT_FPS = 25.0

_KINDS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM")
_NUMBERED = re.compile(r"(.*?)([0-9]{1,18})([^0-9]*)", re.ASCII | re.DOTALL)
# Opening reads one picture: a damaged one further on must not prevent it.
_OPTIONS = {"format_whitelist": "ppm_pipe", "protocol_whitelist": "none", "probesize": "32"}
_BUFFER = 1 << 20  # bytes


@dataclass(frozen=True)
class ImageFolder(os.PathLike):
    """A folder of numbered pictures, and how many of them make a second."""

    path: str
    fps: float = DEFAULT_FPS

    def __fspath__(self):
        return self.path


def is_picture(name: str) -> bool:
    """Returns whether a file's name is that of a numbered picture."""
    stem, extension = os.path.splitext(name)
    return extension[1:].lower() in PICTURES and any(c in "0123456789" for c in stem) and not name.startswith(".")


def in_order(names: Iterable[str]) -> list[str]:
    """Returns the names of the pictures among files, by their numbers: 9.jpg comes before 10.jpg.

    The last number in a name counts.

    Raises:
      ValueError: there is none; or there are several series, such as rgb_1.jpg and flow_1.jpg; or a number is there
        twice.
    """
    names = sorted(name for name in names if is_picture(name))
    series: dict[tuple, list[tuple[int, str]]] = {}
    for name in names:
        before, number, after = _NUMBERED.fullmatch(os.path.splitext(name)[0]).groups()
        series.setdefault((before, after), []).append((int(number), name))
    if not series:
        raise ValueError("a folder without numbered pictures, such as 000001.jpg; not a video")
    if len(series) > 1:
        shown = " and ".join(files[0][1] for files in list(series.values())[:2])
        raise ValueError(
            f"pictures of {len(series)} series, such as {shown}; a folder must hold the frames of one clip"
        )
    (numbered,) = series.values()
    numbered.sort()
    number, count = Counter(number for number, _ in numbered).most_common(1)[0]
    if count > 1:
        twice = " and ".join(name for n, name in numbered if n == number)
        raise ValueError(f"two pictures for one frame, {twice}; a folder must hold the frames of one clip")
    return [name for _, name in numbered]


def picture_names(folder) -> list[str]:
    """Returns the names of a folder's pictures, see `in_order`; raises `ValueError` also where it cannot be read."""
    try:
        return in_order(entry.name for entry in os.scandir(folder) if entry.is_file())
    except OSError as error:
        raise ValueError(f"not readable ({error.strerror})") from None


def gap_in(folder) -> str:
    """Returns between which pictures of a folder some are missing; "" where none is, or where nothing can be known.

    Every k-th frame alone is no gap.
    """
    try:
        names = picture_names(folder)
    except ValueError:
        return ""
    numbers = [int(_NUMBERED.fullmatch(os.path.splitext(name)[0])[2]) for name in names]
    steps = np.diff(numbers)
    if not len(steps) or (steps == steps[0]).all():
        return ""
    at = int(np.flatnonzero(steps > steps.min())[0])
    return f"between {names[at]} and {names[at + 1]}"


def check_image_fps(fps: float):
    """Raises `InputError` unless it can be a frame rate."""
    if not (math.isfinite(fps) and 0.1 <= fps <= 1000):
        raise InputError(f"image_fps={fps:g}: must be pictures per second, at least 0.1 and at most 1000")


def open_folder(folder: ImageFolder) -> av.container.InputContainer:
    """Opens a folder of pictures. A picture that cannot be decoded ends the video; `left_out` says so afterwards.

    Raises:
      ValueError: see `in_order`; with the reason why no picture can be read.
    """
    names = picture_names(folder)
    options = {**_OPTIONS, "framerate": str(folder.fps)}
    stream = _Stream(folder.path, names)
    try:
        container = av.open(stream, format="ppm_pipe", options=options, buffer_size=_BUFFER)
    except av.error.FFmpegError as error:
        raise ValueError(f"not one picture can be read ({stream.damage or error.strerror})") from None
    if stream.num_left == len(names):
        container.close()
        raise ValueError(f"not one picture can be read ({stream.damage})")
    return container


def left_out(container) -> tuple[int, str]:
    """Returns how many pictures of an open folder come too late to be read, and why; 0 and "" of any other container.

    It is known once all packets were read.
    """
    stream = getattr(container.file, "file", None)
    return (stream.num_left, stream.damage) if isinstance(stream, _Stream) and stream.damage else (0, "")


class _Stream:
    """The pictures as one stream of bytes, for PyAV to read.

    It ends before a picture that cannot be decoded. An error there would cost those before it that wait in ffmpeg.

    Attributes:
      num_left: pictures that were not given yet.
      damage: why it has ended, as one line; "" where nothing is wrong.
    """

    def __init__(self, folder: str, names: list[str]):
        self.num_left, self.damage = len(names), ""
        self._pictures = self._read(folder, names)
        self._rest = memoryview(b"")

    def read(self, size: int) -> bytes:
        if not self._rest:
            self._rest = memoryview(next(self._pictures, b""))
        data, self._rest = self._rest[:size], self._rest[size:]
        return bytes(data)

    def _read(self, folder: str, names: list[str]) -> Iterator[bytes]:
        for name in names:
            try:
                pixels = _decode(os.path.join(folder, name))
            except Exception as error:  # Any error of a decoder on an untrusted file.
                unknown = isinstance(error, Image.UnidentifiedImageError)
                reason = "no picture" if unknown else getattr(error, "strerror", None) or str(error)
                self.damage = " ".join(f"{name} cannot be decoded ({reason})".split())[:200]
                return
            self.num_left -= 1
            height, width, _ = pixels.shape
            yield b"P6\n%d %d\n255\n" % (width, height) + pixels.tobytes()


def _decode(path: str) -> np.ndarray:
    """Returns a picture, upright, `<uint8>[height, width, 3]`."""
    with Image.open(path, formats=_KINDS) as image:
        if image.width * image.height > Image.MAX_IMAGE_PIXELS:  # Of these, Pillow only warns.
            raise ValueError(f"{image.width}×{image.height} pixels are too many")
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16 bits of grey
            grey = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
            return np.repeat(grey[..., None], 3, 2)
        return np.asarray(image.convert("RGB"))
