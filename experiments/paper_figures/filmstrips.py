"""Figs. 1, 4, 6, 8, 10 and 11: clips that a model gets right or wrong, and where it looks."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from attention_ar.errors import InputError
from experiments.paper_figures.runs_shown import Run, rank
from experiments.pictures.sheet import Panel, Row, evenly_spaced, write_sheet
from experiments.runs.visualization import Watched

MOST_CLIPS = 12  # on a sheet
WHITE = "White is where the model looks, and the whiter the more."


@dataclass(frozen=True)
class Figure:
    """One figure of the paper: which clips it shows if none are named, and how it is drawn.

    Attributes:
      title: of the figure.
      right: how many correctly classified clips.
      wrong: how many wrongly classified ones.
      after: how many of the ranking to skip, as other figures show them.
      by_entropy: rank by the spread of the attention, and not by confidence.
      penalty: λ of the run in the paper; None where there are several.
      single_run: whether it takes exactly one run.
      draw: for a figure of a single clip, a function of the Figure, the runs, the path of the PNG, the clip, `split`,
        `num_columns` and `options`; None for the filmstrips, see `draw_filmstrips`.
      options: names of the options that only this figure has.
    """

    title: str
    right: int = 0
    wrong: int = 0
    after: int = 0
    by_entropy: bool = False
    penalty: float | None = 0
    single_run: bool = False
    draw: Callable | None = None
    options: tuple[str, ...] = ()


def draw_filmstrips(figure: Figure, runs, path, *, split, clips, num_columns):
    """Draws one figure.

    Args:
      figure: what it shows, if no clips are named.
      runs: `Run`s, one for each data set, which take turns.
      path: of the PNG.
      split: where to look for clips.
      clips: names.
      num_columns: frames of each clip.

    Returns:
      The paths written, and lines about what could not be as the paper has it.
    """
    if clips and len(runs) > 1:
        raise InputError(f"{len(runs)} work folders and named clips: name clips with one --workdir")
    if len(clips) > MOST_CLIPS:
        raise InputError(f"{len(clips)} clips named: at most {MOST_CLIPS} fit on one figure")
    shown, remarks = [], []
    for n, run in enumerate(runs):
        videos = run.clips(split, clips)
        survey = run.survey_as_trained(videos)
        if clips:
            shown += [(True, run, survey, int(np.searchsorted(survey.videos, video))) for video in videos]
            continue
        for right, count in ((True, figure.right), (False, figure.wrong)):
            count = len(range(n, count, len(runs)))
            places, remark = choose(survey, run.file.labels[survey.videos], right, count, figure)
            shown += [(right, run, survey, place) for place in places]
            remarks += [f"{run.model.workdir}: split={split}: {remark}"] if remark else []
    shown.sort(key=lambda item: not item[0])  # As in the paper, those that should be right come first.
    panels, names = [], []
    for letter, (_, run, survey, place) in zip("abcdefghijkl", shown, strict=False):
        video = int(survey.videos[place])
        verdict = run.verdict(video, survey.predictions[place])
        panels.append(Panel(f"({letter}) {verdict[0].upper()}{verdict[1:]}", strip(run, video, num_columns)))
        names.append(f"({letter}) {run.file.names[video]}")
    about = "; ".join(dict.fromkeys(run.describe() for run in runs))
    write_sheet(
        panels,
        path,
        title=with_warning(figure.title, runs),
        note="\n".join([f"{WHITE} {about}.", *(", ".join(names[n : n + 2]) for n in range(0, len(names), 2))]),
        across=2 if len(panels) > 1 else 1,
        min_width=480,
    )
    return [path], remarks


def choose(survey, labels, right: bool, count: int, figure: Figure):
    """Chooses clips for a figure.

    Args:
      survey: the model's predictions for the clips.
      labels: theirs.
      right: whether to choose correctly classified ones.
      count: how many are wanted.
      figure: see `Figure`.

    Returns:
      Positions in the survey, and a remark if there are not enough.
    """
    if not count:
        return [], ""
    order = rank(survey, labels, right, survey.by_video["entropy"] if figure.by_entropy else None)
    first = max(min(figure.after, len(order) - count), 0)
    found = order[first : first + count]
    if len(found) == count:
        return found, ""
    what, other = ("correctly", "wrongly") if right else ("wrongly", "correctly")
    instead = rank(survey, labels, not right)
    instead = sorted(instead, key=lambda i: survey.predictions[i].max())[: count - len(found)]
    said = f"{len(found) or 'no'} clip{'s' * (len(found) != 1)} of {len(labels)} {what} classified"
    return found + instead, f"{said}, {count} wanted; instead, the least confident {other} classified"


def strip(run: Run, video: int, num_columns: int) -> list[Row]:
    """Returns frames of a clip and below them where the model looks, evenly spaced in time."""
    look = run.look(video)
    at = evenly_spaced(len(look.frames), num_columns)
    frames = run.originals(video, look.frames[at])
    return [Row(frames), Row(frames, look.attention[at], under=times(run, video, look, at))]


def times(run: Run, video: int, look: Watched, at) -> list[str]:
    """Returns for example "t = 15, 0.47 s" for the steps `at`, which count from 1."""
    return [f"t = {n + 1}, {look.frames[n] / run.file.fps[video]:.2f} s" for n in at]


def with_warning(title: str, runs) -> str:
    """Returns the title and, where features are of a random network, that they are."""
    random = any(run.file.recipe["random"] for run in runs)
    return title + (" – features of a RANDOM network" if random else "")
