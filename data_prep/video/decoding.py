"""The one reader of videos: the frames of a file, a pipe or a camera, each with the time at which it is shown.

A video that was cut off is not always an error to ffmpeg: a Matroska file just ends, half of an AVI's last frame is
the old picture. Hence the comparison with the container's promise. Everything that cannot be read becomes a
`VideoError` with a plain reason; `sources` defines what may be opened.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import av
from av.stream import Disposition
from av.video.frame import PictureType

from data_prep.video.frame_times import UNKNOWN_FPS, Clock, FrameTimes, TimesInTheMaking, possible_rate
from data_prep.video.image_folder import left_out
from data_prep.video.promise import Packets, num_missing
from data_prep.video.sources import Pipe, VideoError, hint, is_endless, open_video

_LEAP = 600  # seconds between two frames, from which on the clock may have been set anew …
_BROADCAST_LEAP = 10  # … or in MPEG program and transport streams, whose clocks often are
_MOST_FIELDS = 64  # that a decoder holds back


class WholeFrames(contextlib.AbstractContextManager):
    """Iterates over the whole frames of a source, up to the first damage that ends it.

    Frames that an edit list hides are not shown, and those before the first one that can be decoded (of a broadcast
    that was not recorded from its beginning) are left out. A pipe or a camera does not end at a packet
    that cannot be decoded: the packet is left out.

    Args:
      source: a path, or what `find_source` returned.
      stopped: asked before every frame; once it is true, the source counts as read to its end.

    Attributes:
      container, stream: PyAV's, once this context is entered.
      said_fps: the container's rate; None if it has none.
      pixel_aspect: width by height of a stored pixel, None if unknown.
      num_frames: frames given so far.
      ticks: when the frame that was given last is shown, in ticks of `tick` seconds from the first one.
      cut_short: once the iterator is exhausted, None or the reason why the clip's rest is missing, as one line.
      num_missing: then, how many frames the container promises beyond the last one there.

    Raises:
      VideoError: on entering, and at the first `next` when there is not one whole frame.
    """

    def __init__(self, source, stopped: Callable[[], bool] = lambda: False):
        self._source, self._stopped = source, stopped
        self.num_frames = self.ticks = self.num_missing = 0
        self.cut_short: str | None = None
        self._times = None if is_endless(source) else TimesInTheMaking()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            if isinstance(self._source, Pipe):
                stack.enter_context(contextlib.closing(self._source))
            self.container = stack.enter_context(open_video(self._source))
            self.stream = stream = picture_stream(self.container, self._source)
            self._open = stack.pop_all()
        self.tick: Fraction = stream.time_base
        self.said_fps = said_rate(stream, 0)
        self.pixel_aspect = stream.sample_aspect_ratio
        self._clock = make_clock(self.container, stream)
        self._stamp = _Stamps(self.container)
        return self

    def __exit__(self, *_):
        self._open.close()

    @property
    def times(self) -> FrameTimes:
        """When the frames so far are shown. Not of a pipe or a camera, which may have no end."""
        return self._times.whole(self.tick, self.said_fps)

    def __iter__(self) -> Iterator[av.VideoFrame]:
        decoder = _Decoder(self.container, self.stream, _Fault(forgiven=is_endless(self._source)))
        fault = decoder.fault
        pending = None  # a damaged frame is kept if another follows (a glitch), and dropped if it is the last (a cut)
        for frame in decoder:
            if self._stopped():
                break
            if pending is not None:
                self._show(pending)
                yield pending
            pending = frame
        if pending is not None and pending.is_corrupt:
            fault.reason = fault.reason or "the last frame is damaged"
        elif pending is not None:
            self._show(pending)
            yield pending

        if self._stopped():
            return
        packets = decoder.packets
        if not packets.num_shown and not fault.reason:
            raise VideoError(self._source, "a video file without a single frame")
        if not self.num_frames:
            reason = f"not one whole frame ({fault.reason or decoder.undecodable or 'the decoder gave none'})"
            raise VideoError(self._source, f"{reason}{hint(self._source, self.container)}")
        self._judge(decoder, None if pending is None else pending.pts)

    def _show(self, frame):
        if not self.num_frames:
            self.said_fps = said_rate(self.stream, frame.duration)
        self.num_frames += 1
        self.ticks = self._clock(self._stamp(frame))
        if self._times is not None:
            self._times.add(self.ticks)

    def _judge(self, decoder: "_Decoder", last_shown: int | None):
        fault, packets = decoder.fault, decoder.packets
        per_frame = decoder.packets_per_frame()
        fps = self.said_fps or UNKNOWN_FPS if self._times is None else self.times.fps
        missing = num_missing(self._source, self.container, self.stream, packets, per_frame * fps)
        self.num_missing = -(-missing // per_frame)
        if not fault.reason and self.num_missing:
            fault.reason = "the file ends early"
        if not (fault.reason or fault.forgiven) and decoder.num_after(last_shown) >= 2 * per_frame:
            fault.reason = "the decoder ended early"
        if fault.reason:
            promised = max(-(-packets.num_shown // per_frame) + self.num_missing, self.num_frames)
            self.cut_short = f"cut short: {self.num_frames} of {promised} frames are whole ({fault.reason})"
        elif fault.num_lost:
            self.cut_short = f"{fault.num_lost} packets could not be decoded"


@dataclass
class _Fault:
    forgiven: bool  # whether decoding continues after it
    reason: str = ""
    num_lost: int = 0

    def note(self, error: av.error.FFmpegError):
        if self.forgiven:
            self.num_lost += 1
        else:
            self.reason = plain_reason(error)


@dataclass
class _Decoder:
    """Iterates over the frames as the decoder gives them, and stops giving at its first error.

    Attributes:
      packets: all packets so far.
      undecodable: why the first ones could not be, "" if they could.
    """

    container: av.container.InputContainer
    stream: av.VideoStream
    fault: _Fault
    packets: Packets = field(default_factory=Packets)
    undecodable: str = ""

    def __post_init__(self):
        self._has_key = False
        self._lacks_key: bool | None = None
        self._stamps: deque[int] = deque(maxlen=_MOST_FIELDS)  # of the last packets; after a restart, of those since
        self._last_dts: int | None = None
        self._num_given = self._num_since = 0  # frames, and packets since the first of them

    def __iter__(self):
        fault = self.fault
        pending = None  # one packet waits: the last one may be cut off, and then it is no whole frame
        try:
            for packet in self.container.demux(self.stream):
                self.packets.add(packet)
                if fault.reason or packet.size == 0:  # an empty packet would tell the decoder that all is over
                    continue
                if pending is not None:
                    yield from self._decode(pending)
                pending = packet
            if not fault.reason and pending is not None:
                if pending.is_corrupt:
                    fault.reason = "the file ends within a frame"
                else:
                    yield from self._decode(pending)
        except av.error.FFmpegError as error:
            fault.reason = fault.reason or plain_reason(error)
        fault.reason = fault.reason or left_out(self.container)[1]
        try:
            for frame in self.stream.codec_context.decode(None):
                if not self._lacks_reference(frame):
                    yield frame
        except av.error.FFmpegError as error:
            fault.reason = fault.reason or plain_reason(error)

    def packets_per_frame(self) -> int:
        """Returns 2 where most frames are two packets, one a field, else 1."""
        return 2 if self._num_given > 1 and self._num_since >= 1.5 * (self._num_given - 1) else 1

    def num_after(self, shown: int | None) -> int:
        """Returns how many packets there are whose time stamps are later than `shown`."""
        return 0 if shown is None else len({stamp for stamp in self._stamps if stamp > shown})

    def _decode(self, packet):
        if self._lacks_key is None:  # The decoders of H.264 and H.265 give no frames whose reference frame is missing.
            self._lacks_key = not packet.is_keyframe and self.stream.codec_context.name not in ("h264", "hevc")
        self._has_key |= packet.is_keyframe
        if not packet.is_discard:
            if self._last_dts is not None and packet.dts is not None and packet.dts < self._last_dts:
                self._stamps.clear()
            self._last_dts = packet.dts
            if packet.pts is not None:
                self._stamps.append(packet.pts)
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            if self._has_key or self._num_given:
                self.fault.note(error)
            else:
                self.undecodable = self.undecodable or plain_reason(error)
            return
        frames = [frame for frame in frames if not self._lacks_reference(frame)]
        self._num_since += self._num_given > 0
        self._num_given += len(frames)
        yield from frames

    def _lacks_reference(self, frame) -> bool:
        """Whether a frame depends on a missing reference frame (before the first keyframe)."""
        if self._lacks_key and (frame.key_frame or frame.pict_type == PictureType.I):
            self._lacks_key = False
        return self._lacks_key


class _Stamps:
    """Returns the time stamp at which each frame is shown.

    AVI has no presentation time stamps, and ffmpeg's for H.264 are out of order; use the packet's DTS.
    """

    def __init__(self, container):
        self._is_avi = container.format.name == "avi"
        self._last: dict[str, int] = {}
        self._falls = {"pts": 0, "dts": 0}

    def __call__(self, frame: av.VideoFrame) -> int | None:
        stamps = {"pts": frame.pts, "dts": frame.dts}
        for name, stamp in stamps.items():
            if stamp is not None:
                self._falls[name] += stamp < self._last.get(name, stamp)
                self._last[name] = stamp
        if self._is_avi or self._falls["pts"] > self._falls["dts"]:
            return frame.dts
        return frame.dts if frame.pts is None else frame.pts


def said_rate(stream, duration: int) -> float | None:
    """Returns the container's rate in frames per second, or None.

    Args:
      stream: its pictures.
      duration: of one of them, in ticks; 0 where it is not known.
    """
    by_duration = 1 / (duration * stream.time_base) if duration else None
    return possible_rate(stream.average_rate, by_duration, stream.guessed_rate)


def make_clock(container, stream) -> Clock:
    """Returns the clock of a container's pictures."""
    rates = filter(None, (possible_rate(rate) for rate in (stream.average_rate, stream.guessed_rate)))
    gap = round(1 / max(rates, default=UNKNOWN_FPS) / stream.time_base)
    broadcast = container.format.name in ("mpeg", "mpegts", "mpegvideo")
    leap = round((_BROADCAST_LEAP if broadcast else _LEAP) / stream.time_base)
    return Clock(gap, leap, trusted=not broadcast)


def picture_stream(container, source):
    """Returns the moving pictures of an open container, or raises `VideoError`."""
    stream = container.streams.best("video")
    if stream is None or stream.disposition & Disposition.attached_pic:  # a song's cover picture is not a video
        kinds = sorted({stream.type for stream in container.streams if stream.type != "video"})
        raise VideoError(source, f"no moving pictures in it, only {' and '.join(kinds) or 'a still'}")
    if stream.codec_context is None:
        raise VideoError(source, "no decoder for its kind of video")
    stream.codec_context.thread_count = 1  # clips are decoded side by side; within one, order and errors stay plain
    return stream


def plain_reason(error: av.error.FFmpegError) -> str:
    """Returns ffmpeg's message for an error, in one line."""
    return (error.strerror or str(error)).splitlines()[0]
