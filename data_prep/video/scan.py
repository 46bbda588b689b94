"""Whole clips decoded once: their contents, and which clips have the same."""

import hashlib
import os
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from data_prep.common.cores import num_cores
from data_prep.common.progress import Progress
from data_prep.common.read_ahead import read_ahead
from data_prep.video.frames import read_frames
from data_prep.video.sources import VideoError

_CHUNK = 8  # frames in memory per thread; they have the clip's own size


@dataclass(frozen=True)
class ClipScan:
    """The result of decoding one clip.

    Attributes:
      path: as it was asked for.
      num_frames: whole frames.
      fps: frames per second; 0 if the file gives none, or an absurd one.
      width: of the frames as a player shows them, in pixels.
      height: likewise.
      content: sha256 of all decoded frames in the size in which they are stored; "" for an unreadable clip.
      unreadable: why no frame could be read; "" if there are frames.
      cut_short: why the rest is missing; "" for a whole clip.
      note: what is unusual without being a fault; "" if nothing is.
    """

    path: str
    num_frames: int = 0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    content: str = ""
    unreadable: str = ""
    cut_short: str = ""
    note: str = ""


def scan_clips(folder, paths: Sequence[str]) -> list[ClipScan]:
    """Decodes clips, one per core at a time.

    Args:
      folder: that the paths are relative to.
      paths: of the clips.
    """
    return _in_threads(lambda path: _scan(folder, path), paths)


def same_contents(folder, paths: Sequence[str]) -> list[list[str]]:
    """Finds the clips whose decoded frames are the same, whatever their files are called or how they are packed.

    Only clips that share their first frame are decoded further. A clip encoded again, cut or mirrored has other frames
    and is not found. Unreadable clips match no other.

    Args:
      folder: that the paths are relative to.
      paths: of the clips.

    Returns:
      Lists of two and more paths with the same content, sorted.
    """
    first = _in_threads(lambda path: _first_frame(folder, path), paths)
    alike = [path for of_content in _groups(paths, first) for path in of_content]
    return _groups(alike, [scan.content for scan in scan_clips(folder, alike)])


def _groups(paths: Iterable[str], contents: Iterable[str]) -> list[list[str]]:
    with_content = defaultdict(list)
    for path, content in zip(paths, contents, strict=True):
        with_content[content].append(path)
    return sorted(sorted(same) for content, same in with_content.items() if content and len(same) > 1)


def _in_threads(look: Callable, paths: Sequence[str]) -> list:
    found = []
    with Progress(len(paths), 0, "clip") as progress:
        for one in read_ahead(paths, lambda path: [look(path)], workers=num_cores()):
            found.append(one)
            progress.advance(1)
    return found


def _scan(folder, path: str) -> ClipScan:
    file = os.path.join(folder, path)
    digest = hashlib.sha256()
    try:
        reader = read_frames(file, size=None, chunk=_CHUNK, square_pixels=False)
        for frames in reader:
            _add(digest, frames)
    except VideoError as error:
        return ClipScan(path, unreadable=error.reason)
    return ClipScan(
        path=path,
        num_frames=reader.num_frames,
        fps=reader.times.fps if reader.times.rate_known and not _avi_of_rate_zero(file) else 0.0,
        width=reader.shown_size[1],
        height=reader.shown_size[0],
        content=digest.hexdigest(),
        cut_short=reader.cut_short or "",
        note=reader.notes(),
    )


def _avi_of_rate_zero(file: str) -> bool:
    """Whether the header of an AVI has no frame rate; ffmpeg then silently assumes 25."""
    if os.path.isdir(file):
        return False
    with open(file, "rb") as stream:
        head = stream.read(1 << 16)
    if head[:4] != b"RIFF" or head[8:12] != b"AVI ":
        return False
    video = head.find(b"strh", 12)
    while video >= 0 and head[video + 8 : video + 12] != b"vids":
        video = head.find(b"strh", video + 4)
    if video < 0 or len(head) < video + 36:
        return False
    scale, rate = struct.unpack_from("<II", head, video + 28)
    return scale == 0 or rate == 0


def _first_frame(folder, path: str) -> str:
    digest = hashlib.sha256()
    try:
        _add(digest, next(read_frames(os.path.join(folder, path), size=None, chunk=1, square_pixels=False)))
    except VideoError:
        return ""
    return digest.hexdigest()


def _add(digest, frames: np.ndarray):
    digest.update(repr(frames.shape[1:]).encode())
    digest.update(np.ascontiguousarray(frames))
