"""Reading a data set of `data_prep.features.record_files` as if it were a features file."""

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from etils import epath

from attention_ar.errors import InputError, one_line
from data_prep.datasets.clip_list import SPLITS
from data_prep.features.contents import FeaturesFile, check_consistent, named_levels, stored_as
from data_prep.features.record_files import INFO, METADATA, example_spec, on_bucket, shard_path

CACHE_BYTES = 1 << 28


def is_record_dataset(path) -> bool:
    """Whether a path must be a data set's folder: it is a folder, or on a bucket."""
    return on_bucket(path) or epath.Path(path).is_dir()


def open_records(path) -> FeaturesFile:
    """Opens a data set's folder, `DIR/<name>/1.0.0` or `DIR/<name>`; no record is read yet.

    Raises:
      InputError: where it is no such folder, unfinished, or contradicts itself.
    """
    folder = _find(epath.Path(path))
    try:
        about = json.loads((folder / METADATA).read_text())
        shards = {str(split): [int(count) for count in counts] for split, counts in about["shards"].items()}
        contents = _contents(folder, about, shards)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{folder}/{METADATA}: not readable ({error.strerror or error})") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else one_line(error)
        raise InputError(
            f"{folder}/{METADATA}: not what data_prep.export_tfds writes ({reason}); export it again"
        ) from None
    check_consistent(folder, contents)
    return contents


def _find(path: epath.Path) -> epath.Path:
    try:
        if not path.is_dir():
            raise InputError(f"{path}: no such file or folder")
        found = [path] if (path / INFO).exists() else [child for child in path.iterdir() if (child / INFO).exists()]
        if not found and (path / "plan.json").exists():
            raise InputError(f"{path}: is not finished; run the command that began it to resume")
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror or error})") from None
    if len(found) > 1:
        versions = ", ".join(sorted(child.name for child in found))
        raise InputError(f"{path}: holds several data sets ({versions}); name one of them")
    if not found or not (found[0] / METADATA).exists():
        raise InputError(f"{path}: no data set of features ({INFO} and {METADATA}); data_prep.export_tfds makes one")
    return found[0]


def _contents(folder: epath.Path, about: dict, shards: dict[str, list[int]]) -> FeaturesFile:
    videos, class_names = about["videos"], about["class_names"]
    texts = {name: _texts(name, videos[name]) for name in ("name", "group", "split")}
    num_clips = len(texts["name"])
    columns = {
        name: np.array(videos[name], dtype).reshape(num_clips)
        for name, dtype in (("num_frames", np.int64), ("native_fps", float), ("fps", float), ("truncated", bool))
    }
    labels = np.zeros((num_clips, len(class_names)), np.uint8)
    for video, of_video in zip(range(num_clips), videos["labels"], strict=True):
        labels[video, np.array(of_video, np.int64)] = 1
    shapes = {"features": _shape(folder, about["feature_shape"])}
    levels = named_levels(about["recipe"])
    if about.get("levels", {}).keys() != set(levels):
        raise InputError(f"{folder}/{METADATA}: its levels are not those of the recipe; export it again")
    shapes |= {stored_as(level): _shape(folder, about["levels"][level]) for level in levels}
    counts = {split: texts["split"].count(split) for split in SPLITS}
    stored = {split: sum(shards.get(split, [])) for split in SPLITS}
    if counts != stored or not shards.keys() <= set(SPLITS) or min(map(min, shards.values())) < 0:
        raise InputError(f"{folder}/{METADATA}: {counts} videos, but {stored} records; export it again")
    records = Records(
        folder, shards, texts["name"], texts["split"], columns["num_frames"], shapes, bool(about["multi_label"])
    )
    return FeaturesFile(
        features=RecordRows(records, "features"),
        names=texts["name"],
        first_row=np.cumsum(columns["num_frames"]) - columns["num_frames"],
        labels=labels,
        groups=texts["group"],
        splits=texts["split"],
        class_names=class_names,
        multi_label=bool(about["multi_label"]),
        recipe=about["recipe"],
        split_id=str(about["split_id"]),
        data_dir=str(about["data_dir"]),
        plan_sha256=str(about["plan_sha256"]),
        frame=np.array(about["frame"], np.int64) if "frame" in about else None,
        levels={level: RecordRows(records, stored_as(level)) for level in levels},
        **columns,
    )


def _shape(folder: epath.Path, sizes) -> tuple[int, int, int]:
    num_cells, other, num_maps = (int(size) for size in sizes)
    if num_cells != other or min(num_cells, num_maps) < 1:
        raise InputError(f"{folder}/{METADATA}: feature_shape is {sizes}; must be [K, K, D]")
    return num_cells, num_cells, num_maps


def _texts(name: str, values) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name} is no list of texts")
    return values


@dataclass(frozen=True)
class _Shard:
    """The facts that array_record's data source needs of a file, so that it need not open it first."""

    filename: str
    take: int
    skip: int = 0

    @property
    def examples_in_shard(self) -> int:
        return self.take


class Records:
    """The records of all videos. The last ones are cached, `cache_bytes` of them at most (but always one).

    May be read from several threads.

    Attributes:
      num_frames: of each video, `<int64>[N]`.
      shapes: (K, K, D) of each level, under the name that a record has it by, `features` first.
    """

    def __init__(self, folder, shards, names, splits, num_frames, shapes, multi_label, cache_bytes=CACHE_BYTES):
        self._folder = folder
        self._names = names
        self.num_frames = num_frames
        self.shapes = shapes
        levels = {name.removeprefix(stored_as("")): shape for name, shape in shapes.items() if name != "features"}
        self._spec = example_spec(shapes["features"], multi_label, levels=levels)
        self._shards = [
            _Shard(str(shard_path(folder, split, index, len(shards[split]))), count)
            for split in SPLITS
            for index, count in enumerate(shards.get(split, []))
        ]
        self._record = np.empty(len(names), np.int64)  # of each video; the splits' records follow each other
        self._record[np.argsort([SPLITS.index(split) for split in splits], kind="stable")] = np.arange(len(names))
        self._source = None
        self._cache: OrderedDict[int, dict[str, np.ndarray]] = OrderedDict()
        self._cache_bytes = cache_bytes
        self._lock = threading.Lock()

    def read(self, video: int) -> dict[str, np.ndarray]:
        """Returns a video's rows of each level, read-only."""
        with self._lock:
            if video in self._cache:
                self._cache.move_to_end(video)
                return self._cache[video]
            if self._source is None:
                from array_record.python.array_record_data_source import ArrayRecordDataSource

                self._source = ArrayRecordDataSource(self._shards)
        rows = self._fetch(video)
        with self._lock:
            self._cache[video] = rows
            while len(self._cache) > 1 and sum(map(_num_bytes, self._cache.values())) > self._cache_bytes:
                self._cache.popitem(last=False)
        return rows

    def _fetch(self, video: int) -> dict[str, np.ndarray]:
        name = self._names[video]
        try:
            found = self._spec.deserialize_example_np(self._source[int(self._record[video])])
            found_name = bytes(found["name"]).decode()
            rows = {level: found[level] for level in self.shapes}
        except Exception as error:  # array_record, protobuf and TFDS each have their own
            raise InputError(
                f"{self._folder}: the record of {name} cannot be read ({one_line(error)}); export it again"
            ) from None
        expected = {level: (self.num_frames[video], *shape) for level, shape in self.shapes.items()}
        if found_name != name or {level: of_level.shape for level, of_level in rows.items()} != expected:
            raise InputError(
                f"{self._folder}: the record of {name} ({self.num_frames[video]} frames) holds {found_name} "
                f"({len(rows['features'])} frames); export it again"
            )
        return rows


def _num_bytes(rows: dict[str, np.ndarray]) -> int:
    return sum(of_level.nbytes for of_level in rows.values())


class RecordRows:
    """The rows of all videos at one level, an array `<float16>[F, K, K, D]` that is read record by record.

    It takes a slice or an array of row numbers, `rows[100:130]`, `rows[[5, 3]]`, and `len`. A slice that is exactly one
    video is that video's record, uncopied. May be read from several threads.

    Args:
      records: which the levels share.
      level: of `Records.shapes`.

    Attributes:
      shape: [F, K, K, D].
      dtype: float16.
    """

    dtype = np.dtype(np.float16)

    def __init__(self, records: Records, level: str):
        self._records, self._level = records, level
        self._ends = np.cumsum(records.num_frames)
        self.shape = (int(self._ends[-1]) if len(self._ends) else 0, *records.shapes[level])

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def __getitem__(self, rows) -> np.ndarray:
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1 and start < stop:
                video = self._video_of(start)
                first = int(self._ends[video] - self._records.num_frames[video])
                if stop <= self._ends[video]:
                    found = self._read(video)
                    return found if len(found) == stop - start else found[start - first : stop - first]
            rows = np.arange(start, stop, step)
        rows = np.asarray(rows)
        if rows.size == 0:
            return np.empty((*rows.shape, *self.shape[1:]), self.dtype)
        if rows.dtype.kind not in "iu" or rows.ndim > 1:
            raise TypeError(f"rows are taken by a slice, a number or a list of numbers, not {rows.dtype}{rows.shape}")
        if rows.min() < -len(self) or rows.max() >= len(self):
            raise IndexError(f"rows from {rows.min()} to {rows.max()}; there are {len(self)}")
        rows = np.where(rows < 0, rows + len(self), rows)
        result = np.empty((rows.size, *self.shape[1:]), self.dtype)
        videos = np.searchsorted(self._ends, rows.reshape(-1), side="right")
        for video in np.unique(videos):
            here, first = videos == video, self._ends[video] - self._records.num_frames[video]
            result[here] = self._read(video)[rows.reshape(-1)[here] - first]
        return result.reshape(*rows.shape, *self.shape[1:])

    def _video_of(self, row: int) -> int:
        return int(np.searchsorted(self._ends, row, side="right"))

    def _read(self, video: int) -> np.ndarray:
        """Returns a video's rows, read-only."""
        return self._records.read(video)[self._level]
