"""Video files: frame rates from real time stamps, and frames as arrays, decoded by PyAV.

Whatever cannot be read becomes a `VideoError` with a plain reason; `video_sources` says what may be opened.

A clip that was cut off is not always an error to ffmpeg: a Matroska file just ends, an AVI's last frame is half
old picture. Hence the comparison with what the container promises.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from attention_ar.errors import InputError
from data_prep.video.probe import Timeline, picture_stream, plain_reason
from data_prep.video.sources import VideoError, hint, is_endless, open_video

EXTENSIONS = ("avi", "mpg", "mpeg", "mp4", "mkv", "webm", "mov")


def read_frames(
    path,
    *,
    every: int = 1,
    size: tuple[int, int] | None = (224, 224),
    colour: str = "bgr24",
    chunk: int = 32,
) -> "FrameReader":
    """Decodes a file, `chunk` frames at a time, so that memory does not grow with the clip.

    Args:
      path: the file.
      every: keep frames 0, every, 2·every, …
      size: (height, width) to which frames are resized (bilinear, aspect ratio not kept); None keeps the
        upright picture's own size.
      colour: "bgr24" or "rgb24", the order of the last axis.
      chunk: frames per array; the last may have fewer.

    Returns:
      An iterator of `<uint8>[n, height, width, 3]`, upright as a player would show it. Afterwards its attribute
      `cut_short` is None for a whole clip and otherwise the reason why the rest is missing; the frames before that
      point have been given.

    Raises:
      VideoError: at the first `next`, when there is not one whole frame.
    """
    return FrameReader(path, every, size, colour, chunk)


def upright_size(path) -> tuple[int, int]:
    """Returns (width, height) of a clip's frames as `read_frames` gives them; decodes one.

    Raises:
      VideoError: where there is not one whole frame.
    """
    _, height, width, _ = next(read_frames(path, size=None, chunk=1)).shape
    return width, height


class FrameReader:
    """The iterator that `read_frames` returns.

    Attributes:
      num_frames: frames decoded so far, those that `every` leaves out included.
      cut_short: once the iterator is exhausted, None or the reason why the clip's rest is missing, as one line.
    """

    def __init__(self, path, every: int, size: tuple[int, int] | None, colour: str, chunk: int):
        if every < 1 or chunk < 1:
            raise InputError(f"every={every}, chunk={chunk}: both must be at least 1")
        self._frames = WholeFrames(path)
        self._chunks = self._read(Pictures(size, colour), every, chunk)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        return next(self._chunks)

    @property
    def num_frames(self) -> int:
        return self._frames.num_frames

    @property
    def cut_short(self) -> str | None:
        return self._frames.cut_short

    def _read(self, picture, every, chunk):
        pictures = []
        with self._frames:
            for number, frame in enumerate(self._frames):
                if number % every == 0:
                    pictures.append(picture(frame))
                if len(pictures) == chunk:
                    yield np.stack(pictures)
                    pictures = []
        if pictures:
            yield np.stack(pictures)


class Pictures:
    """A function from decoded frames to arrays, upright as a player would show them.

    Args:
      size: (height, width) to which frames are resized (bilinear, aspect ratio not kept); a function of the first
        frame's own size that returns it; or None for the own size itself. All are of the size of the first.
      colour: "bgr24" or "rgb24", the order of the last axis.
    """

    def __init__(self, size: tuple[int, int] | Callable | None, colour: str):
        if colour not in ("bgr24", "rgb24"):
            raise InputError(f"colour={colour!r}: must be bgr24 or rgb24")
        self._size, self._format = size, colour
        self._reformatter = VideoReformatter()  # one for all frames: it keeps its tables, and is 3.5 times as fast

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """Returns `<uint8>[height, width, 3]`."""
        quarter_turns = round(frame.rotation / 90) % 4  # counter-clockwise, like np.rot90
        if not isinstance(self._size, tuple):
            own = (frame.width, frame.height) if quarter_turns % 2 else (frame.height, frame.width)
            self._size = self._size(*own) if self._size else own
        height, width = reversed(self._size) if quarter_turns % 2 else self._size
        scaled = self._reformatter.reformat(frame, width, height, self._format, interpolation="BILINEAR", threads=1)
        return np.rot90(scaled.to_ndarray(), quarter_turns)


class WholeFrames(contextlib.AbstractContextManager):
    """Iterates over the whole frames of a source, up to the first damage that ends it.

    What a pipe or a camera sends does not end with a packet that cannot be decoded: it is left out.

    Args:
      source: a path, or what `video_sources.find_source` returned.
      stopped: asked before every frame; once it is true, the source counts as read to its end.

    Attributes:
      said: what the container says, once this context is entered; its `fps` rests on no time stamp.
      num_frames: frames given so far.
      cut_short: once the iterator is exhausted, None or the reason why the clip's rest is missing, as one line.

    Raises:
      VideoError: on entering, and at the first `next` when there is not one whole frame.
    """

    def __init__(self, source, stopped: Callable[[], bool] = lambda: False):
        self._source, self._stopped = source, stopped
        self.num_frames = 0
        self.cut_short = None

    def __enter__(self):
        self._container = open_video(self._source)
        try:
            self._stream = picture_stream(self._container, self._source)
        except VideoError:
            self._container.close()
            raise
        self.said = Timeline().probe(self._container, self._stream)
        return self

    def __exit__(self, *_):
        self._container.close()

    def __iter__(self) -> Iterator[av.VideoFrame]:
        timeline = Timeline()
        fault = _Fault(forgiven=is_endless(self._source))
        held = None  # a damaged frame is kept if another follows (a glitch), and dropped as the last one (a cut)
        last_shown = None
        for frame in _decode(self._container, self._stream, timeline, fault):
            if self._stopped():
                break
            if held is not None:
                self.num_frames += 1
                yield held
            held, last_shown = frame, frame.pts
        if held is not None and held.is_corrupt:
            fault.reason = fault.reason or "the last frame is damaged"
        elif held is not None:
            self.num_frames += 1
            yield held

        if self._stopped():
            return
        if not timeline.num_packets and not fault.reason:
            raise VideoError(self._source, "a video file without a single frame")
        if not self.num_frames:
            reason = f"not one whole frame ({fault.reason or 'the decoder gave none'})"
            raise VideoError(self._source, f"{reason}{hint(self._source, self._container)}")
        found = timeline.probe(self._container, self._stream)
        if not fault.reason and found.num_missing:
            fault.reason = "the file ends early"
        if not (fault.reason or fault.forgiven) and timeline.frames_after(last_shown, found.fps) >= 2:
            fault.reason = "the decoder ended early"
        if fault.reason:
            promised = max(found.num_packets + found.num_missing, self.num_frames)
            self.cut_short = f"cut short: {self.num_frames} of {promised} frames are whole ({fault.reason})"
        elif fault.num_lost:
            self.cut_short = f"{fault.num_lost} packets could not be decoded"


@dataclass
class _Fault:
    forgiven: bool  # whether decoding goes on after it
    reason: str = ""
    num_lost: int = 0

    def note(self, error: av.error.FFmpegError):
        if self.forgiven:
            self.num_lost += 1
        else:
            self.reason = plain_reason(error)


def _decode(container, stream, timeline, fault):
    """Yields frames as the decoder gives them, and stops giving at its first error."""
    held = None  # one packet waits: the last one may be cut off, and then it is no whole frame
    try:
        for packet in container.demux(stream):
            timeline.add(packet)
            if fault.reason or packet.size == 0:  # an empty packet would tell the decoder that all is over
                continue
            if held is not None:
                try:
                    yield from held.decode()
                except av.error.FFmpegError as error:
                    fault.note(error)
            held = packet
        if not fault.reason and held is not None:
            if held.is_corrupt:
                fault.reason = "the file ends within a frame"
            else:
                yield from held.decode()
    except av.error.FFmpegError as error:
        fault.reason = plain_reason(error)
    try:
        yield from stream.codec_context.decode(None)
    except av.error.FFmpegError as error:
        fault.reason = fault.reason or plain_reason(error)
