"""One clip under many runs: its frames, and below them where each run looks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from attention_ar.errors import InputError
from experiments.pictures.level_shares import describe
from experiments.pictures.sheet import Panel, Row, evenly_spaced, write_sheet
from experiments.runs import trained
from experiments.runs.video_predictions import label_of
from experiments.runs.visualization import find_clips, original_frames, watch

COLUMNS = 5


def draw_clip(
    path: Path,
    clip: str,
    shown: Sequence[tuple],
    *,
    features=None,
    checkpoint="best",
    data_dir=None,
    explain="attention",
):
    """Draws a clip's filmstrips.

    Args:
      path: of the PNG.
      clip: its name, or the end of it.
      shown: of each run its title, its work folder, and the glimpse rule or None.
      features, checkpoint, data_dir, explain: see `evaluate`.

    Raises:
      InputError: where no clip has that name, or two runs have features of other frames of it.
    """
    rows, frames = [], None
    for title, workdir, rule in shown:
        model = trained.load(workdir, checkpoint, rule)
        file = model.open_features(features)
        (video,) = find_clips(file.names, [clip])
        (seen,) = watch(model, file, [video], batch_size=8, explain=explain)
        if frames is None:
            at = evenly_spaced(len(seen.frames), COLUMNS)
            frames, wanted = original_frames(file, video, seen.frames[at], data_dir), seen.frames[at]
            rows.append(Row(frames, beside=["frames", label_of(file, video)]))
        if not set(wanted) <= set(seen.frames):
            raise InputError(f"{workdir}: sees other frames of {file.names[video]} than {shown[0][1]}; leave it out")
        best = int(np.argmax(seen.prediction))
        said = f"“{file.class_names[best]}” ({seen.prediction[best]:.2f})"
        beside = [title, said]
        if seen.levels is not None:
            beside.append(describe(model.levels, seen.levels.mean(axis=0)))
        rows.append(Row(frames, seen.attention[np.searchsorted(seen.frames, wanted)], beside=beside))
    under = [f"{frame / file.fps[video]:.2f} s" for frame in wanted]
    rows[-1] = Row(frames, rows[-1].attention, under, rows[-1].beside)
    write_sheet([Panel(file.names[video], rows)], path, note="White is where the model looks, and the whiter the more.")
