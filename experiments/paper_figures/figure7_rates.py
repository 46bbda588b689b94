"""Fig. 7: one clip at two sampling rates."""

from attention_ar.errors import InputError
from experiments.paper_figures.filmstrips import WHITE, times, with_warning
from experiments.paper_figures.runs_shown import Run, describe_attention, rank
from experiments.pictures.sheet import Panel, Row, evenly_spaced, write_sheet
from experiments.runs.video_predictions import label_of


def parse_rates(text: str) -> list[float]:
    """Returns frames per second, from a text such as "6,30".

    Raises:
      InputError: where it is no list of two or more numbers above 0.
    """
    try:
        rates = [float(part) for part in text.split(",")]
    except ValueError:
        rates = []
    if len(rates) < 2 or not all(0 < rate < float("inf") for rate in rates):
        raise InputError(f"rates={text}: must be two or more numbers of frames per second, such as 6,30")
    return rates


def at_rates(runs, rates: str | None) -> list[Run]:
    """Returns one run for each rate: a single one at all `rates` (6 and 30), or several, each at its own.

    Raises:
      InputError: where several runs have the same rate, or rates are given beside them.
    """
    if len(runs) == 1:
        return [runs[0].at_fps(fps) for fps in parse_rates(rates or "6,30")]
    if rates:
        raise InputError(f"rates={rates}: {len(runs)} runs are shown at the rates that they were trained with")
    own = [run.model.config.data.fps for run in runs]
    if len(set(own)) < len(own):
        raise InputError(
            f"figure 7 compares rates, and runs given were trained at {', '.join(f'{fps:g}' for fps in own)} fps: give "
            "one --workdir, which is then shown at several, or runs of different --fps"
        )
    if len({tuple(run.file.names) for run in runs}) > 1:
        raise InputError(
            "the runs have features of different clips; figure 7 shows one clip, name a file by --features"
        )
    return list(runs)


def draw_rates(runs, path, video: int | None, *, split, num_columns, one_model: str):
    """Draws Fig. 7: the first block of a clip at each rate, so that the slower rate spans the longer time.

    Args:
      runs: from `at_rates`.
      path: of the PNG.
      video: the clip; None is the most confident correct one of the last run, by default that at 30 fps.
      split: where to look for it.
      num_columns: how many steps are shown.
      one_model: what to call the model, if it is the same at all rates.

    Returns:
      The paths written, and no remarks.
    """
    if video is None:
        videos = runs[-1].clips(split)
        # Some clips may have too low a rate; if all do, the first one's error says so.
        fast_enough = [v for v in videos if all(run.has_rate(v) for run in runs)]
        survey = runs[-1].survey_side_by_side(fast_enough or videos)
        labels = runs[-1].file.labels[survey.videos]
        video = int(survey.videos[(rank(survey, labels, True) or rank(survey, labels, False))[0]])
    panels = []
    for letter, run in zip("abcdefghijklmnopqrstuvwxyz", runs, strict=False):
        look, data, skip = run.look(video), run.model.config.data, run.skip(video)
        at = evenly_spaced(min(data.num_steps, len(look.frames)), num_columns)
        frames = run.originals(video, look.frames[at])
        verdict = run.verdict(video, look.prediction)
        every = "every frame" if skip == 1 else f"1 frame of {skip}"
        beside = [every, describe_attention(look.health)]
        rows = [Row(frames, beside=beside), Row(frames, look.attention[at], under=times(run, video, look, at))]
        panels.append(
            Panel(f"({letter}) {verdict[0].upper()}{verdict[1:]} @ {data.fps:g} fps, λ = {run.penalty:g}", rows)
        )
    names = ", ".join(f"{run.model.workdir.name} ({run.model.config.data.fps:g} fps)" for run in runs)
    how = f"One model at each rate: {one_model}" if one_model else f"Each rate with the run trained at it: {names}"
    about = f"{run.file.names[video]}, {label_of(run.file, video)}, steps of its first block"
    write_sheet(
        panels,
        path,
        title=with_warning("Figure 7. One clip at different rates", runs),
        note=f"{WHITE} {about}.\n{how}.",
    )
    return [path], []
