"""The authors' data set layout: for each split an HDF5 file of features and three text files, one line a video.

    SPLIT_features.h5     data set `features` `<float32>[frames of all videos, 49·D]`, the videos one after another
    SPLIT_framenum.txt    the number of frames of each video
    SPLIT_filename.txt    its name
    SPLIT_labels.txt      its class, or comma-separated 0 and 1 for each class where a clip may have several

SPLIT is train, valid or test. A row holds its cube column by column, as MATLAB does: cell i, map k at position
i + 49·k.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import h5py
import numpy as np

from attention_ar.errors import InputError, some

NUM_CELLS = 49


@dataclass(frozen=True)
class ReleasedDataset:
    """One split of a data set in the authors' layout. The features stay on disk.

    Attributes:
      features: the HDF5 file.
      names: the videos' names.
      frame_counts: their numbers of frames, `<int64>[num_videos]`.
      labels: their classes `<int64>[num_videos]`, or `<int64>[num_videos, C]` of 0 and 1.
      num_maps: D.
    """

    features: Path
    names: tuple[str, ...]
    frame_counts: np.ndarray
    labels: np.ndarray
    num_maps: int

    @property
    def multi_label(self) -> bool:
        """Whether a clip may have several labels."""
        return self.labels.ndim == 2

    def frames(self, video: int, frames) -> np.ndarray:
        """Reads feature cubes, `<float32>[len(frames), 49, D]`.

        Args:
          video: the video's number.
          frames: numbers of its frames, in any order, repeated or not, `<int>[...]`.

        Raises:
          InputError: where the file is damaged.
        """
        frames = np.asarray(frames)
        if np.any((frames < 0) | (frames >= self.frame_counts[video])):
            raise IndexError(f"video {self.names[video]} has {self.frame_counts[video]} frames")
        first = np.min(frames)
        step = max(1, np.gcd.reduce(frames - first))
        start = int(np.sum(self.frame_counts[:video]) + first)
        try:
            # A handle that is opened for each read survives a fork.
            with h5py.File(self.features, "r", locking=False) as file:
                rows = file["features"][start : start + np.ptp(frames) + 1 : step]
        except (OSError, RuntimeError, KeyError) as error:
            raise InputError(f"{self.features}: cannot be read ({error}); the file is damaged") from error
        cubes = rows.reshape(len(rows), self.num_maps, NUM_CELLS).swapaxes(1, 2)
        return cubes[(frames - first) // step].astype(np.float32, copy=False)


def read_released_dataset(folder, split: str) -> ReleasedDataset:
    """Opens one split, "train", "valid" or "test", of a data set in the authors' layout.

    A text file may end with or without a newline. (The program's own reader loses the last digit without
    one.)

    Args:
      folder: where the four files lie.
      split: what their names begin with.

    Raises:
      InputError: where a file is missing or malformed, the four disagree, or a video has no frames. (The
        program takes the first block of the next video for it.)
    """
    if not re.fullmatch(r"\w+", split):
        raise InputError(f"split={split!r}: must be a name such as train, valid or test")
    folder = Path(folder)
    path = {what: folder / f"{split}_{what}" for what in ("features.h5", "framenum.txt", "filename.txt", "labels.txt")}
    absent = [str(p) for p in path.values() if not p.is_file()]
    if absent:
        raise InputError(f"{', '.join(absent)}: missing; the authors' layout has four files for each split")
    names = _lines(_text(path["filename.txt"]))
    _require_inside(path["filename.txt"], names)
    frame_counts = parse_frame_counts(_text(path["framenum.txt"]), path["framenum.txt"])
    labels = parse_labels(_text(path["labels.txt"]), path["labels.txt"])
    if not len(names) == len(frame_counts) == len(labels):
        raise InputError(
            f"{folder}/{split}_*.txt: {len(names)} names, {len(frame_counts)} frame numbers and {len(labels)} labels; "
            "must be one line a video in each"
        )
    num_maps = _require_features(path["features.h5"], int(np.sum(frame_counts)))
    return ReleasedDataset(path["features.h5"], tuple(names), frame_counts, labels, num_maps)


def parse_frame_counts(text: str, source="framenum.txt") -> np.ndarray:
    """Returns the numbers in a text of one a line, `<int64>[num_videos]`; error messages call it `source`."""
    counts = np.array([_integer(line, n, source) for n, line in enumerate(_lines(text), start=1)], np.int64)
    empty = np.flatnonzero(counts < 1) + 1
    if len(empty):
        raise InputError(f"{source}: line {some(empty, 5)}: a video without frames; leave it out of all four files")
    return counts


def parse_labels(text: str, source="labels.txt") -> np.ndarray:
    """Returns the labels in a text of one video a line, `<int64>[num_videos]` or `<int64>[num_videos, C]`.

    Args:
      text: a class, or comma-separated 0 and 1, on each line, the last with or without a newline.
      source: its name in error messages.
    """
    rows = [[_integer(entry, n, source) for entry in line.split(",")] for n, line in enumerate(_lines(text), start=1)]
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        raise InputError(f"{source}: lines of {some(sorted(widths), 5)} labels; must be equally many on every line")
    labels = np.array(rows, np.int64)
    multi_label = widths not in ({1}, set())
    if np.any(labels < 0) or (multi_label and np.any(labels > 1)):
        raise InputError(f"{source}: labels must be classes counted from 0, or 0 and 1 for each class")
    return labels if multi_label else labels.reshape(-1)


def write_released_dataset(folder, split: str, videos: Iterable[tuple]):
    """Writes one split in the authors' layout, one chunk of frames in memory at a time. Existing files are replaced.

    Args:
      folder: where to, made if it is missing.
      split: what the files' names begin with.
      videos: of each video its name, its class or a sequence of 0 and 1, and an iterable over chunks of its
        feature cubes, `<float>[n, 49, D]`.

    Raises:
      InputError: where names, labels or features are not what the layout can hold. Some files may be there then.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names, counts, labels = [], [], []
    with h5py.File(folder / f"{split}_features.h5", "w", locking=False) as file:
        for name, label, chunks in videos:
            names.append(name)
            counts.append(str(sum(_append(file, name, chunk) for chunk in chunks)))
            labels.append(",".join(str(int(entry)) for entry in np.atleast_1d(label)))
    if not names:
        raise InputError(f"{folder}/{split}: no videos to write; must be one or more")
    for what, lines in (("filename", names), ("framenum", counts), ("labels", labels)):
        (folder / f"{split}_{what}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    _require_inside(f"{split}_filename.txt", names)
    parse_frame_counts("\n".join(counts), f"{split}_framenum.txt")
    parse_labels("\n".join(labels), f"{split}_labels.txt")


def _append(file, name, chunk) -> int:
    """Appends cubes to the features and returns how many."""
    if chunk.ndim != 3 or chunk.shape[1] != NUM_CELLS:
        raise InputError(f"{name}: features of shape {list(chunk.shape)}; must be [frames, {NUM_CELLS}, D]")
    rows = chunk.swapaxes(1, 2).reshape(len(chunk), NUM_CELLS * chunk.shape[2])
    if "features" not in file:
        width = rows.shape[1]
        file.create_dataset("features", (0, width), np.float32, maxshape=(None, width), chunks=(1, width))
    features = file["features"]
    if rows.shape[1] != features.shape[1]:
        raise InputError(f"{name}: {chunk.shape[2]} channels; must be {features.shape[1] // NUM_CELLS} as before")
    features.resize(len(features) + len(rows), axis=0)
    features[len(features) - len(rows) :] = rows
    return len(rows)


def _require_features(path, num_frames) -> int:
    """Checks the HDF5 file and returns D."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            link = file.get("features", getlink=True)
            features = file.get("features") if isinstance(link, h5py.HardLink) else None
            if not isinstance(features, h5py.Dataset) or features.is_virtual or features.external:
                raise InputError(f"{path}: holds no data set `features` of its own")
            shape, kind = features.shape or (), features.dtype.kind
    except (OSError, RuntimeError, KeyError) as error:
        raise InputError(f"{path}: not a readable HDF5 file ({error})") from error
    if len(shape) != 2 or shape[1] == 0 or shape[1] % NUM_CELLS or kind != "f":
        raise InputError(f"{path}: `features` is {list(shape)}; must be float [frames, {NUM_CELLS}·D]")
    if shape[0] != num_frames:
        raise InputError(f"{path}: `features` has {shape[0]} rows, but the videos have {num_frames} frames")
    return shape[1] // NUM_CELLS


def _text(path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file ({error})") from error


def _lines(text) -> list[str]:
    return [line.strip() for line in text.strip().split("\n")] if text.strip() else []


def _integer(entry, line, source) -> int:
    if not re.fullmatch(r"\s*-?[0-9]{1,9}\s*", entry):
        raise InputError(f"{source}: line {line}: {entry[:40]!r}: must be a whole number")
    return int(entry)


def _require_inside(source, names):
    def is_wrong(name):
        parts = PurePosixPath(name.replace("\\", "/")).parts
        return not parts or "\n" in name or parts[0] == "/" or ".." in parts

    wrong = [repr(name) for name in names if is_wrong(name)]
    if wrong:
        raise InputError(f"{source}: {some(wrong, 5)}: must be names below the videos' folder, one a line")
