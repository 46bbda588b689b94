"""Video files: frame rates from real time stamps, and frames as arrays, decoded by PyAV.

A file from outside may be anything. ffmpeg is held to plain containers read from plain files, so that a play list
called .mp4 opens nothing else, and whatever cannot be read becomes a `VideoError` with a plain reason.

A clip that was cut off is not always an error to ffmpeg: a Matroska file just ends, an AVI's last frame is half
old picture. Hence the comparison with what the container promises.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import VideoReformatter

from attention_ar.errors import InputError

EXTENSIONS = ("avi", "mpg", "mpeg", "mp4", "mkv", "webm", "mov")

_OPTIONS = {
    "format_whitelist": "avi,mpeg,mpegvideo,mpegts,mov,matroska,webm",
    "protocol_whitelist": "file",
}
_SLOWEST, _FASTEST = 0.5, 1000.0  # frames per second that a camera may have
_UNKNOWN_FPS = 25.0


class VideoError(InputError):
    """A file from which not one frame can be had; `reason` says why, without the file's name."""

    def __init__(self, path, reason: str):
        super().__init__(f"{os.fspath(path)}: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class VideoProbe:
    """What a file says of itself without a frame being decoded.

    Attributes:
      fps: native frames per second: (n - 1) / (last - first) of the n time stamps. Where they are absent, alone or
        absurd: the container's rate.
      num_packets: frames that are there, still compressed. Each normally gives one decoded frame.
      num_missing: frames that the container promises beyond the last one there.
      container_frames: the container's own frame count; 0 where it has none (mpg, mkv, webm).
      width: of the stored picture, in pixels, before a phone's rotation is undone.
      height: of the stored picture, likewise.
      rate_known: false where neither time stamps nor container give a frame rate: `fps` is then a guess.
    """

    fps: float
    num_packets: int
    num_missing: int
    container_frames: int
    width: int
    height: int
    rate_known: bool = True


def probe(path) -> VideoProbe:
    """Reads through a file's packets without decoding them, some thousand times faster than decoding.

    Raises:
      VideoError: when it is no video file or holds no frames.
    """
    with _open(path) as container:
        stream = _picture_stream(container, path)
        timeline = _Timeline()
        try:
            for packet in container.demux(stream):
                timeline.add(packet)
        except av.error.FFmpegError as error:
            if not timeline.num_packets:
                raise VideoError(path, f"not readable ({_plain(error)})") from None
        if not timeline.num_packets:
            raise VideoError(path, "a video file without a single frame")
        return timeline.probe(container, stream)


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
        if colour not in ("bgr24", "rgb24"):
            raise InputError(f"colour={colour!r}: must be bgr24 or rgb24")
        if every < 1 or chunk < 1:
            raise InputError(f"every={every}, chunk={chunk}: both must be at least 1")
        self.num_frames = 0
        self.cut_short = None
        self._path = path
        self._size = size
        self._format = colour
        self._chunks = self._read(every, chunk)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        return next(self._chunks)

    def _read(self, every, chunk):
        reformatter = VideoReformatter()  # one for all frames: it keeps its tables, and is 3.5 times as fast
        pictures = []
        with _open(self._path) as container:
            for frame in self._whole_frames(container, _picture_stream(container, self._path)):
                if self.num_frames % every == 0:
                    pictures.append(self._picture(reformatter, frame))
                self.num_frames += 1
                if len(pictures) == chunk:
                    yield np.stack(pictures)
                    pictures = []
        if pictures:
            yield np.stack(pictures)

    def _picture(self, reformatter, frame):
        quarter_turns = round(frame.rotation / 90) % 4  # counter-clockwise, like np.rot90
        if self._size is None:
            self._size = (frame.width, frame.height) if quarter_turns % 2 else (frame.height, frame.width)
        height, width = reversed(self._size) if quarter_turns % 2 else self._size
        scaled = reformatter.reformat(frame, width, height, self._format, interpolation="BILINEAR", threads=1)
        return np.rot90(scaled.to_ndarray(), quarter_turns)

    def _whole_frames(self, container, stream):
        """Yields decoded frames up to the first damage that ends the clip; sets `cut_short`."""
        timeline = _Timeline()
        fault = _Fault()
        held = None  # a damaged frame is kept if another follows (a glitch), and dropped as the last one (a cut)
        last_shown = None
        for frame in _decode(container, stream, timeline, fault):
            if held is not None:
                yield held
            held, last_shown = frame, frame.pts
        if held is not None and held.is_corrupt:
            fault.reason = fault.reason or "the last frame is damaged"
        elif held is not None:
            yield held

        if not timeline.num_packets and not fault.reason:
            raise VideoError(self._path, "a video file without a single frame")
        if not self.num_frames:
            raise VideoError(self._path, f"not one whole frame ({fault.reason or 'the decoder gave none'})")
        found = timeline.probe(container, stream)
        if not fault.reason and found.num_missing:
            fault.reason = "the file ends early"
        if not fault.reason and timeline.frames_after(last_shown, found.fps) >= 2:
            fault.reason = "the decoder ended early"
        if fault.reason:
            promised = max(found.num_packets + found.num_missing, self.num_frames)
            self.cut_short = f"cut short: {self.num_frames} of {promised} frames are whole ({fault.reason})"


@dataclass
class _Fault:
    reason: str = ""


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
                    fault.reason = _plain(error)
            held = packet
        if not fault.reason and held is not None:
            if held.is_corrupt:
                fault.reason = "the file ends within a frame"
            else:
                yield from held.decode()
    except av.error.FFmpegError as error:
        fault.reason = _plain(error)
    try:
        yield from stream.codec_context.decode(None)
    except av.error.FFmpegError as error:
        fault.reason = fault.reason or _plain(error)


@dataclass
class _Timeline:
    """The time stamps of the packets that went by, in the stream's ticks."""

    num_packets: int = 0
    shown: list[int] = field(default_factory=list)
    decoded: list[int] = field(default_factory=list)
    duration: int = 0
    tick: Fraction = Fraction(1)

    def add(self, packet):
        if packet.size == 0 or packet.is_discard:  # nothing in it, or outside the part an edit list shows
            return
        self.num_packets += 1
        self.duration = packet.duration or self.duration
        self.tick = packet.time_base
        if packet.pts is not None:
            self.shown.append(packet.pts)
        if packet.dts is not None:
            self.decoded.append(packet.dts)

    def probe(self, container, stream) -> VideoProbe:
        rate = self._fps(stream)
        fps = rate or _UNKNOWN_FPS
        return VideoProbe(
            fps=fps,
            num_packets=self.num_packets,
            num_missing=self._num_missing(container, stream, fps),
            container_frames=stream.frames,
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            rate_known=rate is not None,
        )

    def frames_after(self, shown: int | None, fps: float) -> int:
        """How many frames' time lies between the time stamp `shown` and the last packet's."""
        if shown is None or not self.shown:
            return 0
        return round(float((max(self.shown) - shown) * self.tick) * fps)

    def _stamps(self):
        return self.shown if len(self.shown) >= len(self.decoded) else self.decoded

    def _fps(self, stream) -> float | None:
        stamps = self._stamps()
        span = (max(stamps) - min(stamps)) * self.tick if stamps else 0
        measured = (len(stamps) - 1) / span if span > 0 else None
        by_duration = 1 / (self.duration * self.tick) if self.duration else None
        for rate in (measured, stream.average_rate, by_duration, stream.guessed_rate):
            if rate is not None and math.isfinite(rate) and _SLOWEST <= rate <= _FASTEST:
                return float(rate)
        return None

    def _num_missing(self, container, stream, fps: float) -> int:
        """How many frames the container declares beyond the last one that is there.

        Time decides, because an AVI also counts the frames that its maker left out.
        """
        stamps = self._stamps()
        absent = stream.frames - self.num_packets
        if not stamps:
            return max(0, absent)
        first, last = float(min(stamps) * self.tick), float(max(stamps) * self.tick)
        missing = round((_declared_end(container, stream, first) - last) * fps) - 1
        if stream.frames:
            return max(0, absent) if missing > 0 else 0
        return missing if missing > 1 else 0  # a single one may be the rounding to milliseconds


def _declared_end(container, stream, first: float) -> float:
    """The time in seconds at which the header says the pictures end, `first` being the first one's; 0 if unsaid."""
    kind = container.format.name
    if kind == "avi" and stream.average_rate:
        return first + stream.frames / float(stream.average_rate)
    if "mov" in kind and stream.duration:
        return first + float(stream.duration * stream.time_base)
    if "matroska" in kind:
        try:
            hours, minutes, seconds = stream.metadata["DURATION"].split(":")
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        except (KeyError, ValueError):
            alone = len(container.streams) == 1  # otherwise the sound may be what lasts so long
            return container.duration / av.time_base if alone and container.duration else 0.0
    return 0.0


def _open(path):
    path = os.path.abspath(path)  # a relative name with a colon would be read as a protocol
    try:
        if os.path.isfile(path) and os.path.getsize(path) == 0:
            raise VideoError(path, "the file is empty")
        return av.open(path, options=_OPTIONS)
    except FileNotFoundError:
        raise VideoError(path, "no such file") from None
    except IsADirectoryError:
        raise VideoError(path, "a folder, not a video file") from None
    except PermissionError:
        raise VideoError(path, "no permission to read it") from None
    except av.error.FFmpegError:
        raise VideoError(path, "not a video file, or one whose header is cut off or damaged") from None


def _picture_stream(container, path):
    stream = container.streams.best("video")
    if stream is None or stream.disposition & Disposition.attached_pic:  # the cover of a song is no film
        kinds = sorted({stream.type for stream in container.streams if stream.type != "video"})
        raise VideoError(path, f"no moving pictures in it, only {' and '.join(kinds) or 'a still'}")
    if stream.codec_context is None:
        raise VideoError(path, "no decoder for its kind of video")
    stream.codec_context.thread_count = 1  # clips are decoded side by side; within one, order and errors stay plain
    return stream


def _plain(error: av.error.FFmpegError) -> str:
    return (error.strerror or str(error)).splitlines()[0]
