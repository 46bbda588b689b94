"""The features file: the features of every frame, stored once, in one HDF5 file.

    features                 <float16>[frames, K, K, D]   contiguous and uncompressed; clip after clip
    features.inception_4e …  the same of further levels, where the recipe's `levels` names several
    videos/name              <str>[N]        path of the clip, relative to data_dir; of a part of a video followed by
                                             its seconds, #t=12.5,20
    videos/first_row         <int64>[N]      its first row in `features`
    videos/num_frames        <int64>[N]      its rows
    videos/native_fps        <float64>[N]    frames per second of the clip
    videos/fps               <float64>[N]    frames per second of the rows: native_fps, or what it was reduced to
    videos/labels            <uint8>[N, C]   ones and zeros, C as in class_names
    videos/group, split      <str>[N]
    videos/truncated         <bool>[N]       the clip is cut short on disk
    frame                    <int32>[frames] which frame of its video a row is made of; only where a clip is a part of
                                             a video, or its rate varies and was reduced to a lower one, else row n is
                                             frame n·native_fps/fps
    attributes: class_names, recipe (JSON), multi_label, split_id, data_dir, plan_sha256

Rows are read through a memory map at the dataset's place in the file: several times as fast as through HDF5, and
safe after a fork, which an open h5py handle is not.
"""

import json
import math
from pathlib import Path

import h5py
import numpy as np

from attention_ar.errors import InputError, one_line
from attention_ar.whole_file import whole_file
from data_prep.features.contents import FeaturesFile, check_consistent, named_levels, stored_as

FORMAT_VERSION = 1
DATA_OFFSET = 1 << 16  # where the rows begin

_IN_USE = ("unable to lock file", "already open for write")  # what HDF5 says
_COLUMNS = ("name", "first_row", "num_frames", "native_fps", "fps", "labels", "group", "split", "truncated")


def read_features(path) -> FeaturesFile:
    """Opens a features file for reading; nothing stays open but the memory map.

    Raises:
      InputError: where the file is missing, no HDF5, cut off, laid out in another way, or contradicts itself.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; data_prep.extract_features makes one")
    try:
        with h5py.File(path, "r", locking=False) as file:
            contents = _read(file, path)
    except InputError:
        raise
    except KeyError as error:
        raise InputError(
            f"{path}: not a features file ({one_line(error)}); data_prep.extract_features makes one"
        ) from None
    except (OSError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        if any(said in str(error) for said in _IN_USE):
            raise InputError(
                f"{path}: is open for writing in another program, or HDF5 is told to lock files where there are no "
                f"locks ({one_line(error)}); close it there, or set HDF5_USE_FILE_LOCKING=FALSE"
            ) from None
        raise InputError(f"{path}: not a whole features file ({one_line(error)}); extract it again") from None
    check_consistent(path, contents)
    return contents


def write_features(path, contents: FeaturesFile):
    """Writes a features file, whole or not at all.

    Raises:
      InputError: where it cannot be written.
    """
    with whole_file(path) as beside:
        write_layout(beside, contents)
        datasets = datasets_of(contents)
        for name, offset in dataset_offsets(beside, datasets).items():
            rows = np.memmap(beside, "<f2", "r+", offset=offset, shape=datasets[name].shape)
            for start in range(0, len(rows), 1024):
                rows[start : start + 1024] = datasets[name][start : start + 1024]
            rows.flush()


def datasets_of(contents: FeaturesFile) -> dict[str, np.ndarray]:
    """Returns the features of all levels by the names of their datasets, those of the largest level first."""
    datasets = {"features": contents.features} | {stored_as(name): rows for name, rows in contents.levels.items()}
    largest_first = sorted(datasets, key=lambda name: -math.prod(datasets[name].shape[1:]))
    return {name: datasets[name] for name in largest_first}


def dataset_offsets(path, names) -> dict[str, int]:
    """Returns at which byte the rows of each of some datasets begin."""
    with h5py.File(path, "r", locking=False) as file:
        return {name: file[name].id.get_offset() for name in names}


def write_layout(path, contents: FeaturesFile) -> int:
    """Writes a features file with everything but the rows, whose place is left open, and returns where that begins.

    The file has its full length, but the hole takes no space on disk. Of features only the shape counts; if they take
    1 KiB or more, they begin at `DATA_OFFSET`, however many clips there are. Of several levels, that is the place of
    the first of `datasets_of`; see `dataset_offsets` for the others.
    """
    datasets = datasets_of(contents)
    num_bytes = 2 * math.prod(next(iter(datasets.values())).shape)
    # Smaller data has no alignment; nor have the file's own structures, which come first.
    threshold = min(DATA_OFFSET, max(num_bytes, 1024))
    with h5py.File(path, "w", locking=False, alignment_threshold=threshold, alignment_interval=DATA_OFFSET) as file:
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_layout(h5py.h5d.CONTIGUOUS)
        creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        creation.set_obj_track_times(False)  # the same contents, the same bytes
        # The first things in the file, so that alignment alone decides where the first of them lies.
        offsets = [
            h5py.h5d.create(
                file.id, name.encode(), h5py.h5t.IEEE_F16LE, h5py.h5s.create_simple(rows.shape), creation
            ).get_offset()
            for name, rows in datasets.items()
        ]

        videos = file.create_group("videos")
        for name, strings in (
            ("name", contents.names),
            ("group", contents.groups),
            ("split", contents.splits),
        ):
            videos.create_dataset(name, data=strings, dtype=h5py.string_dtype())
        for name, dtype in (
            ("first_row", "<i8"),
            ("num_frames", "<i8"),
            ("native_fps", "<f8"),
            ("fps", "<f8"),
            ("labels", "u1"),
            ("truncated", "?"),
        ):
            videos.create_dataset(name, data=np.asarray(getattr(contents, name), dtype))
        if contents.frame is not None:
            file.create_dataset("frame", data=np.asarray(contents.frame, "<i4"))
        file.attrs["class_names"] = json.dumps(list(contents.class_names))
        file.attrs["recipe"] = json.dumps(contents.recipe, sort_keys=True)
        file.attrs["multi_label"] = contents.multi_label
        file.attrs["split_id"] = contents.split_id
        file.attrs["data_dir"] = contents.data_dir
        file.attrs["plan_sha256"] = contents.plan_sha256
    return offsets[0]


def _read(file: h5py.File, path: Path) -> FeaturesFile:
    features = _rows(file, path, "features")
    recipe = json.loads(file.attrs["recipe"])
    videos = file["videos"] if isinstance(file.get("videos", getlink=True), h5py.HardLink) else {}
    columns = {name: _own_dataset(videos, name) for name in _COLUMNS}
    num_clips = columns["name"].shape[0]
    for name, column in columns.items():
        if column.shape[:1] != (num_clips,) or num_clips > features.shape[0]:
            raise InputError(f"{path}: videos/{name} has another number of clips than videos/name; extract it again")
    strings = {name: list(columns[name].asstr()[...]) for name in ("name", "group", "split")}
    return FeaturesFile(
        features=features,
        names=strings["name"],
        first_row=columns["first_row"][...].astype(np.int64),
        num_frames=columns["num_frames"][...].astype(np.int64),
        native_fps=columns["native_fps"][...].astype(np.float64),
        fps=columns["fps"][...].astype(np.float64),
        labels=columns["labels"][...].astype(np.uint8),
        groups=strings["group"],
        splits=strings["split"],
        truncated=columns["truncated"][...].astype(bool),
        class_names=json.loads(file.attrs["class_names"]),
        multi_label=bool(file.attrs["multi_label"]),
        recipe=recipe,
        split_id=str(file.attrs["split_id"]),
        data_dir=str(file.attrs["data_dir"]),
        plan_sha256=str(file.attrs["plan_sha256"]),
        frame=_own_dataset(file, "frame")[...].astype(np.int64) if "frame" in file else None,
        levels={level: _rows(file, path, stored_as(level)) for level in named_levels(recipe)},
    )


def _rows(file: h5py.File, path: Path, name: str) -> np.memmap:
    """The rows of a dataset of features."""
    features = _own_dataset(file, name)
    if features.dtype != np.dtype("<f2") or features.ndim != 4 or features.shape[1] != features.shape[2]:
        raise InputError(f"{path}: {name} is {features.dtype}{list(features.shape)}; must be float16 [frames, K, K, D]")
    creation = features.id.get_create_plist()
    plain = creation.get_layout() == h5py.h5d.CONTIGUOUS and creation.get_external_count() == 0
    if not plain:
        raise InputError(f"{path}: {name} is chunked, compressed or kept elsewhere; must be contiguous and plain")
    if features.size == 0:
        raise InputError(f"{path}: holds no frames; extract it again")
    if features.id.get_offset() is None:
        raise InputError(f"{path}: its rows were never written; extract it again")
    return np.memmap(path, "<f2", "r", offset=features.id.get_offset(), shape=features.shape)


def _own_dataset(group, name: str) -> h5py.Dataset:
    """A dataset in this file itself: a link could point to any other file on the disk."""
    if not group or not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise KeyError(f"no {name}")
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise KeyError(f"no {name} of its own")
    return dataset
