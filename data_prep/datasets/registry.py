"""The data sets by name. Each is one file with one function that makes a `ClipList` of a folder on disk."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

from absl import logging

from attention_ar.errors import InputError, printable, some
from data_prep.datasets.clip_list import ClipList, Dataset, NothingHere, notes_on_classes
from data_prep.datasets.folder import FOLDER
from data_prep.datasets.hmdb51 import HMDB51
from data_prep.datasets.hollywood2 import HOLLYWOOD2
from data_prep.datasets.ucf11 import UCF11
from data_prep.datasets.ucf101 import UCF101
from data_prep.downloads.archives import unpack_archives
from data_prep.video.image_folder import DEFAULT_FPS, check_image_fps, gap_in
from data_prep.video.parts import video_of

DATASETS: dict[str, Dataset] = {
    "folder": FOLDER,
    "hmdb51": HMDB51,
    "hollywood2": HOLLYWOOD2,
    "ucf101": UCF101,
    "ucf11": UCF11,
}


def find_dataset(name: str) -> Dataset:
    """Returns the data set of this name, or raises `InputError`."""
    if name not in DATASETS:
        raise InputError(f"dataset={name}: no such data set; there are {', '.join(sorted(DATASETS))}")
    return DATASETS[name]


def is_complete(dataset: Dataset, folder: Path) -> bool:
    """Whether all clips and lists are there, unpacked."""
    try:
        return not _without_missing(dataset.list_clips(folder, "", 0)).missing
    except InputError:
        return False


def list_clips(
    dataset: str,
    data_dir,
    *,
    split: str = "",
    seed: int = 0,
    allow_missing: bool = False,
    image_fps: float = DEFAULT_FPS,
) -> ClipList:
    """Lists the clips of a data set. Where something is lacking, the archives in the folder are unpacked first.

    Args:
      dataset: a name in `DATASETS`.
      data_dir: where the data set lies on disk.
      split: which of its official splits; "" for the first one, or for a data set that has only one.
      seed: of the splits that are made at random.
      allow_missing: continue without the clips that are listed and not on disk; they become `ClipList.missing`.
      image_fps: how many pictures are a second, where a clip is a folder of pictures.

    Raises:
      InputError: for an unknown name, a folder that does not hold this data set, and clips that are missing.
    """
    found = find_dataset(dataset)
    check_image_fps(image_fps)
    folder = Path(os.path.abspath(data_dir))
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; it should be the data set's, as it is distributed")

    def look() -> ClipList:
        return _without_missing(found.list_clips(folder, split, seed))

    try:
        clip_list = look()
    except NothingHere:
        if not unpack_archives(folder):
            raise
        clip_list = look()
    if clip_list.missing and unpack_archives(folder):
        clip_list = look()
    if clip_list.missing:
        _report_missing(clip_list, allow_missing)
    trained = {label for clip in clip_list.clips if clip.split == "train" for label in clip.labels}
    for note in notes_on_classes(clip_list.class_names, trained):
        logging.warning("%s: %s", clip_list.data_dir, printable(note))
    return _with_image_fps(clip_list, image_fps)


def _without_missing(clip_list: ClipList) -> ClipList:
    there = [os.path.exists(path) for path in _paths(clip_list)]
    split_up = {
        side: tuple(clip for clip, is_there in zip(clip_list.clips, there, strict=True) if is_there == side)
        for side in (True, False)
    }
    if all(there):
        return clip_list
    lacking = hashlib.sha256("\n".join(clip.path for clip in split_up[False]).encode()).hexdigest()[:8]
    return replace(
        clip_list,
        clips=split_up[True],
        missing=split_up[False],
        split_id=f"{clip_list.split_id}-without{len(split_up[False])}-{lacking}",
    )


def _paths(clip_list: ClipList) -> list[str]:
    """Returns the path of each clip or, of a part of a video, the path of that."""
    folder = clip_list.data_dir
    return [os.path.join(folder, video_of(folder, clip.path)[0]) for clip in clip_list.clips]


def _with_image_fps(clip_list: ClipList, image_fps: float) -> ClipList:
    """Notes the rate of clips that are folders of pictures, and logs what is assumed of them."""
    folders = [folder for folder in dict.fromkeys(_paths(clip_list)) if os.path.isdir(folder)]
    if not folders:
        return clip_list
    logging.warning(
        "%s: %d clips are folders of pictures, read at %g per second; --image_fps changes that",
        *(clip_list.data_dir, len(folders), image_fps),
    )
    gaps = [f"{folder} {gap}" for folder in folders if (gap := gap_in(folder))]
    if gaps:
        logging.warning(
            "pictures are missing in %d clips: %s; the others are used as they are", len(gaps), some(gaps, 3)
        )
    return replace(clip_list, image_fps=image_fps)


def _report_missing(clip_list: ClipList, allowed: bool):
    names = [clip.path for clip in clip_list.missing]
    said = f"{clip_list.data_dir}: {len(names)} of {len(names) + len(clip_list.clips)} clips are missing: {some(names)}"
    if not clip_list.clips:
        raise InputError(f"{clip_list.data_dir}: not one of the {len(names)} clips is there: {some(names, 3)}")
    if not allowed:
        raise InputError(f"{said}; --allow_missing continues without them")
    logging.warning("%s", said)
