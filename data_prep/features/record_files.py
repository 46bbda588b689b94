"""Features as a data set of TensorFlow Datasets: one example per video, in sharded array_record files.

    DIR/ucf11_googlenet/1.0.0/
      ucf11_googlenet-train.array_record-00000-of-00012   … -validation…, … -test…
      dataset_info.json, features.json, *.labels.txt      TFDS's own
      metadata.json                                       everything a features file holds but its rows

Written and read without TensorFlow. Unlike HDF5, such a folder may lie on a bucket. `metadata.json` lists the videos in
the order of the features file; the records of a split are its videos in that order. So opening reads no record.
"""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from etils import epath

from attention_ar.errors import InputError, one_line
from attention_ar.whole_file import whole_file
from data_prep.datasets.clip_list import SPLITS
from data_prep.features.contents import FeaturesFile, stored_as

VERSION = "1.0.0"
METADATA = "metadata.json"
INFO = "dataset_info.json"
RECORD_LIMIT = 2_000_000_000  # bytes; a protocol buffer of 2 GiB or more cannot be read

# One record is one video, so it is read alone; zstd's first level keeps 28 % of it and reads as fast as none.
_WRITER_OPTIONS = "group_size:1,zstd:1"


def example_spec(feature_shape: Sequence[int], multi_label: bool = False, class_names=None, levels=None):
    """Returns TFDS's description of an example.

    Args:
      feature_shape: [K, K, D].
      multi_label: whether an example has `labels`, a list, instead of `label`.
      class_names: C names, or None where TFDS reads them from the data set's folder.
      levels: [K, K, D] of each further level by name, whose features are `features.<name>`.
    """
    import tensorflow_datasets as tfds

    names = None if class_names is None else list(class_names)
    label = tfds.features.ClassLabel(names=names)
    shapes = {"features": feature_shape} | {stored_as(name): shape for name, shape in (levels or {}).items()}
    return tfds.features.FeaturesDict(
        {
            **{
                name: tfds.features.Tensor(
                    shape=(None, *shape), dtype=np.float16, encoding=tfds.features.Encoding.BYTES
                )
                for name, shape in shapes.items()
            },
            **({"labels": tfds.features.Sequence(label)} if multi_label else {"label": label}),
            "name": tfds.features.Text(),
            "group": tfds.features.Text(),
            "fps": tfds.features.Scalar(np.float32),
            "native_fps": tfds.features.Scalar(np.float32),
            "truncated": tfds.features.Scalar(np.bool_),
        }
    )


def example(contents: FeaturesFile, video: int, rows: np.ndarray, levels: Mapping[str, np.ndarray] = ()) -> dict:
    """Returns one video as an example.

    Args:
      contents: what is known of the videos; its features are not looked at.
      video: its index.
      rows: its features, `<float16>[n, K, K, D]`.
      levels: those of further levels by name.

    Raises:
      InputError: for a video of more frames than a record can hold.
    """
    levels = {stored_as(name): of_level for name, of_level in dict(levels).items()}
    num_bytes = sum(of_level.nbytes for of_level in (rows, *levels.values()))
    if num_bytes > RECORD_LIMIT:
        raise InputError(
            f"{contents.names[video]}: {len(rows)} frames are {num_bytes / 1e9:.1f} GB, and a record holds "
            f"{RECORD_LIMIT / 1e9:.0f} GB; extract at a lower --fps"
        )
    labels = np.flatnonzero(contents.labels[video]).tolist()
    return {
        **{name: np.ascontiguousarray(of_level) for name, of_level in ({"features": rows} | levels).items()},
        **({"labels": labels} if contents.multi_label else {"label": labels[0]}),
        "name": contents.names[video],
        "group": contents.groups[video],
        "fps": float(contents.fps[video]),
        "native_fps": float(contents.native_fps[video]),
        "truncated": bool(contents.truncated[video]),
    }


def check_name(name: str) -> str:
    """Returns the name of a data set, or raises `InputError` if TFDS could not find it again by it."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise InputError(f"name={name!r}: must be lower-case words joined by _, like ucf11_googlenet")
    return name


def dataset_folder(data_dir, name: str) -> epath.Path:
    """Returns where the data set `name` lies below `data_dir`, which may be on a bucket (gs://…)."""
    return epath.Path(data_dir) / check_name(name) / VERSION


def shard_path(folder: epath.Path, split: str, index: int, count: int) -> epath.Path:
    """Returns where a shard lies in its data set's folder, which bears the data set's name."""
    return folder / f"{folder.parent.name}-{split}.array_record-{index:05d}-of-{count:05d}"


def on_bucket(path) -> bool:
    return "://" in os.fspath(path)


@contextlib.contextmanager
def appears_whole(path: epath.Path) -> Iterator[Path]:
    """Yields a file to write to, which is renamed to `path` when it is complete, or never."""
    if not on_bucket(path):
        with whole_file(path) as beside:
            yield beside
        return
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder, path.name)
        yield beside
        epath.Path(beside).copy(path, overwrite=True)


def write_text(path: epath.Path, text: str):
    """Writes a text file atomically."""
    with appears_whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_shard(path: epath.Path, examples: Iterable[dict], spec) -> int:
    """Writes one shard atomically and returns its number of examples."""
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.core.example_serializer import ExampleSerializer

    serializer = ExampleSerializer(spec.get_serialized_info())
    count = 0
    with appears_whole(path) as beside:
        writer = ArrayRecordWriter(os.fspath(beside), _WRITER_OPTIONS)
        try:
            for item in examples:
                # Otherwise the order of the fields, and so the bytes, would differ from process to process.
                encoded = serializer.get_tf_example(spec.encode_example(item))
                writer.write(encoded.SerializeToString(deterministic=True))
                count += 1
        finally:
            writer.close()
    return count


def count_records(path: epath.Path) -> int | None:
    """Returns how many records a shard has, or None where it is missing or damaged.

    Raises:
      InputError: where it cannot be read at all, such as on a bucket that array_record does not reach.
    """
    from array_record.python.array_record_module import ArrayRecordReader

    if not path.exists():
        return None
    try:
        reader = ArrayRecordReader(os.fspath(path))
        try:
            return reader.num_records()
        finally:
            reader.close()
    except Exception as error:  # the reader raises its C++ errors, with their messages
        if on_bucket(path) or isinstance(error, OSError):
            reason = one_line(error)
            raise InputError(f"{path}: array_record cannot read it ({reason}); name a folder it can read") from None
        return None


def metadata(contents: FeaturesFile, shards: dict[str, list[int]]) -> dict:
    """Returns what `metadata.json` holds.

    Args:
      contents: everything but the rows; of `features` only the shape counts.
      shards: the number of records of each shard of each split.
    """
    return {
        "feature_shape": list(contents.features.shape[1:]),
        **({"levels": level_shapes(contents)} if contents.levels else {}),
        "shards": shards,
        "class_names": list(contents.class_names),
        "multi_label": contents.multi_label,
        "recipe": contents.recipe,
        "split_id": contents.split_id,
        "data_dir": contents.data_dir,
        "plan_sha256": contents.plan_sha256,
        "videos": {
            "name": list(contents.names),
            "num_frames": contents.num_frames.tolist(),
            "native_fps": contents.native_fps.tolist(),
            "fps": contents.fps.tolist(),
            "labels": [np.flatnonzero(row).tolist() for row in contents.labels],
            "group": list(contents.groups),
            "split": list(contents.splits),
            "truncated": contents.truncated.tolist(),
        },
        **({} if contents.frame is None else {"frame": contents.frame.tolist()}),
    }


def level_shapes(contents: FeaturesFile) -> dict[str, list[int]]:
    """Returns [K, K, D] of each further level by name."""
    return {name: list(rows.shape[1:]) for name, rows in contents.levels.items()}


def write_about(folder: epath.Path, contents: FeaturesFile, shards: dict[str, list[int]]):
    """Writes the files around the shards; with the last one, the data set is complete.

    Args:
      folder: of the data set, with all shards in it.
      contents, shards: see `metadata`.
    """
    import tensorflow_datasets as tfds

    name = folder.parent.name
    spec = example_spec(contents.features.shape[1:], contents.multi_label, contents.class_names, level_shapes(contents))
    identity = tfds.core.dataset_info.DatasetIdentity(
        name=name, version=tfds.core.Version(VERSION), data_dir=os.fspath(folder), module_name=""
    )
    info = tfds.core.DatasetInfo(
        builder=identity,
        features=spec,
        description=f"Features of every frame; one example is one video. {json.dumps(contents.recipe)}",
        disable_shuffling=True,
    )
    info.set_file_format(tfds.core.FileFormat.ARRAY_RECORD)
    template = tfds.core.ShardedFileTemplate(
        data_dir=folder, dataset_name=name, filetype_suffix=tfds.core.FileFormat.ARRAY_RECORD.file_suffix
    )
    info.set_splits(
        tfds.core.splits.SplitDict(
            [
                tfds.core.SplitInfo(
                    name=split,
                    shard_lengths=shards[split],
                    num_bytes=contents.bytes_per_frame
                    * int(contents.num_frames[np.array(contents.splits) == split].sum()),
                    filename_template=template,
                )
                for split in SPLITS
                if split in shards
            ]
        )
    )
    write_text(folder / METADATA, json.dumps(metadata(contents, shards)))
    info.write_to_directory(folder)  # dataset_info.json last


def remove_unfinished(folder: epath.Path):
    """Removes unfinished files that killed processes left."""
    if not on_bucket(folder):
        for path in Path(folder).glob("*.partial"):
            path.unlink(missing_ok=True)
