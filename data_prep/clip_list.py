"""What a data set is to the rest of the program: a list of labelled clips."""

from dataclasses import dataclass

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Clip:
    """One labelled video file.

    Attributes:
      path: relative to the data set's folder, with forward slashes.
      labels: its class names; one, or for a multi-label data set any number.
      group: what clips that must not be torn apart have in common (a person, a source video); "" where unknown.
      split: one of `SPLITS`.
    """

    path: str
    labels: tuple[str, ...]
    group: str
    split: str


@dataclass(frozen=True)
class ClipList:
    """A data set as it lies on disk.

    Attributes:
      dataset: its name in `data_prep.datasets.DATASETS`.
      data_dir: the folder that the clips' paths are relative to.
      clips: in the order in which they are extracted.
      class_names: sorted; a label's index is its place here.
      multi_label: whether a clip may have several labels.
      split_id: names the split, so that two results can be seen to be of the same one.
    """

    dataset: str
    data_dir: str
    clips: tuple[Clip, ...]
    class_names: tuple[str, ...]
    multi_label: bool
    split_id: str

    @property
    def groups(self) -> list[str]:
        return [clip.group for clip in self.clips]

    @property
    def splits(self) -> list[str]:
        return [clip.split for clip in self.clips]
