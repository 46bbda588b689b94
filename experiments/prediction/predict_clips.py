"""Predictions for videos that are in no features file: files, folders, pipes and cameras."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from attention_ar.errors import InputError, printable
from data_prep.common.folders import check_name, walk
from data_prep.common.progress import Progress
from data_prep.video.clip_files import TAKEN, find_clips
from data_prep.video.image_folder import DEFAULT_FPS, check_image_fps
from data_prep.video.sources import may_be_live
from experiments.prediction.clip_predictor import ClipPredictor
from experiments.prediction.clip_stream import BlockPrediction, ClipStream
from experiments.prediction.file_reports import PredictionsFile, check_predictions_path
from experiments.prediction.output import JsonReport, Report, TextReport, describe
from experiments.prediction.overlay_movie import OverlayMovie, overlay_size
from experiments.prediction.segments import SegmentRule, SegmentsFile, check_segments_path
from experiments.runs import trained
from experiments.runs.file_names import file_stem
from experiments.runs.matching_network import matching_network

_OVERLAY_CLASSES = 2  # named in an overlay's line of text
_LATE = "faster than the network, so late frames are dropped; a longer --stride may help, or a lower rate of the source"


def predict(
    workdir,
    names,
    *,
    checkpoint: str = "best",
    network: str | None = None,
    network_options: dict[str, str] | None = None,
    stride: int | None = None,
    protocol: str | None = None,
    frame_batch: int | None = None,
    image_fps: float = DEFAULT_FPS,
    overlay: str | None = None,
    explain: str = "attention",
    as_json: bool = False,
    top: int = 3,
    seconds: float = 1.0,
    calibrate: bool = True,
    reject_below: float | None = None,
    live: bool | None = None,
    output: str | None = None,
    segments: str | None = None,
    segment_rule: SegmentRule | None = None,
) -> int:
    """Predicts videos, one after the other, and prints what is found as soon as it is known.

    On SIGINT (Ctrl-C) or SIGTERM it ends with the current clip's result so far; on the second signal, at once.

    Args:
      workdir: of the run.
      names: what the user named, see `list_clips`.
      checkpoint: "best" or "latest".
      network, network_options: the user's choice of the network; None is that of the run's features, see `load_again`.
      stride, protocol, frame_batch: see `ClipPredictor`.
      overlay: where overlays go, see `overlay_paths`; None makes none.
      explain: what is white in them, see `explanations.as_maps`.
      as_json, top, seconds: see `JsonReport`, `TextReport`.
      calibrate, reject_below, live: see `ClipPredictor`.
      output: where a `PredictionsFile` goes, if one is wanted.
      segments, segment_rule: where a `SegmentsFile` goes, if one is wanted, and how blocks become segments.

    Returns:
      The exit status: 1 where a clip could not be read, else 0.

    Raises:
      InputError: where not one clip can be predicted with this run and this network.
    """
    check_image_fps(image_fps)
    clips = list_clips(names)
    paths = overlay_paths(overlay, clips) if overlay else {}
    if output:
        check_predictions_path(output)
    if segments:
        check_segments_path(segments, clips)
    if live and not any(map(may_be_live, clips)):
        raise InputError("live: has no effect without a pipe or a camera among the clips; files wait for the network")
    model = trained.load(workdir, checkpoint)
    if overlay and explain == "attention":
        model.require_attention()
    if reject_below is not None and not model.temperature.num_videos:
        print(f"NOTE: reject_below={reject_below:g}: {model.temperature.describe()}", file=sys.stderr)
    found = matching_network(model, network, network_options)
    _make_folders(overlay, paths)
    predictor = ClipPredictor(
        model,
        found,
        stride=stride,
        protocol=protocol,
        frame_batch=frame_batch,
        image_fps=image_fps,
        calibrate=calibrate,
        reject_below=reject_below,
        live=live,
        explain=explain if overlay else None,
    )
    status = 0
    reports: list[Report] = [JsonReport(predictor) if as_json else TextReport(predictor, top, seconds)]
    with told_to_stop() as stop, contextlib.ExitStack() as files:
        if output:
            reports.append(files.enter_context(PredictionsFile(predictor, output)))
        if segments:
            reports.append(files.enter_context(SegmentsFile(predictor, segments, segment_rule or SegmentRule())))
        for clip in clips:
            try:
                _predict_clip(predictor, clip, reports, stop, paths.get(clip))
            except InputError as error:
                print(f"error: {printable(str(error))}", file=sys.stderr, flush=True)
                for report in reports:
                    report.failure(clip, error)
                status = 1
            if stop.is_set():
                break
    return status


def _predict_clip(predictor: ClipPredictor, clip: str, reports: list[Report], stop: threading.Event, path):
    check_name(clip, "the clip")
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(ClipStream(predictor, clip, stop))
        for report in reports:
            report.begin(stream)
        said_late = False
        movie = stack.enter_context(_open_overlay(predictor, stream, path)) if path else None
        found = stream.blocks(movie.add_frame, overlay_size) if path else stream.blocks()
        for block in _with_progress(stream, stack.enter_context(contextlib.closing(found))):
            if path:
                movie.add_block(block)
            if block.counts:
                for report in reports:
                    report.block(stream, block)
            if stream.num_dropped and not said_late:
                said_late = True
                print(f"NOTE: {printable(clip)}: {_LATE}", file=sys.stderr, flush=True)
    if stream.result is None:
        print(f"{printable(clip)}: stopped before its first frame", file=sys.stderr)
        return
    for report in reports:
        report.clip(stream, stream.result)
    if path and movie.failure:
        raise movie.failure
    if path:
        for report in reports:
            report.overlay(path)


def list_clips(names) -> list[str]:
    """Returns the clips that a user names: for a folder all its video files, in subfolders too, sorted; else
    the name. A folder of numbered pictures is one clip.

    Raises:
      InputError: where there is none, or the standard input is named twice.
    """
    if not names:
        raise InputError("no clip is named; name video files, folders of them, - for a pipe, or a camera (/dev/video0)")
    clips = []
    for name in names:
        if not os.path.isdir(name):
            clips.append(name)
            continue
        videos, _ = find_clips(walk(name, check_names=False))
        paths = [os.path.join(name, video) if video.parts else name for video in videos]
        found = [path for path in paths if not _is_special(path)]
        if not found:
            raise InputError(f"{name}: no video in this folder; there should be files of {TAKEN}")
        clips += found
    if clips.count("-") > 1:
        raise InputError("-: named twice; the standard input can be read once")
    return list(dict.fromkeys(clips))


def _is_special(path: str) -> bool:
    """Whether it is there but no file, such as a named pipe, which is read only where the user named it."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def overlay_paths(overlay: str, clips) -> dict[str, Path]:
    """Returns the path of each clip's overlay: `overlay` if it ends in .mp4, else a file in the folder of that name.

    Raises:
      InputError: for one file and several clips, and where an overlay would replace a clip.
    """
    if overlay.lower().endswith(".mp4"):
        if len(clips) > 1:
            raise InputError(f"overlay={overlay}: one file for {len(clips)} clips; name a folder (without .mp4)")
        paths = {clips[0]: Path(overlay)}
    else:
        common = os.path.commonpath([os.path.dirname(os.path.abspath(clip)) for clip in clips])
        names = ["standard_input" if clip == "-" else os.path.relpath(os.path.abspath(clip), common) for clip in clips]
        stems = [file_stem(name, names) for name in names]
        paths = {clip: Path(overlay) / f"{stem}.mp4" for clip, stem in zip(clips, stems, strict=True)}
    for path in paths.values():
        for clip in clips:
            if path.exists() and os.path.exists(clip) and os.path.samefile(path, clip):
                raise InputError(f"overlay={overlay}: would be written over the clip {clip}; name another place")
    return paths


def _make_folders(overlay: str | None, paths: dict[str, Path]):
    for folder in {path.parent for path in paths.values()}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"overlay={overlay}: the folder {folder} cannot be made ({error.strerror})") from None


@contextlib.contextmanager
def told_to_stop() -> Iterator[threading.Event]:
    """Yields an event that SIGINT or SIGTERM sets; the second such signal ends the program at once."""
    stop, before = threading.Event(), {}

    def hear(*_):
        stop.set()
        for number in before:
            signal.signal(number, signal.SIG_DFL)

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _open_overlay(predictor: ClipPredictor, stream: ClipStream, path) -> OverlayMovie:
    model = predictor.model
    return OverlayMovie(
        path,
        fps=stream.found.fps,
        skip=stream.skip,
        stride=predictor.stride,
        timed=stream.is_endless or stream.found.fastest_fps is not None,
        describe=lambda probabilities: describe(predictor, probabilities, _OVERLAY_CLASSES),
        note=" – ".join(
            ["white: what speaks for it"] * (predictor.explain == "evidence")
            + ["features of a RANDOM network"] * model.recipe["random"]
        ),
    )


def _with_progress(stream: ClipStream, blocks) -> Iterator[BlockPrediction]:
    """Shows progress where the length is known, unless the lines about blocks show it on the same terminal."""
    if not stream.num_frames_expected or sys.stdout.isatty():
        yield from blocks
        return
    with Progress(stream.num_frames_expected, 0, "frame") as progress:
        done = 0
        for block in blocks:
            yield block
            progress.advance(stream.num_frames - done)
            done = stream.num_frames
