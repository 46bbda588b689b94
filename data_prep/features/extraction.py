"""From clips to a features file: decode, network, store; resumable, and the same to the bit however often resumed.

The three overlap: threads decode ahead, enough batches are in the network to keep the machine busy, and finished
features are written meanwhile.
"""

import contextlib
import functools
import json
import math
import os
import shutil
import time
from collections.abc import Generator, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import numpy as np

from attention_ar.errors import InputError, printable
from data_prep.common.cores import num_cores
from data_prep.common.files import write_csv
from data_prep.common.map_ahead import map_ahead
from data_prep.common.progress import Progress
from data_prep.common.read_ahead import read_ahead
from data_prep.datasets.clip_list import ClipList
from data_prep.datasets.mirrors import describe_mirrors, with_mirrored
from data_prep.features.contents import FeaturesFile, named_levels
from data_prep.features.hdf5_file import FORMAT_VERSION
from data_prep.features.opening import open_features
from data_prep.features.partial_features import PartialFeatures, partial_folder, row_bytes
from data_prep.features.probing import probe_clips
from data_prep.features.recipe import recipe_hash, require_same_recipe
from data_prep.networks.network import Network, all_levels, level_shapes
from data_prep.video.clip_frames import ClipRecord
from data_prep.video.part_frames import decode_pass, passes

_MOST_NOTES = 10
_COMMIT_SECONDS = 0.5  # finished clips are noted at most this often: noting waits for the disk


@dataclass(frozen=True)
class Extraction:
    """The result of an extraction.

    Attributes:
      num_clips: the clips to extract.
      num_lost: clips of which no frame could be read.
      num_cut_short: clips whose rest is missing.
      num_frames: rows in the file.
      already_complete: the file existed before, and nothing was done.
    """

    num_clips: int
    num_lost: int
    num_cut_short: int
    num_frames: int
    already_complete: bool = False


def make_recipe(network: Network, fps: float | None, mirror: str = "") -> dict:
    """Returns all that the features' values depend on: the network's recipe, the decoder, the sampling.

    Args:
      network: the network.
      fps: the frame rate to which clips are reduced, None for their own.
      mirror: which clips are there mirrored too, see `mirrors.describe_mirrors`; "" for none.
    """
    libraries = ", ".join(
        f"{name} {'.'.join(map(str, av.library_versions[name]))}"
        for name in ("libavcodec", "libavformat", "libswscale")
    )
    recipe = {
        **network.recipe,
        "format_version": FORMAT_VERSION,
        "decoder": f"PyAV {av.__version__} ({libraries})",
        "resize": "{}x{} bilinear (libswscale)".format(*network.input_size),
        "extraction_fps": "native" if fps is None else float(fps),
    }
    if mirror:
        recipe["mirror"] = mirror
    return json.loads(json.dumps(recipe))


def parse_fps(text: str) -> float | None:
    """Returns what --fps says: frames per second, or None for `native`."""
    if text == "native":
        return None
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise InputError(f"fps={text}: must be a positive number of frames per second, or native")


def check_output(output) -> Path:
    """Returns `output` as a path, or raises `InputError` if no features file can be written there."""
    output = Path(os.path.abspath(output))
    if output.suffix != ".h5":
        raise InputError(f"output={output}: must end in .h5")
    if output.is_dir():
        raise InputError(f"output={output}: is a folder; name a file")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"output={output}: its folder cannot be made ({error.strerror})") from None
    if not os.access(output.parent, os.W_OK | os.X_OK):
        raise InputError(f"output={output}: no permission to write into {output.parent}")
    return output


def extract(
    clip_list: ClipList,
    network: Network,
    output,
    *,
    fps: float | None = None,
    frame_batch: int = 32,
    decode_workers: int | None = None,
    mirror_labels: Mapping[str, str] | None = None,
) -> Extraction:
    """Extracts the features of every clip and writes them to one file.

    Killed and called again with the same arguments, it resumes after the last finished clip. The file is the same
    to the bit as without the interruption: every frame has the same place in the same batch. Clips that cannot
    be read are left out; they and those cut short are listed in `skipped.csv` beside the output. Parts of one video
    that follow one another in the list are decoded in one pass, see `part_frames.passes`.

    Args:
      clip_list: the clips, in the order in which they are stored.
      network: the network.
      output: the features file, ending in .h5.
      fps: the rate to which clips are reduced, see `frame_times.plan_sampling`. None keeps all frames of every clip.
      frame_batch: B, frames per call of the network. Batches span clips; the last is padded.
      decode_workers: clips that are decoded at a time, in threads; None for one a core, 2 to 16.
      mirror_labels: stores training clips mirrored too, with these classes swapped, see `mirrors`; None does not.

    Raises:
      InputError: for an output that cannot be written, exists already with other contents or was begun with another
        plan; for too small a disk; and if no frame of any clip could be read.
    """
    if decode_workers is None:  # A thread decodes 800 to 2000 frames a second; a GPU takes several times that.
        decode_workers = min(max(2, num_cores()), 16)
    if frame_batch < 1 or decode_workers < 1:
        raise InputError(f"frame_batch={frame_batch}, decode_workers={decode_workers}: both must be at least 1")
    output = check_output(output)
    mirror = "" if mirror_labels is None else describe_mirrors(mirror_labels)
    if mirror_labels is not None:
        clip_list = with_mirrored(clip_list, mirror_labels)
    recipe = make_recipe(network, fps, mirror)
    plan = make_plan(clip_list, recipe, frame_batch)
    if output.exists():
        return _already_complete(output, plan)

    shapes = level_shapes(network)
    with PartialFeatures(output, plan, *shapes) as partial:
        num_done, num_clips = len(partial.records), len(clip_list.clips)
        rest = probe_clips(clip_list, num_done, fps, decode_workers)
        num_frames = partial.num_rows + sum(source.num_rows for source in rest)
        size = num_frames * row_bytes(*shapes)
        print(f"{num_clips} clips, {num_frames} frames: {output} will take {size / 1e9:.2f} GB", flush=True)
        # At the end, the rows of all levels but the largest are there twice.
        _check_disk(output, size + size - num_frames * max(map(row_bytes, shapes)))
        if num_done:
            print(f"resuming after {num_done} of {num_clips} clips", flush=True)
        decode = functools.partial(decode_pass, size=network.input_size)
        decoded = read_ahead(passes(rest), decode, workers=decode_workers)
        batches = fill_batches(decoded, network.input_size, frame_batch, num_rows=partial.num_rows)
        with (
            Progress(num_frames, partial.num_rows, "frame") as progress,
            contextlib.closing(run_network(network, batches)) as done,
        ):
            _store(done, partial, progress)
        write_skipped(output.with_name("skipped.csv"), partial.records)
        print_notes(partial.records)
        lost = sum(record.num_frames == 0 for record in partial.records)
        if lost == len(partial.records):
            partial.discard()
            raise InputError(f"no frame of {lost} clips could be read; see {output.with_name('skipped.csv')}")
        contents = describe_clips(clip_list, partial.records, shapes, recipe, recipe_hash(plan))
        partial.finish(contents)
        return Extraction(
            num_clips=len(partial.records),
            num_lost=lost,
            num_cut_short=sum(record.num_frames > 0 and record.reason != "" for record in partial.records),
            num_frames=partial.num_rows,
        )


def make_plan(clip_list: ClipList, recipe: dict, frame_batch: int) -> dict:
    """Returns all that the features file's contents depend on, as JSON keeps it."""
    plan = {**asdict(clip_list), "recipe": recipe, "frame_batch": frame_batch}
    del plan["missing"]  # if some of them are added later, the list of clips changes
    if clip_list.image_fps is None:
        del plan["image_fps"]
    plan["clips"] = [[clip.name, clip.labels, clip.group, clip.split] for clip in clip_list.clips]
    return json.loads(json.dumps(plan))


def _already_complete(output: Path, plan: dict) -> Extraction:
    contents = open_features(output)
    has, wanted = (recipe.get("mirror", "no mirrored clips") for recipe in (contents.recipe, plan["recipe"]))
    if has != wanted:
        raise InputError(f"{output} exists, with {has}, not with {wanted}; name another output, or delete it")
    if contents.plan_sha256 != recipe_hash(plan):
        require_same_recipe(plan["recipe"], contents.recipe, what=str(output))
        raise InputError(
            f"{output} exists, made of other clips or with another split (it has {len(contents.names)} clips, split "
            f"{contents.split_id}), --image_fps or --frame_batch; name another output, or delete it to start afresh"
        )
    if partial_folder(output).is_dir():  # killed just before it was removed
        shutil.rmtree(partial_folder(output))
    return Extraction(
        num_clips=len(plan["clips"]),
        num_lost=len(plan["clips"]) - len(contents.names),
        num_cut_short=int(contents.truncated.sum()),
        num_frames=len(contents.features),
        already_complete=True,
    )


def _check_disk(output: Path, size: int):
    there = sum(rows.stat().st_blocks * 512 for rows in partial_folder(output).glob("rows*"))
    free = shutil.disk_usage(output.parent).free
    if size - there > free:
        raise InputError(
            f"{output} needs {(size - there) / 1e9:.2f} GB and {output.parent} has {free / 1e9:.2f} GB free; "
            "make room, choose another folder or a lower --fps"
        )


@dataclass(frozen=True)
class Batch:
    """Frames on their way through the network.

    Attributes:
      frames: `<uint8>[B, height, width, 3]`; None where only records are left.
      begin, end: the range of real frames; the others are black padding.
      records: of the clips whose frames end in this batch or before it.
    """

    frames: np.ndarray | None
    begin: int
    end: int
    records: list[ClipRecord]


def fill_batches(
    decoded: Generator[np.ndarray | ClipRecord],
    size: tuple[int, int],
    frame_batch: int,
    *,
    num_rows: int = 0,
    shorten_last: bool = False,
) -> Generator[Batch]:
    """Fills batches across clips, so that every frame has the same place in the same batch after any interruption.

    Args:
      decoded: for each clip its frames, `<uint8>[n, height, width, 3]`, and then its record. It is closed at the end.
      size: (height, width).
      frame_batch: B.
      num_rows: frames of earlier runs. If they ended within a batch, it begins with black frames instead.
      shorten_last: whether the last batch may have B/2 or B/4 frames. Most clips leave a short last batch; shortening
        it saves time and costs two compilations.

    Yields:
      Batches; the last is padded with black frames.
    """
    begin = end = num_rows % frame_batch
    frames, records = None, []
    with contextlib.closing(decoded):
        for item in decoded:
            if isinstance(item, ClipRecord):
                records.append(item)
                continue
            while len(item):
                if frames is None:
                    frames = np.zeros((frame_batch, *size, 3), np.uint8)
                taken = min(frame_batch - end, len(item))
                frames[end : end + taken] = item[:taken]
                end, item = end + taken, item[taken:]
                if end == frame_batch:
                    yield Batch(frames, begin, end, records)
                    frames, records, begin, end = None, [], 0, 0
    size = frame_batch
    while shorten_last and end <= size // 2 and size > frame_batch // 4:
        size //= 2
    yield Batch(None if frames is None else frames[:size], begin, end, records)


def run_network(network: Network, batches: Generator[Batch]) -> Generator[tuple[Batch, list[np.ndarray]]]:
    """Yields every batch with the features of its real frames, `<float16>[n, K, K, D]` of every level, in order.

    As many calls of the network are in flight as keep the machine busy, and as many batches wait.
    """

    shapes = level_shapes(network)

    def call(batch: Batch):
        if batch.frames is None:
            return batch, [np.zeros((0, *shape), np.float16) for shape in shapes]
        levels = all_levels(network, batch.frames)
        for features, shape in zip(levels, shapes, strict=True):
            if features.shape != (len(batch.frames), *shape) or features.dtype != np.float16:
                raise TypeError(f"the network gave {features.dtype}{list(features.shape)}")
        return batch, [features[batch.begin : batch.end] for features in levels]

    return map_ahead(call, batches, workers=network.calls_in_flight)


def _store(done: Iterable[tuple[Batch, list[np.ndarray]]], partial: PartialFeatures, progress: Progress):
    """Writes rows, and notes clips once their last row is written."""
    waiting, last_commit = [], time.monotonic()
    for batch, levels in done:
        if len(levels[0]):
            partial.add_rows(*levels)
        progress.advance(len(levels[0]))
        waiting += batch.records
        if waiting and time.monotonic() - last_commit >= _COMMIT_SECONDS:
            partial.record(waiting)
            waiting, last_commit = [], time.monotonic()
    if waiting:
        partial.record(waiting)


def write_skipped(path: Path, records: list[ClipRecord]):
    """Writes the table of the clips that are lost or cut short."""
    rows = [(record.path, record.reason, record.num_frames) for record in records if record.reason]
    write_csv(path, ("path", "reason", "kept_frames"), rows)


def print_notes(records: list[ClipRecord]):
    """Prints notes on extracted clips, such as a frame rate that varies."""
    noted = [record for record in records if record.note]
    for record in noted[:_MOST_NOTES]:
        print(f"NOTE: {printable(record.path)}: {record.note}")
    if len(noted) > _MOST_NOTES:
        print(f"NOTE: {len(noted) - _MOST_NOTES} more such clips; data_prep.verify_videos lists them")


def describe_clips(
    clip_list: ClipList, records: list[ClipRecord], feature_shapes, recipe: dict, plan_sha256: str
) -> FeaturesFile:
    """Returns everything about a features file but its rows; clips without a frame are left out.

    Args:
      clip_list, records: the clips.
      feature_shapes: (K, K, D) of every level.
      recipe, plan_sha256: see `FeaturesFile`.
    """
    kept = [(clip, record) for clip, record in zip(clip_list.clips, records, strict=True) if record.num_frames]
    num_frames = np.array([record.num_frames for _, record in kept])
    features, *further = (np.broadcast_to(np.float16(0), (num_frames.sum(), *shape)) for shape in feature_shapes)
    return FeaturesFile(
        features=features,
        names=[clip.name for clip, _ in kept],
        first_row=np.cumsum(num_frames) - num_frames,
        num_frames=num_frames,
        native_fps=np.array([record.native_fps for _, record in kept]),
        fps=np.array([record.fps for _, record in kept]),
        labels=np.array([[name in clip.labels for name in clip_list.class_names] for clip, _ in kept], np.uint8),
        groups=[clip.group for clip, _ in kept],
        splits=[clip.split for clip, _ in kept],
        truncated=np.array([record.reason != "" for _, record in kept]),
        class_names=list(clip_list.class_names),
        multi_label=clip_list.multi_label,
        recipe=recipe,
        split_id=clip_list.split_id,
        data_dir=clip_list.data_dir,
        plan_sha256=plan_sha256,
        frame=_frame_column([record for _, record in kept]),
        levels=dict(zip(named_levels(recipe), further, strict=True)),
    )


def _frame_column(records: list[ClipRecord]) -> np.ndarray | None:
    """The frame of each row, if it does not follow from the frame rates of every clip."""
    if all(record.frames is None for record in records):
        return None
    every = [round(record.native_fps / record.fps) for record in records]
    return np.concatenate(
        [
            k * np.arange(record.num_frames) if record.frames is None else record.frames
            for record, k in zip(records, every, strict=True)
        ]
    )
