"""A first look at a folder of clips: what is in it, and whether there is anything to learn from it."""

import hashlib
import json
import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from attention_ar.errors import InputError, printable, some
from data_prep.common.files import write_json
from data_prep.datasets.clip_list import Clip, ClipList
from data_prep.datasets.registry import list_clips
from data_prep.datasets.verification import format_faults, summary, verify, write_verdicts
from data_prep.video.frame_times import UNKNOWN_FPS
from data_prep.video.parts import video_of
from experiments.first_steps.settings import SHORT


@dataclass(frozen=True)
class Look:
    """What a look at a folder shows.

    Attributes:
      clip_list: all its clips.
      clips: those that can be read.
      num_frames: theirs.
      fps: their frames per second.
      faults: a table of the clips at fault; "" if there are none.
      verdict: how many are sound, as one line.
    """

    clip_list: ClipList
    clips: list[Clip]
    num_frames: np.ndarray
    fps: np.ndarray
    faults: str
    verdict: str

    @property
    def in_training(self) -> np.ndarray:
        """Which clips are in the training part, `<bool>[n]`. A validation part is part of it here."""
        return np.array([clip.split != "test" for clip in self.clips])

    @property
    def training(self) -> list[Clip]:
        """The clips of the training part."""
        return [clip for clip in self.clips if clip.split != "test"]

    @property
    def has_test(self) -> bool:
        """Whether there is a test part."""
        return any(clip.split == "test" for clip in self.clips)

    @property
    def groups_known(self) -> bool:
        """Whether any training clip has a group."""
        return any(clip.group for clip in self.training)

    @property
    def units(self) -> list[str]:
        """The group of each training clip; where none are known, each is one of its own."""
        return [clip.group or f"\0{clip.path}" for clip in self.training]

    def per_class(self) -> Counter:
        """Returns the number of training clips of each class."""
        counts = Counter({name: 0 for name in self.clip_list.class_names})
        counts.update(label for clip in self.training for label in clip.labels)
        return counts

    def describe(self) -> list[str]:
        """Returns what is in the folder, in a few lines."""
        seconds = self.num_frames / self.fps
        groups = f"{len(set(self.units))} groups" if self.groups_known else "groups unknown"
        rates = sorted({f"{rate:.3g}" for rate in self.fps}, key=float)
        return [
            f"{len(self.clips)} clips of {min(seconds):.1f} to {max(seconds):.1f} s at {some(rates, 3)} frames per "
            f"second; {len(self.training)} to train on ({groups}), {len(self.clips) - len(self.training)} to test on",
            "training clips: " + some([f"{name} {count}" for name, count in self.per_class().items()], 20),
        ]

    def notes(self) -> list[str]:
        """Returns one line for each thing that a user should know before training."""
        notes = []
        short = [clip.path for clip, n in zip(self.clips, self.num_frames, strict=True) if n < SHORT]
        if short:
            notes.append(
                f"{len(short)} clips have fewer than {SHORT} frames: {some(short, 3)}; their last frame is repeated"
            )
        units = {name: set() for name in self.clip_list.class_names}
        for clip, unit in zip(self.training, self.units, strict=True):
            for label in clip.labels:
                units[label].add(unit)
        if lonely := [name for name, found in units.items() if len(found) == 1]:
            what = "in one group only" if self.groups_known else "with one training clip only"
            notes.append(
                f"classes {what}: {some(lonely, 10)}; cross-validation cannot learn them where it tests them, and "
                "counts their clips as wrong"
            )
        return notes


def look_at(data_dir, folder: Path) -> Look:
    """Lists the clips of a folder and decodes each once; a second call finds that done.

    Leaves `videos.csv`, the table of `data_prep.verify_videos`, and `look.json`.

    Args:
      data_dir: the folder of clips.
      folder: for the two files.

    Raises:
      InputError: where nothing can be learnt, see `require_enough`; where `folder` has features of other clips; and
        see `list_clips`.
    """
    clip_list = list_clips("folder", data_dir)
    if len(clip_list.class_names) == 1:
        raise InputError(
            f"{data_dir}: one class only, {printable(clip_list.class_names[0])}: there is nothing to classify; add a "
            "folder of clips of something else"
        )
    identity, path = _identity(clip_list), folder / "look.json"
    found = _read(path)
    if found.get("identity") != identity:
        if found and (folder / "features.h5").exists():
            raise InputError(
                f"{folder}: was made of other clips than {data_dir} has now; name another --workdir for these"
            )
        videos = [video_of(clip_list.data_dir, clip.path) for clip in clip_list.clips]
        verdicts = verify(clip_list.data_dir, list(dict.fromkeys(path for path, _ in videos)), min_frames=SHORT)
        write_verdicts(folder / "videos.csv", verdicts)
        scans = {verdict.scan.path: verdict.scan for verdict in verdicts}
        rates = [scans[path].fps or UNKNOWN_FPS for path, _ in videos]
        found = {
            "identity": identity,
            "num_frames": [
                part.num_frames(scans[path].num_frames, fps) for (path, part), fps in zip(videos, rates, strict=True)
            ],
            "fps": rates,
            "faults": format_faults(verdicts),
            "verdict": summary(verdicts),
        }
        write_json(path, found)
    readable = np.array(found["num_frames"]) > 0
    look = Look(
        clip_list=clip_list,
        clips=[clip for clip, can in zip(clip_list.clips, readable, strict=True) if can],
        num_frames=np.array(found["num_frames"])[readable],
        fps=np.array(found["fps"])[readable],
        faults=found["faults"],
        verdict=found["verdict"],
    )
    require_enough(look, data_dir)
    return look


def require_enough(look: Look, data_dir):
    """Refuses clips from which nothing can be learnt and estimated.

    Raises:
      InputError: with less than two classes of two training clips each, and with less than two groups.
    """
    counts = look.per_class()
    if sum(count >= 2 for count in counts.values()) < 2:
        had = some([f"{name} {count}" for name, count in counts.items()], 10)
        raise InputError(
            f"{data_dir}: too few clips to learn from: {len(look.clips)} that can be read, to train on: {had}; at "
            "least two classes need two training clips each, and ten of each are a beginning"
        )
    if len(set(look.units)) < 2:
        raise InputError(
            f"{data_dir}: all {len(look.training)} training clips are of one group, {printable(look.units[0])}: what "
            "to expect of others cannot be estimated; add clips of another person or place, or leave the column group "
            "out"
        )


def _identity(clip_list: ClipList) -> str:
    """Returns a hash of the list of clips and of their files' sizes."""
    folder = clip_list.data_dir
    sizes = [os.stat(os.path.join(folder, video_of(folder, clip.path)[0])).st_size for clip in clip_list.clips]
    told = [asdict(clip_list), sizes]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _read(path: Path) -> dict:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
