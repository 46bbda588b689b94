"""Video files as arrays: frames as a player shows them, decoded by PyAV, a few at a time."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np

from attention_ar.errors import InputError
from data_prep.video.decoding import WholeFrames
from data_prep.video.frame_times import FrameTimes
from data_prep.video.pictures import Pictures
from data_prep.video.sources import VideoError as VideoError  # for callers that catch it

EXTENSIONS = (
    *("avi", "mpg", "mpeg", "mp4", "mkv", "webm", "mov", "m4v", "3gp", "3g2", "ts", "mts", "m2ts", "m2t", "vob"),
    *("wmv", "asf", "flv", "f4v", "ogv", "gif", "mpe", "m1v", "m2v", "qt", "divx", "dv"),
)


def read_frames(
    path,
    *,
    every: int = 1,
    frames: Sequence[int] | None = None,
    size: tuple[int, int] | None = (224, 224),
    colour: str = "bgr24",
    chunk: int = 32,
    square_pixels: bool = True,
    to_end: bool = True,
) -> "FrameReader":
    """Decodes a file, `chunk` frames at a time, so that memory does not grow with the clip.

    Args:
      path: the file.
      every: keep frames 0, every, 2·every, …
      frames: keep these instead: their numbers, `<int>[n]`, never falling; one may be there several times.
      size: (height, width) to which frames are resized (bilinear, aspect ratio not kept); None keeps the shown
        picture's own size.
      colour: "bgr24" or "rgb24", the order of the last axis.
      chunk: frames per array; the last may have fewer.
      square_pixels: whether, without a size, pictures with non-square pixels are stretched or squeezed to their shown
        width.
      to_end: whether, after the last of `frames`, decoding goes on to the end, where missing frames become known.

    Returns:
      An iterator of `<uint8>[n, height, width, 3]`, rotated and mirrored as a player would show it. Afterwards its
      attribute `cut_short` is None for a whole clip and otherwise the reason why the rest is missing; the frames before
      that point have been given.

    Raises:
      VideoError: at the first `next`, when there is not one whole frame.
    """
    return FrameReader(path, every, frames, size, colour, chunk, square_pixels, to_end)


def upright_size(path) -> tuple[int, int]:
    """Returns (width, height) of a clip's frames as `read_frames` gives them without a size; decodes one.

    Raises:
      VideoError: where there is not one whole frame.
    """
    _, height, width, _ = next(read_frames(path, size=None, chunk=1)).shape
    return width, height


def frame_times(path) -> FrameTimes:
    """Returns when each frame of a file is shown; decodes all of it.

    Raises:
      VideoError: where there is not one whole frame.
    """
    with WholeFrames(path) as frames:
        for _ in frames:
            pass
        return frames.times


class FrameReader:
    """The iterator that `read_frames` returns.

    Attributes:
      num_frames: frames decoded so far, those that are not kept included.
      times: when they are shown.
      cut_short: once the iterator is exhausted, None or the reason why the clip's rest is missing, as one line.
    """

    def __init__(
        self,
        path,
        every: int,
        frames,
        size: tuple[int, int] | None,
        colour: str,
        chunk: int,
        square_pixels: bool,
        to_end: bool,
    ):
        if every < 1 or chunk < 1:
            raise InputError(f"every={every}, chunk={chunk}: both must be at least 1")
        Pictures(size, colour)  # Raises for invalid values at once.
        self._frames = WholeFrames(path)
        self._pictures: Pictures | None = None
        self._chunks = self._read(every, frames, (size, colour), chunk, square_pixels, to_end)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        return next(self._chunks)

    @property
    def num_frames(self) -> int:
        return self._frames.num_frames

    @property
    def times(self) -> FrameTimes:
        return self._frames.times

    @property
    def cut_short(self) -> str | None:
        return self._frames.cut_short

    @property
    def shown_size(self) -> tuple[int, int]:
        """(height, width) as a player shows them, with square pixels; known once there is a frame."""
        return self._pictures.shown_size

    def notes(self) -> str:
        """Returns what is unusual about the frames so far without being a fault, as one line; "" if nothing is."""
        askew = self._pictures is not None and self._pictures.is_askew
        slanted = "its rotation is not a multiple of 90°; it is shown as it is stored" if askew else ""
        return "; ".join(filter(None, (self.times.describe_variation(), slanted)))

    def _read(self, every, frames, picture, chunk, square_pixels, to_end):
        pictures = []
        with self._frames:
            self._pictures = Pictures(*picture, self._frames.pixel_aspect, square_pixels)
            for frame, count in _kept(self._frames, every, frames, to_end):
                new = self._pictures(frame)
                for _ in range(count):
                    pictures.append(new)
                    if len(pictures) == chunk:
                        yield np.stack(pictures)
                        pictures = []
        if pictures:
            yield np.stack(pictures)


def _kept(decoded: Iterable, every: int, numbers: Sequence[int] | None, to_end: bool):
    """Yields the frames that are kept, and how often; see `read_frames`."""
    same = groupby([] if numbers is None else np.asarray(numbers).tolist())
    wanted = ((number, len(list(times))) for number, times in same)
    number, count = (0, 1) if numbers is None else next(wanted, (-1, 0))
    for index, frame in enumerate(decoded):
        if index == number:
            yield frame, count
            number, count = (number + every, 1) if numbers is None else next(wanted, (-1, 0))
            if number < 0 and not to_end:
                return
