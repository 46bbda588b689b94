"""A look into the clips before their frames are decoded: how many there are, at which rate, and what is broken."""

import contextlib
import itertools
from dataclasses import replace

from tqdm import tqdm

from data_prep.common.map_ahead import map_ahead
from data_prep.datasets.clip_list import Clip, ClipList
from data_prep.video.clip_frames import ClipSource, probe_clip
from data_prep.video.image_folder import DEFAULT_FPS
from data_prep.video.parts import video_of


def probe_clips(clip_list: ClipList, begin: int, fps: float | None, workers: int) -> list[ClipSource]:
    """Probes the clips from the `begin`th one on, in as many threads as there are workers; see `probe_clip`.

    Clips of one video that follow one another are probed once.
    """

    def probe_video(clips: list[Clip]) -> list[ClipSource]:
        found: list[ClipSource] = []
        for clip in clips:
            before = found[-1] if found else None
            source = probe_clip(clip_list.data_dir, clip.path, fps, clip_list.image_fps or DEFAULT_FPS, before)
            found.append(replace(source, name=clip.name, mirrored=clip.mirrored))
        return found

    rest = clip_list.clips[begin:]
    by_video = itertools.groupby(rest, key=lambda clip: video_of(clip_list.data_dir, clip.path)[0])
    sources: list[ClipSource] = []
    with (
        contextlib.closing(map_ahead(probe_video, (list(clips) for _, clips in by_video), workers=workers)) as probed,
        tqdm(total=len(rest), desc="probing the clips", unit="clip", disable=None, leave=False) as progress,
    ):
        for found in probed:
            sources += found
            progress.update(len(found))
    return sources
