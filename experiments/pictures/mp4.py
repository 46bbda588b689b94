"""Videos as files."""

import contextlib
import os
from fractions import Fraction

import av
from PIL import Image

from attention_ar.errors import InputError, writing
from attention_ar.whole_file import path_beside

_TICK = Fraction(1, 30000)  # of a second
_SLOWEST = Fraction(1, 1001)


class Mp4(contextlib.AbstractContextManager):
    """Writes an MP4, picture after picture; the file appears when it is complete, and not at all after an error.

    Args:
      path: of the file.
      fps: pictures per second.
    """

    def __init__(self, path, fps: float):
        self._path, self._beside, self._fps = path, path_beside(path), fps

    def __enter__(self):
        with self._writing():
            path = os.path.abspath(self._beside)  # a relative name with a colon would be read as a protocol
            self._container = av.open(path, "w", format="mp4", options={"movflags": "faststart"})
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        self._stream = self._container.add_stream(
            codec, rate=max(Fraction(self._fps).limit_denominator(1001), _SLOWEST)
        )
        self._stream.pix_fmt = "yuv420p"
        self._is_empty, self._ticks = True, -1
        return self

    def add(self, picture: Image.Image, seconds: float | None = None):
        """Adds a picture; all must be of one size, whose sides are even.

        Args:
          picture: the next one.
          seconds: when it is shown, from the beginning on; None shows it 1/fps after the one before. All pictures have
            a time, or none has.
        """
        if self._is_empty:
            self._stream.width, self._stream.height = picture.size
            self._is_empty = False
            if seconds is not None:
                self._stream.codec_context.time_base = _TICK
        frame = av.VideoFrame.from_image(picture)
        if seconds is not None:
            self._ticks = max(self._ticks + 1, round(seconds / _TICK))
            frame.pts, frame.time_base = self._ticks, _TICK
        with self._writing():
            self._container.mux(self._stream.encode(frame))

    def __exit__(self, kind, *_):
        try:
            if kind is not None or self._is_empty:
                return
            with self._writing():
                self._container.mux(self._stream.encode(None))
                self._container.close()
                os.replace(self._beside, self._path)
        finally:
            with contextlib.suppress(
                OSError, av.error.FFmpegError
            ):  # A file that could not be written before cannot be now.
                self._container.close()
            with contextlib.suppress(FileNotFoundError):
                os.remove(self._beside)

    @contextlib.contextmanager
    def _writing(self):
        try:
            with writing(self._path):
                yield
        except av.error.FFmpegError as error:
            raise InputError(f"{self._path}: cannot be written ({error.strerror})") from error
