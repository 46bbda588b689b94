"""Extraction on many machines: an Apache Beam pipeline from a list of clips to a data set of `record_files`.

The clips of a split, in order, are cut into shards of a fixed number of clips. A shard is a piece of work by itself:
its clips are decoded, run through the network and written to one array_record file; then its report is written,
`shards/train-00003-of-00012.json`. Both appear whole or not at all, and the report says that the shard is done. A
worker that dies leaves no report, and whoever does the shard again, another worker or the next run, writes the same
two files. So nothing is lost or duplicated. Frames are batched within a clip, so that a clip's features
do not depend on which others are in its shard.

A clip that fails is tried again; if it keeps failing it is left out, and `dead_letters.csv` names it with the reason.
"""

import csv
import functools
import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
from absl import logging
from etils import epath

from attention_ar.errors import InputError, one_line
from data_prep.common.read_ahead import read_ahead
from data_prep.datasets.clip_list import SPLITS, Clip, ClipList
from data_prep.features.contents import named_levels
from data_prep.features.extraction import (
    describe_clips,
    fill_batches,
    make_plan,
    make_recipe,
    print_notes,
    run_network,
)
from data_prep.features.partial_features import row_bytes
from data_prep.features.recipe import recipe_hash, require_same_recipe
from data_prep.features.record_files import (
    INFO,
    RECORD_LIMIT,
    count_records,
    dataset_folder,
    example,
    example_spec,
    remove_unfinished,
    shard_path,
    write_about,
    write_shard,
    write_text,
)
from data_prep.features.statistics import network_fault
from data_prep.networks.network import Network, level_shapes
from data_prep.video.clip_frames import ClipRecord, ClipSource, probe_clip
from data_prep.video.image_folder import DEFAULT_FPS
from data_prep.video.part_frames import decode_pass

_REPORTS = "shards"
_DEAD_LETTERS = "dead_letters.csv"
_RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class Shard:
    """One piece of work: clips of one split, which become one file."""

    split: str
    index: int
    count: int
    clips: tuple[Clip, ...]

    @property
    def name(self) -> str:
        return f"{self.split}-{self.index:05d}-of-{self.count:05d}"


@dataclass(frozen=True)
class Job:
    """Everything that a worker needs; it is sent to each one.

    Attributes:
      folder: of the data set.
      data_dir: of the clips, as the workers see it.
      class_names, multi_label: of the data set.
      fps: see `extraction.extract`.
      image_fps: see `ClipList`.
      frame_batch: frames per call of the network.
      tries: attempts per clip.
      feature_shapes: (K, K, D) of every level.
      recipe: that a worker must come to as well.
      plan_sha256: of all that is to be done.
      make_network: loads the network; called once in a worker process.
    """

    folder: str
    data_dir: str
    class_names: tuple[str, ...]
    multi_label: bool
    fps: float | None
    image_fps: float | None
    frame_batch: int
    tries: int
    feature_shapes: tuple[tuple[int, int, int], ...]
    recipe: dict
    plan_sha256: str
    make_network: Callable[[], Network]


@dataclass(frozen=True)
class Outcome:
    """The result of a pipeline.

    Attributes:
      folder: of the data set.
      num_videos: of each split that has some.
      num_frames: of all of them.
      num_dead: clips in `dead_letters`.
      dead_letters: the file that names them.
      already_complete: it existed before, and nothing was done.
    """

    folder: epath.Path
    num_videos: dict[str, int]
    num_frames: int
    num_dead: int
    dead_letters: epath.Path
    already_complete: bool


def extract_with_beam(
    clip_list: ClipList,
    make_network: Callable[[], Network],
    output_dir,
    name: str,
    *,
    fps: float | None = None,
    frame_batch: int = 32,
    clips_per_shard: int = 32,
    tries: int = 3,
    retry_dead_letters: bool = False,
    options=None,
) -> Outcome:
    """Runs the pipeline, or resumes what an earlier run left.

    Args:
      clip_list: the clips; every worker must see its `data_dir` under the same path.
      make_network: loads the network in a worker, see `Job`.
      output_dir: the data set becomes `output_dir`/`name`/1.0.0; may be on a bucket.
      name: of the data set.
      fps: keep every k-th frame, k = round(native / fps); None keeps all.
      frame_batch: frames per call of the network.
      clips_per_shard: clips of a shard.
      tries: how often a clip is tried before it is given up.
      retry_dead_letters: do shards again that have clips which failed.
      options: Beam's `PipelineOptions`.

    Raises:
      InputError: for a folder that holds something else, and if no frame of any clip could be read.
    """
    if min(frame_batch, clips_per_shard, tries) < 1:
        raise InputError(
            f"frame_batch={frame_batch}, clips_per_shard={clips_per_shard}, tries={tries}: all must be at least 1"
        )
    folder = dataset_folder(output_dir, name)
    network = make_network()
    recipe = make_recipe(network, fps)
    shards = cut_shards(clip_list, clips_per_shard)
    plan = {**make_plan(clip_list, recipe, frame_batch), "clips_per_shard": clips_per_shard}
    job = Job(
        folder=str(folder),
        data_dir=clip_list.data_dir,
        class_names=clip_list.class_names,
        multi_label=clip_list.multi_label,
        fps=fps,
        image_fps=clip_list.image_fps,
        frame_batch=frame_batch,
        tries=tries,
        feature_shapes=tuple(level_shapes(network)),
        recipe=recipe,
        plan_sha256=recipe_hash(plan),
        make_network=make_network,
    )
    already_complete = _begin(folder, plan, retry_dead_letters)
    if not already_complete:
        # A shard's name is all that goes through the pipeline; the results are on the disk.
        with beam.Pipeline(options=options) as pipeline:
            _ = (
                pipeline
                | "Shards" >> beam.Create(shards)
                | "OneByOne" >> beam.Reshuffle()
                | "Extract" >> beam.ParDo(ExtractShard(job, retry_dead_letters))
            )
    reports = [read_report(folder, shard) for shard in shards]
    missing = [shard.name for shard, report in zip(shards, reports, strict=True) if report is None]
    if missing:
        raise InputError(f"{folder}: {len(missing)} shards are missing, {missing[0]} first; the same command resumes")
    return _finish(folder, clip_list, shards, reports, job, already_complete)


def cut_shards(clip_list: ClipList, clips_per_shard: int) -> list[Shard]:
    """Returns the shards of all splits, which hold the clips of each in the list's order."""
    shards = []
    for split in SPLITS:
        clips = [clip for clip in clip_list.clips if clip.split == split]
        parts = [clips[first : first + clips_per_shard] for first in range(0, len(clips), clips_per_shard)]
        shards += [Shard(split, index, len(parts), tuple(part)) for index, part in enumerate(parts)]
    return shards


class ExtractShard(beam.DoFn):
    """Makes one shard, unless it is there, and yields its name."""

    def __init__(self, job: Job, retry_dead_letters: bool = False):
        self._job = job
        self._retry = retry_dead_letters
        self._network = None

    def setup(self):
        """Loads the network, once in a worker."""
        self._network = self._job.make_network()
        if fault := network_fault(self._network, self._job.frame_batch):
            logging.warning("%s", fault)
        require_same_recipe(self._job.recipe, make_recipe(self._network, self._job.fps), what="this worker")

    def process(self, shard: Shard) -> Iterator[str]:
        folder = epath.Path(self._job.folder)
        done = read_report(folder, shard)
        if done and self._retry and any(record.num_frames == 0 for record in done):
            report_path(folder, shard).unlink()  # first, for what it says will not be true any more
            done = None
        if done is None:
            reports: list[ClipRecord] = []
            first, *further = self._job.feature_shapes
            levels = dict(zip(named_levels(self._job.recipe), further, strict=True))
            spec = example_spec(first, self._job.multi_label, self._job.class_names, levels)
            path = shard_path(folder, shard.split, shard.index, shard.count)
            write_shard(path, self._examples(shard, reports), spec)
            beam.metrics.Metrics.counter("extraction", "frames").inc(sum(record.num_frames for record in reports))
            lines = [record.as_json() for record in reports]
            write_text(report_path(folder, shard), json.dumps(lines))
        yield shard.name

    def _examples(self, shard: Shard, reports: list[ClipRecord]) -> Iterator[dict]:
        for clip in shard.clips:
            record, levels = self._extract(clip)
            reports.append(record)
            if record.num_frames:
                rows, *further = levels
                further = dict(zip(named_levels(self._job.recipe), further, strict=True))
                yield example(self._about(clip, record), 0, rows, further)

    def _about(self, clip: Clip, record: ClipRecord):
        alone = ClipList("", self._job.data_dir, (clip,), self._job.class_names, self._job.multi_label, "")
        return describe_clips(alone, [record], self._job.feature_shapes, self._job.recipe, "")

    def _extract(self, clip: Clip) -> tuple[ClipRecord, list[np.ndarray] | None]:
        for attempt in range(1, self._job.tries + 1):
            try:
                source = probe_clip(self._job.data_dir, clip.path, self._job.fps, self._job.image_fps or DEFAULT_FPS)
                record, levels = extract_clip(source, self._network, self._job.frame_batch)
            except Exception as error:  # no error of one clip may lose the others
                logging.warning("%s, try %d: %s", clip.path, attempt, error, exc_info=True)
                reason = f"{type(error).__name__}: {one_line(error)}"
                record, levels = ClipRecord(clip.path, 0, 0.0, 0.0, reason), None
            if record.num_frames:
                break
            if attempt < self._job.tries:
                time.sleep(_RETRY_SECONDS)
        return record, levels


def extract_clip(source: ClipSource, network: Network, frame_batch: int) -> tuple[ClipRecord, list[np.ndarray] | None]:
    """Extracts one clip by itself.

    Returns:
      Its record, and its rows `<float16>[n, K, K, D]` of every level, None where it has no frame.
    """
    bytes_each = row_bytes(*level_shapes(network))
    if source.num_rows * bytes_each > RECORD_LIMIT:
        limit = RECORD_LIMIT // bytes_each
        return ClipRecord(
            source.name, 0, 0.0, 0.0, f"{source.num_rows} frames; a record holds {limit}, use a lower --fps"
        ), None
    decode = functools.partial(decode_pass, size=network.input_size)
    decoded = read_ahead([[source]], decode, workers=1)
    batches = fill_batches(decoded, network.input_size, frame_batch, shorten_last=True)
    parts = list(run_network(network, batches))
    (record,) = (record for batch, _ in parts for record in batch.records)
    if not record.num_frames:
        return record, None
    return record, [np.concatenate(of_level) for of_level in zip(*(levels for _, levels in parts), strict=True)]


def report_path(folder: epath.Path, shard: Shard) -> epath.Path:
    """Returns where a shard's report lies."""
    return folder / _REPORTS / f"{shard.name}.json"


def read_report(folder: epath.Path, shard: Shard) -> list[ClipRecord] | None:
    """Returns the records of a shard's clips, or None if the shard is not done, or was damaged since."""
    report = report_path(folder, shard)
    if not report.exists():
        return None
    records = [ClipRecord(**line) for line in json.loads(report.read_text())]
    if [record.path for record in records] != [clip.path for clip in shard.clips]:
        raise InputError(f"{report}: names other clips than its shard; delete {folder} to start afresh")
    found = count_records(shard_path(folder, shard.split, shard.index, shard.count))
    return records if found == sum(record.num_frames > 0 for record in records) else None


def _begin(folder: epath.Path, plan: dict, retry_dead_letters: bool) -> bool:
    """Prepares the folder; returns whether all is done already."""
    begun = folder / "plan.json"
    try:
        (folder / _REPORTS).mkdir(parents=True, exist_ok=True)
        if not begun.exists():
            remove_unfinished(folder)  # a kill may have left the plan's own
            if [path.name for path in folder.iterdir()] != [_REPORTS]:
                raise InputError(f"{folder}: holds other files; delete it, or name another folder or name")
            write_text(begun, json.dumps(plan))
        elif (found := json.loads(begun.read_text())) != plan:
            require_same_recipe(plan["recipe"], found["recipe"], what=str(folder))
            raise InputError(
                f"{folder}: was begun with other clips, another split, --frame_batch or --clips_per_shard; go on with "
                "the old command, or delete the folder to start afresh"
            )
        complete = (folder / INFO).exists()
        if complete and retry_dead_letters:
            (folder / INFO).unlink()
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error})") from None
    return complete and not retry_dead_letters


def _finish(folder, clip_list, shards, reports, job: Job, already_complete: bool) -> Outcome:
    """Writes what is about all shards: dead letters, metadata, and TFDS's files."""
    by_path = {record.path: record for report in reports for record in report}
    records = [by_path[clip.path] for clip in clip_list.clips]
    dead = [record for record in records if record.num_frames == 0]
    if not already_complete:
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("path", "reason"))
        writer.writerows((record.path, record.reason) for record in dead)
        write_text(folder / _DEAD_LETTERS, table.getvalue())
    if len(dead) == len(records):
        raise InputError(f"no frame of {len(dead)} clips could be read; see {folder / _DEAD_LETTERS}")
    contents = describe_clips(clip_list, records, job.feature_shapes, job.recipe, job.plan_sha256)
    lengths: dict[str, list[int]] = {}
    for shard, report in zip(shards, reports, strict=True):
        lengths.setdefault(shard.split, []).append(sum(record.num_frames > 0 for record in report))
    if not already_complete:
        print_notes(records)
        write_about(folder, contents, lengths)
        remove_unfinished(folder)
        remove_unfinished(folder / _REPORTS)
    return Outcome(
        folder=folder,
        num_videos={split: sum(counts) for split, counts in lengths.items()},
        num_frames=int(contents.num_frames.sum()),
        num_dead=len(dead),
        dead_letters=folder / _DEAD_LETTERS,
        already_complete=already_complete,
    )
