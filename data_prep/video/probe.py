"""Frame rate, number of frames and size of a video file, mostly without decoding it."""

import os
from dataclasses import dataclass

import av
import numpy as np

from data_prep.video.decoding import WholeFrames, make_clock, picture_stream, plain_reason, said_rate
from data_prep.video.frame_times import FrameTimes, TimesInTheMaking
from data_prep.video.image_folder import picture_names
from data_prep.video.pictures import Orientation, display_matrix, orientation, shown_size
from data_prep.video.promise import Packets, num_missing
from data_prep.video.sources import VideoError, open_video

_TRIAL = 24  # packets


@dataclass(frozen=True)
class VideoProbe:
    """Facts about a video before its features are extracted.

    Attributes:
      fps: native frames per second: (n − 1) / (last − first) of the times at which the n frames are shown. Where they
        are absent, alone or absurd: the container's rate.
      num_frames: number of existing frames.
      num_missing: frames that the container promises beyond the last one there.
      container_frames: the container's own count; 0 where it has none (mpg, mkv, webm).
      width: of the picture as a player shows it, in pixels.
      height: likewise.
      rate_known: false where neither times nor container give a frame rate: `fps` is then a guess.
      fastest_fps: frames per second at its fastest moment where the rate varies by more than a quarter, else None.
    """

    fps: float
    num_frames: int
    num_missing: int
    container_frames: int
    width: int
    height: int
    rate_known: bool = True
    fastest_fps: float | None = None


def probe(path) -> VideoProbe:
    """Reads through a file's packets, some thousand times faster than decoding it, and decodes the first few.

    If packets and frames differ in number (field-coded video, pictures that are not shown, a beginning that cannot be
    decoded), the whole file is decoded.

    Raises:
      VideoError: when it is no video file or holds no frames.
    """
    with open_video(path) as container:
        stream = picture_stream(container, path)
        if os.path.isdir(path):  # Only by decoding them all would more be known.
            times = FrameTimes(np.arange(len(picture_names(path))), stream.time_base, said_rate(stream, 0))
            return _found(times, 0, 0, (stream.height, stream.width))
        packets, pts, dts, trial = Packets(), [], [], _Trial(stream)
        try:
            for packet in container.demux(stream):
                packets.add(packet)
                if packet.size:
                    trial.add(packet)
                    if not packet.is_discard:
                        pts.append(packet.pts)
                        dts.append(packet.dts)
        except av.error.FFmpegError as error:
            if not packets.num_shown:
                raise VideoError(path, f"not readable ({plain_reason(error)})") from None
        if not packets.num_shown:
            raise VideoError(path, "a video file without a single frame")
        trial.end()
        times = _times(container, stream, packets.duration, pts, dts)
        # In H.264, any frame may be two fields, which look like a varying rate.
        if trial.agrees and not (times.varies and stream.codec_context.name == "h264"):
            missing = num_missing(path, container, stream, packets, times.fps)
            return _found(times, missing, stream.frames, trial.shown_size)
    with WholeFrames(path) as frames:
        for _ in frames:
            pass
        return _found(frames.times, frames.num_missing, frames.stream.frames, trial.shown_size)


def _found(times: FrameTimes, num_missing: int, container_frames: int, size: tuple[int, int]) -> VideoProbe:
    return VideoProbe(
        fps=times.fps,
        num_frames=len(times.ticks),
        num_missing=num_missing,
        container_frames=container_frames,
        width=size[1],
        height=size[0],
        rate_known=times.rate_known,
        fastest_fps=times.fastest_fps,
    )


def _times(container, stream, duration: int, pts: list[int | None], dts: list[int | None]) -> FrameTimes:
    """When the pictures of packets are shown."""
    said_fps = said_rate(stream, duration)
    clock, times = make_clock(container, stream), TimesInTheMaking()
    for stamp in dts if None in pts else _in_order(pts, dts):
        times.add(clock(stamp))
    return times.whole(stream.time_base, said_fps)


def _in_order(pts: list[int], dts: list[int | None]) -> list[int]:
    """Sorts time stamps that come in the order of decoding, each piece of a joined file by itself."""
    ordered, begin, last = [], 0, None
    for number, stamp in enumerate(dts):
        if stamp is not None and last is not None and stamp < last:
            ordered += sorted(pts[begin:number])
            begin = number
        last = stamp
    return ordered + sorted(pts[begin:])


class _Trial:
    """Decodes the first packets, to see whether each is a frame."""

    def __init__(self, stream):
        self._stream = stream
        self._num_packets = self._num_frames = self._num_expected = 0
        self.agrees = True
        self.shown_size = shown_size(stream.width, stream.height, stream.sample_aspect_ratio)

    def add(self, packet):
        if self._num_packets == _TRIAL or not self.agrees:
            return
        self.agrees = bool(self._num_packets) or packet.is_keyframe
        self._num_packets += 1
        self._num_expected += not packet.is_discard
        self._decode(packet)
        if self._num_packets == _TRIAL:
            self._decode(None)

    def end(self):
        """Takes the end of the file."""
        if self._num_packets < _TRIAL and self.agrees:
            self._decode(None)
        self.agrees = self.agrees and self._num_frames == self._num_expected

    def _decode(self, packet):
        try:
            frames = self._stream.codec_context.decode(packet)
        except av.error.FFmpegError:
            self.agrees = False
            return
        if frames and not self._num_frames:
            matrix = display_matrix(frames[0])
            turn = Orientation() if matrix is None else orientation(matrix)
            self.shown_size = turn.size(*self.shown_size) if turn else (frames[0].height, frames[0].width)
        self._num_frames += len(frames)
