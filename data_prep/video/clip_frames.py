"""One clip on its way to features: the result of probing, its frames at the requested rate, and its record."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from data_prep.video.frame_times import Sampling, plan_sampling
from data_prep.video.frames import frame_times, read_frames
from data_prep.video.image_folder import DEFAULT_FPS, ImageFolder
from data_prep.video.parts import WHOLE, Part, video_of
from data_prep.video.probe import VideoProbe, probe
from data_prep.video.sources import VideoError, clip_source


@dataclass(frozen=True)
class ClipRecord:
    """The record of one clip.

    Attributes:
      path: as in the clip list.
      num_frames: its rows; 0 for a clip that is lost.
      native_fps: its frames per second; 0 for a clip that is lost.
      fps: frames per second of its rows; likewise.
      reason: why it is lost or cut short; "" for a whole one.
      note: what is unusual about it without being a fault; "" if nothing is.
      frames: the number of the frame, in its video, that each row is made of; None where row n is frame n·k, k =
        native_fps / fps.
    """

    path: str
    num_frames: int
    native_fps: float
    fps: float
    reason: str
    note: str = ""
    frames: list[int] | None = None

    def as_json(self) -> dict:
        """Returns its fields as JSON keeps them, without a note and frames where there are none."""
        return {name: value for name, value in asdict(self).items() if name not in ("note", "frames") or value}


@dataclass(frozen=True)
class ClipSource:
    """A clip before it is decoded.

    Attributes:
      name: as in the clip list.
      path: of its file, or its folder of pictures.
      found: the result of probing.
      fps: the rate to which it is reduced, see `frame_times.plan_sampling`.
      part: which part of that video it is, see `part_frames`.
      mirrored: whether left and right of its frames are swapped.
    """

    name: str
    path: str | ImageFolder
    found: VideoProbe | VideoError
    fps: float | None
    part: Part = WHOLE
    mirrored: bool = False

    @property
    def sampling(self) -> Sampling:
        """Which of its frames are taken."""
        return plan_sampling(self.found.fps, self.fps, self.found.fastest_fps)

    @property
    def num_rows(self) -> int:
        """How many rows it should give; an estimate for a part of a video."""
        if isinstance(self.found, VideoError):
            return 0
        num_frames = self.part.num_frames(self.found.num_frames, self.found.fps)
        return self.sampling.num_rows(num_frames, self.found.fps) if num_frames else 0


def probe_clip(
    data_dir: str, name: str, fps: float | None, image_fps: float = DEFAULT_FPS, before: ClipSource | None = None
) -> ClipSource:
    """Probes a clip, mostly without decoding it.

    Args:
      data_dir: the data set's folder.
      name: the clip's path in it.
      fps: the rate to which it is reduced, see `frame_times.plan_sampling`.
      image_fps: how many pictures of a folder are a second.
      before: a clip that may be another part of the same video, which then is not probed again.
    """
    video, part = video_of(data_dir, name)
    path = clip_source(os.path.join(data_dir, video), image_fps)
    if before is not None and before.path == path:
        return ClipSource(name, path, before.found, fps, part)
    try:
        return ClipSource(name, path, probe(path), fps, part)
    except VideoError as error:
        return ClipSource(name, path, error, fps, part)


def decode_clip(source: ClipSource, size: tuple[int, int]) -> Iterator[np.ndarray | ClipRecord]:
    """Yields a clip's frames, `<uint8>[n, *size, 3]` in BGR order, a few at a time, and at last its record.

    Where its rate varies, the times of all frames say which ones a lower rate keeps: such a clip is decoded twice.
    """
    if isinstance(source.found, VideoError):
        yield ClipRecord(source.name, 0, 0.0, 0.0, source.found.reason)
        return
    num_rows = 0
    try:
        sampling, rows = source.sampling, None
        if sampling.fps is not None:
            times = frame_times(source.path)
            sampling, rows = times.sampling(source.fps), times.rows(source.fps)
        reader = read_frames(source.path, every=sampling.every, frames=rows, size=size, colour="bgr24")
        for frames in reader:
            num_rows += len(frames)
            yield frames[:, :, ::-1] if source.mirrored else frames
    except VideoError as error:
        yield ClipRecord(source.name, 0, 0.0, 0.0, error.reason)
        return
    times = reader.times
    yield ClipRecord(
        path=source.name,
        num_frames=num_rows,
        native_fps=times.fps,
        fps=sampling.rate(times.fps),
        reason=reader.cut_short or "",
        note=reader.notes(),
        frames=None if sampling.fps is None else rows[:num_rows].tolist(),
    )
