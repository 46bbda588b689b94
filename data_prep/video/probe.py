"""Frame rates and frame counts of video files, from their packets."""

import math
from dataclasses import dataclass, field
from fractions import Fraction

import av
from av.stream import Disposition

from data_prep.video.sources import VideoError, open_video

_SLOWEST = 0.5  # frames per second that a camera may have
_FASTEST = 1000.0
_UNKNOWN_FPS = 25.0


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
    with open_video(path) as container:
        stream = picture_stream(container, path)
        timeline = Timeline()
        try:
            for packet in container.demux(stream):
                timeline.add(packet)
        except av.error.FFmpegError as error:
            if not timeline.num_packets:
                raise VideoError(path, f"not readable ({plain_reason(error)})") from None
        if not timeline.num_packets:
            raise VideoError(path, "a video file without a single frame")
        return timeline.probe(container, stream)


@dataclass
class _Stamps:
    """Time stamps that went by: how many, the least and the greatest. A long video leaves nothing else behind."""

    count: int = 0
    first: int = 0
    last: int = 0

    def add(self, stamp: int | None):
        if stamp is not None:
            self.first = min(self.first, stamp) if self.count else stamp
            self.last = max(self.last, stamp) if self.count else stamp
            self.count += 1


@dataclass
class Timeline:
    """The packets that went by; times are in the stream's ticks."""

    num_packets: int = 0
    shown: _Stamps = field(default_factory=_Stamps)
    decoded: _Stamps = field(default_factory=_Stamps)
    duration: int = 0
    tick: Fraction = Fraction(1)

    def add(self, packet):
        if packet.size == 0 or packet.is_discard:  # nothing in it, or outside the part an edit list shows
            return
        self.num_packets += 1
        self.duration = packet.duration or self.duration
        self.tick = packet.time_base
        self.shown.add(packet.pts)
        self.decoded.add(packet.dts)

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
        if shown is None or not self.shown.count:
            return 0
        return round(float((self.shown.last - shown) * self.tick) * fps)

    def _stamps(self) -> _Stamps:
        return self.shown if self.shown.count >= self.decoded.count else self.decoded

    def _fps(self, stream) -> float | None:
        stamps = self._stamps()
        span = (stamps.last - stamps.first) * self.tick
        measured = (stamps.count - 1) / span if span > 0 else None
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
        if not stamps.count:
            return max(0, absent)
        first, last = float(stamps.first * self.tick), float(stamps.last * self.tick)
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


def picture_stream(container, path):
    stream = container.streams.best("video")
    if stream is None or stream.disposition & Disposition.attached_pic:  # the cover of a song is no film
        kinds = sorted({stream.type for stream in container.streams if stream.type != "video"})
        raise VideoError(path, f"no moving pictures in it, only {' and '.join(kinds) or 'a still'}")
    if stream.codec_context is None:
        raise VideoError(path, "no decoder for its kind of video")
    stream.codec_context.thread_count = 1  # clips are decoded side by side; within one, order and errors stay plain
    return stream


def plain_reason(error: av.error.FFmpegError) -> str:
    return (error.strerror or str(error)).splitlines()[0]
