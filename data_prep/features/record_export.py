"""From a features file to a data set of `record_files`. Killed at any moment, it resumes after the last shard."""

import json
from dataclasses import dataclass

import numpy as np
from etils import epath

from attention_ar.errors import InputError
from data_prep.common.progress import Progress
from data_prep.datasets.clip_list import SPLITS
from data_prep.features.contents import FeaturesFile
from data_prep.features.recipe import recipe_hash
from data_prep.features.record_files import (
    INFO,
    METADATA,
    dataset_folder,
    example,
    example_spec,
    level_shapes,
    metadata,
    remove_unfinished,
    shard_path,
    write_about,
    write_shard,
    write_text,
)

SHARD_BYTES = 1 << 29  # of features, before compression


@dataclass(frozen=True)
class Export:
    """The result of an export.

    Attributes:
      folder: of the data set.
      num_videos: of each split that has some.
      already_complete: it existed before, and nothing was done.
    """

    folder: epath.Path
    num_videos: dict[str, int]
    already_complete: bool


def export_records(contents: FeaturesFile, data_dir, name: str, shard_bytes: int = SHARD_BYTES) -> Export:
    """Writes a features file as the data set `data_dir`/`name`/1.0.0.

    Args:
      contents: what `open_features` returned.
      data_dir: where TFDS looks for its data sets; may be on a bucket.
      name: of the data set, like ucf11_googlenet.
      shard_bytes: of features in a shard, at least; a shard holds whole videos of one split.

    Raises:
      InputError: for a name that TFDS cannot find, a folder that cannot be written or holds something else.
    """
    folder = dataset_folder(data_dir, name)
    split_shards = {split: _cut(contents, split, shard_bytes) for split in SPLITS}
    split_shards = {split: shards for split, shards in split_shards.items() if shards}
    about = metadata(contents, {split: [len(shard) for shard in shards] for split, shards in split_shards.items()})
    num_videos = {split: contents.splits.count(split) for split in split_shards}
    try:
        if not _begin(folder, about):
            return Export(folder, num_videos, already_complete=True)
        shape, levels = contents.features.shape[1:], level_shapes(contents)
        spec = example_spec(shape, contents.multi_label, contents.class_names, levels)
        with Progress(len(contents.features), 0, "frame") as progress:
            for split, shards in split_shards.items():
                for index, videos in enumerate(shards):
                    path = shard_path(folder, split, index, len(shards))
                    if not path.exists():
                        write_shard(path, (_example(contents, video) for video in videos), spec)
                    progress.advance(int(contents.num_frames[videos].sum()))
        write_about(folder, contents, about["shards"])
        (folder / "plan.json").unlink()
        remove_unfinished(folder)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror or error}); fix that, then run the same command to resume"
        ) from None
    return Export(folder, num_videos, already_complete=False)


def _begin(folder: epath.Path, about: dict) -> bool:
    """Prepares the folder; returns whether there is something to do."""
    if (folder / INFO).exists():
        if (folder / METADATA).exists() and json.loads((folder / METADATA).read_text()) == about:
            return False
        raise InputError(f"{folder}: holds another data set; delete it, or name another --data_dir or --name")
    folder.mkdir(parents=True, exist_ok=True)
    plan = {"export_sha256": recipe_hash(about)}
    begun = folder / "plan.json"
    if not begun.exists():
        remove_unfinished(folder)  # a kill may have left the plan's own
        if any(folder.iterdir()):
            raise InputError(f"{folder}: holds other files; delete it, or name another --data_dir or --name")
        write_text(begun, json.dumps(plan))
    elif json.loads(begun.read_text()) != plan:
        raise InputError(f"{folder}: was begun from another features file; use that one, or delete the folder")
    return True


def _cut(contents: FeaturesFile, split: str, shard_bytes: int) -> list[np.ndarray]:
    """Returns the videos of each shard of a split, in the file's order."""
    videos = np.flatnonzero(np.array(contents.splits) == split)
    begins = np.cumsum(contents.num_frames[videos]) - contents.num_frames[videos]
    shard = begins * contents.bytes_per_frame // shard_bytes
    return [videos[shard == index] for index in np.unique(shard)]


def _example(contents: FeaturesFile, video: int) -> dict:
    first = int(contents.first_row[video])
    own = slice(first, first + int(contents.num_frames[video]))
    return example(contents, video, contents.features[own], {name: rows[own] for name, rows in contents.levels.items()})
