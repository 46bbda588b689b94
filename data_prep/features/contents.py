"""The contents of a features file, in either format on disk."""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from attention_ar.errors import InputError
from data_prep.datasets.clip_list import MIRRORED, SPLITS
from data_prep.video.parts import video_of


@dataclass(frozen=True)
class FeaturesFile:
    """The contents of a features file of F rows and N clips.

    Attributes:
      features: <float16>[F, K, K, D]; from `open_features` a read-only memory map, or `record_rows.RecordRows`.
      names: N paths of clips, relative to data_dir.
      first_row: <int64>[N].
      num_frames: <int64>[N], at least 1 each.
      native_fps: <float64>[N], frames per second of the clips.
      fps: <float64>[N], frames per second of the rows, the "stored rate" of `attention_ar.blocks.frame_skip`.
      labels: <uint8>[N, C], ones and zeros.
      groups: N names, "" where unknown.
      splits: N of "train", "validation", "test".
      truncated: <bool>[N], of clips that are cut short on disk.
      class_names: C names, sorted.
      multi_label: whether a clip may have several labels.
      recipe: all that the features' values depend on.
      split_id: names the split.
      data_dir: the folder that held the clips.
      plan_sha256: of the extraction's plan; "" for a file that was not extracted.
      frame: <int64>[F], the number of the frame in its clip that each row is made of; None where row n of each clip
        is frame n·k, k = round(native_fps / fps).
      levels: the features of further levels by name, <float16>[F, K, K, D] each and like `features`, where the network
        gave several; the recipe's `levels` then names all of them, that of `features` first.
    """

    features: np.ndarray
    names: list[str]
    first_row: np.ndarray
    num_frames: np.ndarray
    native_fps: np.ndarray
    fps: np.ndarray
    labels: np.ndarray
    groups: list[str]
    splits: list[str]
    truncated: np.ndarray
    class_names: list[str]
    multi_label: bool
    recipe: dict
    split_id: str
    data_dir: str
    plan_sha256: str = ""
    frame: np.ndarray | None = None
    levels: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def level_names(self) -> list[str]:
        """The names of all levels, that of `features` first; empty where there is one, which needs no name."""
        return self.recipe.get("levels", [])

    @property
    def bytes_per_frame(self) -> int:
        """Of all levels."""
        return sum(2 * math.prod(rows.shape[1:]) for rows in (self.features, *self.levels.values()))

    def at_level(self, name: str) -> "FeaturesFile":
        """Returns a file whose `features` are those of one level, and that has no other.

        Raises:
          InputError: where it has no such level.
        """
        if name not in self.level_names:
            raise InputError(f"level {name}: the features file has {', '.join(self.level_names) or 'one level alone'}")
        features = self.levels.get(name, self.features)
        return dataclasses.replace(self, features=features, levels={})

    @cached_property
    def source(self) -> np.ndarray:
        """Of which clip each one is the mirror image, `<int64>[N]`; a clip that is not mirrored is its own source."""
        source = np.arange(len(self.names))
        if "mirror" in self.recipe:
            of_name = {name: number for number, name in enumerate(self.names)}
            for number, name in enumerate(self.names):
                if name.endswith(MIRRORED):
                    source[number] = of_name[name.removesuffix(MIRRORED)]
        return source

    @property
    def mirrored(self) -> np.ndarray:
        """Which clips are mirror images of others, `<bool>[N]`; these are for training alone."""
        return self.source != np.arange(len(self.names))

    def clip_path(self, video: int, data_dir=None) -> Path:
        """Returns the path of a video's clip, in the folder of its extraction unless another is given; of a part of a
        longer video the path of that.

        A mirrored clip has the file of its source.

        Raises:
          InputError: where it is not there.
        """
        folder = Path(data_dir or self.data_dir)
        path = folder / video_of(folder, self.names[self.source[video]])[0]
        if not path.exists():
            raise InputError(f"{path}: the clip is missing; --data_dir must name the folder that holds it")
        return path

    def clip_frames(self, video: int) -> np.ndarray:
        """Returns the number of the frame in its clip that each row of a video is made of, `<int64>[n]`, never falling.

        Where extraction kept every frame, they are 0, 1, 2, … Those of a part of a longer video are counted in that,
        see `clip_path`.
        """
        first, count = self.first_row[video], self.num_frames[video]
        if self.frame is not None:
            return self.frame[first : first + count]
        return np.arange(count) * round(self.native_fps[video] / self.fps[video])


def named_levels(recipe) -> list[str]:
    """Returns the further levels that a recipe names, of whatever file; check_consistent refuses what is no recipe."""
    names = recipe.get("levels", []) if isinstance(recipe, dict) else []
    return names[1:] if isinstance(names, list) and all(map(_is_name, names)) else []


def _is_name(level) -> bool:
    """Whether it can be a level's name; a path, which leads out of a file, cannot."""
    return isinstance(level, str) and re.fullmatch("[a-z0-9_]+", level) is not None


def stored_as(level: str) -> str:
    """Returns the name under which files keep the features of a further level."""
    return f"features.{level}"


def check_consistent(path, contents: FeaturesFile):
    """Raises `InputError`, which names `path`, where the parts of `contents` contradict each other."""

    def require(holds, what: str):
        if not holds:
            raise InputError(f"{path}: contradicts itself: {what}; extract it again")

    num_frames, num_clips = contents.num_frames, len(contents.names)
    for name in contents.names:
        path_in_folder = PurePosixPath(name)
        inside = path_in_folder.parts and not path_in_folder.is_absolute() and ".." not in path_in_folder.parts
        require(inside, f"the clip {name!r} leaves the folder of clips")
    names = contents.class_names
    require(
        isinstance(names, list) and all(isinstance(name, str) for name in names),
        "class_names is no list of names",
    )
    require(isinstance(contents.recipe, dict), "the recipe is no table")
    require(isinstance(contents.recipe.get("random"), bool), "the recipe does not say whether the network is random")
    levels = contents.recipe.get("levels")
    if levels is not None:
        named = isinstance(levels, list) and len(levels) > 1 and all(map(_is_name, levels))
        require(named and len(set(levels)) == len(levels), "the recipe's levels are no names")
        require(levels[1:] == list(contents.levels), "its levels are not those of the recipe")
    for level, rows in contents.levels.items():
        require(len(rows) == len(contents.features), f"{level} has another number of rows than features")
    require(contents.labels.shape == (num_clips, len(names)), f"labels do not fit {len(names)} classes")
    require(num_frames.ndim == 1 and np.all(num_frames >= 1), "a clip has no frames")
    require(num_frames.sum() == len(contents.features), "the clips' frames do not add up to the rows")
    first_row = np.cumsum(num_frames) - num_frames
    require(np.array_equal(contents.first_row, first_row), "first_row does not follow from num_frames")
    for fps in (contents.native_fps, contents.fps):
        require(fps.shape == (num_clips,) and np.all(np.isfinite(fps) & (fps > 0)), "a frame rate is not positive")
    if contents.frame is not None:
        require(contents.frame.shape == (len(contents.features),), "frame has another number of rows than features")
        begins = np.isin(np.arange(len(contents.frame)), first_row)
        rising = np.diff(contents.frame, prepend=0) >= 0
        require(np.all(contents.frame >= 0) and np.all(rising | begins), "the frames of a clip are not in order")
    require(np.all(contents.labels <= 1), "a label is neither 0 nor 1")
    require(contents.multi_label or np.all(contents.labels.sum(axis=1) == 1), "a clip has not exactly one label")
    require(set(contents.splits) <= set(SPLITS), f"a split is none of {', '.join(SPLITS)}")
    if "mirror" in contents.recipe:
        there = set(contents.names)
        for name, split in zip(contents.names, contents.splits, strict=True):
            if name.endswith(MIRRORED):
                require(name.removesuffix(MIRRORED) in there, f"{name!r} is mirrored, and its source is not there")
                require(split == "train", f"{name!r} is mirrored, and not in the training part")
