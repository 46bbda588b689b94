"""From the authors' data set layout to a features file and back, a few frames in memory at a time.

Both hold the same cubes, theirs in float32 and ours in float16: on the way to ours each number is rounded by at most
0.05 % (2⁻¹¹), those below 6e-5 by at most 3e-8. The way back keeps cubes, labels and splits exactly; their layout
has no class names, groups, frame rates or recipe.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from attention_ar.errors import InputError, some
from data_prep.common.progress import Progress
from data_prep.features.contents import FeaturesFile
from data_prep.features.extraction import check_output
from data_prep.features.hdf5_file import write_features
from data_prep.features.opening import open_features
from data_prep.released.layout import ReleasedDataset, read_released_dataset, write_released_dataset

SPLITS = {"train": "train", "valid": "validation", "test": "test"}
"""What our splits are called in the names of the authors' files."""

GRID = (7, 7)
RELEASED_FPS = 30.0  # What their program takes every video to have.

_FILES = ("features.h5", "framenum.txt", "filename.txt", "labels.txt")
_SLAB = 128  # frames in memory at a time


class ReleasedRows:
    """The cubes of data sets in the authors' layout, one after another: an array `<float16>[F, 7, 7, D]` on disk.

    Has what `write_features` needs of an array, a shape and slices, and raises InputError where a video holds what
    float16 cannot.
    """

    def __init__(self, datasets: Sequence[ReleasedDataset], progress: Progress):
        self._videos = [(dataset, video) for dataset in datasets for video in range(len(dataset.names))]
        self._ends = np.cumsum(np.concatenate([dataset.frame_counts for dataset in datasets]))
        self._progress = progress
        self.shape = (int(self._ends[-1]), *GRID, datasets[0].num_maps)

    def __getitem__(self, rows: slice) -> np.ndarray:
        row, stop, _ = rows.indices(self.shape[0])
        pieces = []
        while row < stop:
            index = int(np.searchsorted(self._ends, row, side="right"))
            dataset, video = self._videos[index]
            frame = row - int(self._ends[index] - dataset.frame_counts[video])
            count = min(_SLAB, stop - row, int(dataset.frame_counts[video]) - frame)
            pieces.append(read_half(dataset, video, frame, count))
            self._progress.advance(count)
            row += count
        return np.concatenate(pieces) if pieces else np.empty((0, *self.shape[1:]), np.float16)


def read_half(dataset: ReleasedDataset, video: int, frame: int, count: int) -> np.ndarray:
    """Reads `count` cubes from `frame` on, `<float16>[count, 7, 7, D]`.

    Raises:
      InputError: where one holds what float16 cannot.
    """
    with np.errstate(over="ignore"):
        cubes = dataset.frames(video, np.arange(frame, frame + count)).astype(np.float16)
    _require_finite(dataset.names[video], cubes)
    return cubes.reshape(count, *GRID, dataset.num_maps)


def from_released(folder, output, class_names: Sequence[str] | None = None, fps: float = RELEASED_FPS) -> FeaturesFile:
    """Makes a features file of a data set in the authors' layout.

    Args:
      folder: holds the four files of each of the splits train, valid and test, or of some of them.
      output: the features file to make.
      class_names: of class 0, 1, …; by default class00, class01 and so on.
      fps: frames per second of the videos and of their rows, which the layout does not store.

    Returns:
      What the file holds.

    Raises:
      InputError: where the files are missing, damaged or contradict each other, a video is in two of them, a number is
        not finite or beyond float16, or the output exists.
    """
    if not (np.isfinite(fps) and fps > 0):
        raise InputError(f"fps={fps:g}: must be a positive number of frames per second")
    output = check_output(output)
    if output.exists():
        raise InputError(f"output={output}: exists already; name another file, or delete it")
    parts = _read_parts(Path(folder))
    datasets = list(parts.values())
    names = [name for dataset in datasets for name in dataset.names]
    num_frames = np.concatenate([dataset.frame_counts for dataset in datasets])
    labels, class_names = _labels(np.concatenate([dataset.labels for dataset in datasets]), class_names)
    splits = [SPLITS[split] for split, dataset in parts.items() for _ in dataset.names]
    assignment = json.dumps(sorted(zip(names, splits, strict=True)))
    with Progress(int(num_frames.sum()), 0, "frame") as progress:
        contents = FeaturesFile(
            features=ReleasedRows(datasets, progress),
            names=names,
            first_row=np.cumsum(num_frames) - num_frames,
            num_frames=num_frames,
            native_fps=np.full(len(names), fps),
            fps=np.full(len(names), fps),
            labels=labels,
            groups=[""] * len(names),
            splits=splits,
            truncated=np.zeros(len(names), bool),
            class_names=class_names,
            multi_label=datasets[0].multi_label,
            recipe={
                "network": "released layout",
                "random": False,
                "weights_sha256": "",
                "source_sha256": source_sha256(parts),
            },
            split_id=f"released-{hashlib.sha256(assignment.encode()).hexdigest()[:12]}",
            data_dir="",
        )
        _announce(output, contents, np.dtype(np.float16))
        write_features(output, contents)
    return contents


def to_released(features, folder) -> FeaturesFile:
    """Writes a features file in the authors' layout, four files for each split that has a video.

    Args:
      features: the features file.
      folder: where to; made if it is missing.

    Returns:
      What the features file holds.

    Raises:
      InputError: where the features file is invalid or cannot be stored in that layout, or the folder is in use.
    """
    file = open_features(features)
    folder = Path(os.path.abspath(folder))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: is there already and not empty; name another folder")
    if file.features.shape[1:3] != GRID:
        found = "×".join(map(str, file.features.shape[1:3]))
        raise InputError(f"{features}: has {found} cells a frame; the authors' layout has 7×7")
    if file.multi_label and len(file.class_names) == 1:
        raise InputError(f"{features}: several labels a clip, but one class; the authors' layout cannot store that")
    padded = [repr(name) for name in file.names if name != name.strip()]
    if padded:
        raise InputError(f"{features}: {padded[0]}: the authors' layout has no spaces around a name")
    _announce(folder, file, np.dtype(np.float32))
    with _made_beside(folder) as beside, Progress(len(file.features), 0, "frame") as progress:
        for split, ours in SPLITS.items():
            videos = [video for video, its in enumerate(file.splits) if its == ours]
            if videos:
                write_released_dataset(beside, split, (_as_released(file, video, progress) for video in videos))
    return file


def source_sha256(parts: dict[str, ReleasedDataset]) -> str:
    """Identifies a data set by its texts, and by the first and the last frame of each split."""
    digest = hashlib.sha256()
    for split, dataset in parts.items():
        about = [split, dataset.num_maps, dataset.names, dataset.frame_counts.tolist(), dataset.labels.tolist()]
        digest.update(json.dumps(about).encode())
        last = len(dataset.names) - 1
        digest.update(read_half(dataset, 0, 0, 1).tobytes())
        digest.update(read_half(dataset, last, int(dataset.frame_counts[last]) - 1, 1).tobytes())
    return digest.hexdigest()


def _read_parts(folder: Path) -> dict[str, ReleasedDataset]:
    """Opens the splits that are there, under the authors' names for them."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; must hold the authors' files, train_features.h5 and so on")
    present = [split for split in SPLITS if any((folder / f"{split}_{what}").exists() for what in _FILES)]
    if not present:
        raise InputError(f"{folder}: none of {', '.join(f'{split}_features.h5' for split in SPLITS)} is in it")
    parts = {split: read_released_dataset(folder, split) for split in present}
    empty = [split for split, dataset in parts.items() if not dataset.names]
    if empty:
        raise InputError(f"{folder}: {', '.join(empty)} without videos; leave such files out")
    for what, kinds in (
        ("feature maps", {split: dataset.num_maps for split, dataset in parts.items()}),
        ("numbers a line of labels", {split: dataset.labels[0].size for split, dataset in parts.items()}),
    ):
        if len(set(kinds.values())) > 1:
            found = ", ".join(f"{split} has {kind}" for split, kind in kinds.items())
            raise InputError(f"{folder}: {found} {what}; must be equally many in every split")
    where = {}
    for split, dataset in parts.items():
        for name in dataset.names:
            where.setdefault(name, []).append(split)
    twice = {name: splits for name, splits in where.items() if len(splits) > 1}
    if twice:
        shown = some([f"{name} (in {' and '.join(splits)})" for name, splits in twice.items()], 3)
        raise InputError(f"{folder}: named twice: {shown}; each video once, so leave out a split's four files")
    return parts


def _labels(labels: np.ndarray, class_names: Sequence[str] | None) -> tuple[np.ndarray, list[str]]:
    """Returns the labels as `<uint8>[N, C]` of ones and zeros, and C class names."""
    num_classes = labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
    if class_names is None:
        width = max(2, len(str(num_classes - 1)))
        class_names = [f"class{index:0{width}d}" for index in range(num_classes)]
    repeated = [name for name, count in Counter(class_names).items() if count > 1]
    if repeated or "" in class_names:
        raise InputError(f"class_names={','.join(class_names)}: each must be there once, and none be empty")
    if labels.ndim == 2:
        if len(class_names) != num_classes:
            raise InputError(f"class_names: {len(class_names)} names; the labels have {num_classes} classes")
        return labels.astype(np.uint8), list(class_names)
    if len(class_names) < num_classes:
        raise InputError(f"class_names: {len(class_names)} names; the labels go up to class {num_classes - 1}")
    return np.eye(len(class_names), dtype=np.uint8)[labels], list(class_names)


def _as_released(file: FeaturesFile, video: int, progress: Progress) -> tuple:
    """Returns name, label and chunks of cubes of a video, as `write_released_dataset` takes them."""
    labels = file.labels[video]
    return file.names[video], labels if file.multi_label else int(np.argmax(labels)), _chunks(file, video, progress)


def _chunks(file: FeaturesFile, video: int, progress: Progress) -> Iterator[np.ndarray]:
    first, stop = file.first_row[video], file.first_row[video] + file.num_frames[video]
    for row in range(first, stop, _SLAB):
        cubes = file.features[row : min(row + _SLAB, stop)].astype(np.float32)
        _require_finite(file.names[video], cubes)
        yield cubes.reshape(len(cubes), -1, cubes.shape[-1])
        progress.advance(len(cubes))


def _require_finite(name: str, cubes: np.ndarray):
    if not np.all(np.isfinite(cubes)):
        raise InputError(f"{name}: holds a feature that is not finite or not within ±65504, the range of float16")


def _announce(target: Path, contents: FeaturesFile, dtype: np.dtype):
    """Prints how much will be written, and refuses more than the disk can hold."""
    shape = contents.features.shape
    size = dtype.itemsize * int(np.prod(shape))
    print(f"{len(contents.names)} videos, {shape[0]} frames: {target} will take {size / 1e9:.2f} GB", flush=True)
    there = next(folder for folder in target.parents if folder.is_dir())
    free = shutil.disk_usage(there).free
    if size > free:
        raise InputError(
            f"{target} needs {size / 1e9:.2f} GB and {there} has {free / 1e9:.2f} GB free; make room, or name another"
        )


@contextlib.contextmanager
def _made_beside(target: Path) -> Iterator[Path]:
    """Yields a path beside `target`, which is renamed to `target` at the end, or removed on failure."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            beside = Path(folder) / target.name
            yield beside
            os.replace(beside, target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror or error})") from error
