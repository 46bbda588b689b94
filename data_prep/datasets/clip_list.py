"""The interface of a data set: a list of labelled clips."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attention_ar.errors import InputError, some
from data_prep.downloads.fetch import Source

SPLITS = ("train", "validation", "test")

MIRRORED = "#mirrored"
"""The end of the name of a clip that is another one mirrored, in a features file."""

_SPLIT_WORDS = {
    **{"train": "train", "training": "train"},
    **{"val": "validation", "valid": "validation", "validation": "validation"},
    **{"test": "test", "testing": "test"},
}


def split_of(word: str) -> str | None:
    """Returns which of `SPLITS` a word names, as people write it (`Training`, `val`), or None."""
    return _SPLIT_WORDS.get(word.strip().casefold())


@dataclass(frozen=True)
class Clip:
    """One labelled video file, or folder of pictures.

    Attributes:
      path: relative to the data set's folder, with forward slashes; of a part of a video see `parts.name_of_part`.
      labels: its class names; one, or for a multi-label data set any number.
      group: what clips that must stay in one part share (a person, a source video); "" where unknown.
      split: one of `SPLITS`.
      mirrored: whether its frames are those of the file with left and right swapped, see `mirrors`.
    """

    path: str
    labels: tuple[str, ...]
    group: str
    split: str
    mirrored: bool = False

    @property
    def name(self) -> str:
        """Its name in a features file: the path, marked if it is mirrored."""
        return self.path + MIRRORED * self.mirrored


@dataclass(frozen=True)
class ClipList:
    """A data set as it lies on disk.

    Attributes:
      dataset: its name in `data_prep.datasets.registry.DATASETS`.
      data_dir: the folder that the clips' paths are relative to.
      clips: in the order in which they are extracted.
      class_names: sorted; a label's index is its place here.
      multi_label: whether a clip may have several labels.
      split_id: names the split, so that two results can be seen to be of the same one.
      missing: clips that the data set's lists name and that are not on disk; they are not among `clips`.
      image_fps: how many pictures of a folder are a second; None where no clip is a folder of pictures.
    """

    dataset: str
    data_dir: str
    clips: tuple[Clip, ...]
    class_names: tuple[str, ...]
    multi_label: bool
    split_id: str
    missing: tuple[Clip, ...] = ()
    image_fps: float | None = None

    @property
    def groups(self) -> list[str]:
        return [clip.group for clip in self.clips]

    @property
    def splits(self) -> list[str]:
        return [clip.split for clip in self.clips]


def notes_on_classes(class_names: Sequence[str], in_training: Collection[str]) -> list[str]:
    """Returns one line for a single class, and one for classes that cannot be learnt.

    Args:
      class_names: all of them.
      in_training: those that a training clip has.
    """
    absent = [name for name in class_names if name not in in_training]
    notes = [f"one class only, {class_names[0]}: there is nothing to classify"] if len(class_names) == 1 else []
    if absent:
        notes.append(f"classes without a clip to train on, which no model can learn: {some(absent, 10)}")
    return notes


class NothingHere(InputError):
    """A folder lacks what a data set needs; perhaps it is still packed."""


@dataclass(frozen=True)
class Download:
    """One file that a data set is made of.

    Attributes:
      what: what is in it.
      sources: its servers, tried one after the other; none for a file that no server hosts any more.
      by_hand: how a user gets it when no source has it.
    """

    what: str
    sources: tuple[Source, ...]
    by_hand: str


@dataclass(frozen=True)
class Dataset:
    """A data set, as the programs see it.

    Attributes:
      list_clips: function of (folder, split, seed) that returns all clips which the data set's lists name, whether
        they are on disk or not. `split` is what --split says: "" or the name of an official split. It raises
        `NothingHere` for a folder that does not hold the data set.
      official_split: whether its authors published train and test. Faults in these are reported and not refused.
      known_bad: names of files, without their ending, that are bad in the copies in circulation, and how.
      downloads: its files.
    """

    list_clips: Callable[[Path, str, int], ClipList]
    official_split: bool = False
    known_bad: Mapping[str, str] = field(default_factory=dict)
    downloads: tuple[Download, ...] = ()
