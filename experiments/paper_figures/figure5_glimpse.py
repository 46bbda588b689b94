"""Fig. 5: what a model predicts under a given glimpse."""

import re
from pathlib import Path

import numpy as np

from attention_ar.errors import InputError
from experiments.paper_figures.filmstrips import WHITE, choose, times, with_warning
from experiments.paper_figures.runs_shown import Run
from experiments.pictures.sheet import Panel, Row, evenly_spaced, write_sheet
from experiments.runs.video_predictions import label_of

LARGEST_ERROR = 1e-3  # of a row's sum


class GivenGlimpse:
    """A `Predictor` whose model has a given glimpse in every block; all else is unchanged.

    Args:
      predictor: of the model.
      glimpse: l_t, `<float>[T, K²]`.
    """

    def __init__(self, predictor, glimpse):
        self.parallel, self.dtype = predictor.parallel, predictor.dtype
        self._predictor, self._glimpse = predictor, np.asarray(glimpse, np.float32)

    def __call__(self, params, arrays: dict, keep):
        """See `Predictor`."""
        batch_size = len(arrays["weight"])
        glimpse = np.broadcast_to(self._glimpse, (batch_size, *self._glimpse.shape))
        local = glimpse[self.parallel.local_shard(batch_size)]
        return self._predictor(params, arrays | self.parallel.put({"glimpse": local}), keep)


def parse_glimpse(text: str, num_steps: int, side: int) -> tuple[np.ndarray, str]:
    """Returns l_t, `<float32>[T, K²]`, and its name.

    Args:
      text: "row,col", a cell; "row0,col0,row1,col1", the cells of a box, from the first corner to the second, both of
        them inside, all looked at alike; or the path of a .npy file of a distribution over the cells for each step of
        a block, `<float>[T, K²]`. Cells count from 0, row 0 at the top.
      num_steps: T.
      side: K.

    Raises:
      InputError: where it is none of these, lies outside the grid, or has a row that is no distribution.
    """
    if text.lower().endswith(".npy"):
        return read_glimpse(text, num_steps, side), f"from {Path(text).name}"
    if not re.fullmatch(r"\s*-?\d{1,9}\s*(,\s*-?\d{1,9}\s*){1,3}", text) or text.count(",") == 2:
        raise InputError(f"glimpse={text}: must be row,col, or row0,col0,row1,col1, or the path of a .npy file")
    numbers = [int(part) for part in text.split(",")]
    row0, col0, row1, col1 = numbers if len(numbers) == 4 else numbers * 2
    if not (0 <= row0 <= row1 < side and 0 <= col0 <= col1 < side):
        order = "" if len(numbers) == 2 else ", the first corner above and left of the second"
        raise InputError(f"glimpse={text}: rows and columns must be 0 to {side - 1}{order}")
    cells = np.zeros((side, side), np.float32)
    cells[row0 : row1 + 1, col0 : col1 + 1] = 1 / ((row1 - row0 + 1) * (col1 - col0 + 1))
    name = f"row {row0}, column {col0}" if len(numbers) == 2 else f"rows {row0}–{row1}, columns {col0}–{col1}"
    return np.tile(cells.reshape(-1), (num_steps, 1)), f"at {name}"


def read_glimpse(path, num_steps: int, side: int) -> np.ndarray:
    """Reads a glimpse for each step, `<float32>[T, K²]`, each a distribution. See `parse_glimpse`."""
    wanted = (num_steps, side * side)
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; --glimpse takes a .npy file of {list(wanted)}, or row,col")
    try:
        # As a memory map: a header may promise more than any memory has. Python objects are never read.
        array = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, TypeError, OSError, EOFError, OverflowError, SyntaxError, MemoryError, RecursionError):
        raise InputError(f"{path}: not a .npy file of numbers; must be one of <float>{list(wanted)}, [T, K²]") from None
    if array.dtype.kind not in "fiu" or array.shape != wanted:
        raise InputError(
            f"{path}: {array.dtype.str[:20]} of shape {list(array.shape)}; must be <float>{list(wanted)}, [T, K²]"
        )
    glimpse = np.array(array, np.float64)
    with np.errstate(over="ignore"):
        sums = glimpse.sum(axis=1)
    for n, row in enumerate(glimpse):
        if not np.isfinite(row).all():
            wrong = f"has {row[~np.isfinite(row)][0]} at cell {int(np.flatnonzero(~np.isfinite(row))[0])}"
        elif row.min() < 0:
            wrong = f"has {row.min():g} at cell {int(row.argmin())}"
        elif abs(sums[n] - 1) > LARGEST_ERROR:
            wrong = f"sums to {sums[n]:.6g}"
        else:
            continue
        raise InputError(f"{path}: row {n} {wrong}; each must be a distribution: finite, not negative, summing to 1")
    return (glimpse / sums[:, None]).astype(np.float32)


def draw_glimpse(figure, run: Run, path, video: int | None, glimpse: str, *, split, num_columns):
    """Draws Fig. 5: a clip, the model's own glimpse and prediction, and a given glimpse and the prediction under it.

    Args:
      figure: which clip to choose where none is named, see `Figure`.
      run: the run.
      path: of the PNG.
      video: the clip; None is a wrongly classified one.
      glimpse: see `parse_glimpse`.
      split: where to look for it.
      num_columns: how many frames are shown.

    Returns:
      The paths written, and lines about what was found.
    """
    model = run.model
    l, name = parse_glimpse(glimpse, model.config.data.num_steps, model.feature_shape[0])
    video, remarks = chosen_clip(figure, run, video, split)
    looks = run.look(video), run.with_predictor(GivenGlimpse(model.predictor, l)).look(video)
    rows = compared(run, video, looks, ["the model's own glimpse", f"glimpse {name}"], num_columns)
    caption = f"{run.file.names[video]}: {label_of(run.file, video)}"
    title = with_warning(figure.title, [run])
    write_sheet([Panel(caption, rows)], path, title=title, note=f"{WHITE} {run.describe()}.")
    for what, look in zip(("its own glimpse", f"the glimpse {name}"), looks, strict=True):
        remarks.append(f"under {what}: {run.verdict(video, look.prediction)}")
    return [path], remarks


def chosen_clip(figure, run: Run, video: int | None, split: str) -> tuple[int, list[str]]:
    """Returns the named clip, or else one for the figure, and a remark if there is none."""
    if video is not None:
        return video, []
    survey = run.survey_side_by_side(run.clips(split))
    labels = run.file.labels[survey.videos]
    places, remark = choose(survey, labels, right=False, count=1, figure=figure)
    return int(survey.videos[places[0]]), [f"{run.model.workdir}: split={split}: {remark}"] if remark else []


def compared(run: Run, video: int, looks, names, num_columns: int) -> list[Row]:
    """Returns a row of frames, and below it one row for each look, its name and prediction beside it."""
    at = evenly_spaced(len(looks[0].frames), num_columns)
    frames = run.originals(video, looks[0].frames[at])
    rows = [Row(frames, beside=["frames"])]
    for n, (look, name) in enumerate(zip(looks, names, strict=True)):
        under = times(run, video, look, at) if n == len(looks) - 1 else ()
        rows.append(Row(frames, look.attention[at], under, [name, *run.predicted(video, look.prediction)]))
    return rows
