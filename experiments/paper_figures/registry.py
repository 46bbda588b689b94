"""The figures of the paper: what each shows and how it is drawn. A new one is a file here and an entry below."""

from pathlib import Path

from attention_ar.errors import InputError
from experiments.paper_figures.figure3_penalties import draw_penalties
from experiments.paper_figures.figure5_glimpse import draw_glimpse
from experiments.paper_figures.figure7_rates import at_rates, draw_rates
from experiments.paper_figures.figure9_random_glimpse import draw_random_glimpse
from experiments.paper_figures.filmstrips import Figure, draw_filmstrips
from experiments.paper_figures.runs_shown import open_runs
from experiments.runs.file_names import file_stem


def _figure3(shows, runs, path, video, **options):
    return draw_penalties(runs, path, video, **options)


def _figure5(shows, runs, path, video, **options):
    return draw_glimpse(shows, runs[0], path, video, **options)


def _figure7(shows, runs, path, video, *, rates=None, **common):
    one = f"{runs[0].model.workdir.name}, {runs[0].describe()}" if len(runs) == 1 else ""
    return draw_rates(at_rates(runs, rates), path, video, one_model=one, **common)


def _figure9(shows, runs, path, video, **options):
    return draw_random_glimpse(shows, runs[0], path, video, **options)


FIGURES = {
    "1": Figure("Figure 1. Attention over time", right=2),
    "3": Figure("Figure 3. Attention under several attention penalties λ", right=1, penalty=None, draw=_figure3),
    "4": Figure("Figure 4. Attention over time", right=2, after=2),
    "5": Figure(
        "Figure 5. Different glimpses can result in different predictions",
        wrong=1,
        single_run=True,
        draw=_figure5,
        options=("glimpse",),
    ),
    "6": Figure("Figure 6. Looking at all of the frame, and right all the same", right=2, by_entropy=True),
    "7": Figure("Figure 7. One clip at different rates", right=1, penalty=1, draw=_figure7, options=("rates",)),
    "8": Figure("Figure 8. The focus of attention over time", right=2, wrong=2),
    "9": Figure(
        "Figure 9. A mistake, and the glimpse that corrects it",
        wrong=1,
        penalty=1,
        single_run=True,
        draw=_figure9,
        options=("seed", "max_steps", "learning_rate"),
    ),
    "10": Figure("Figure 10. Correctly classified, attention over time", right=6, after=4),
    "11": Figure("Figure 11. Incorrectly classified, attention over time", wrong=2),
}
"""By the paper's numbers. Fig. 2 is the drawing of the model, and no picture of a run."""


def draw_figure(
    figure: str,
    workdirs,
    *,
    clips=(),
    features=None,
    data_dir=None,
    split="test",
    checkpoint="best",
    output=None,
    num_columns=4,
    **options,
):
    """Draws one of the paper's figures.

    Args:
      figure: its number, see `FIGURES`.
      workdirs: of runs with attention: several for figure 3 (one for each λ), one or several for figure 7 (rates) and
        for the filmstrips (data sets), else one.
      clips: names of clips, as `predictions.csv` has them or the end of such a name; by default the figure chooses.
        The filmstrips show all of them on one picture, the others draw one picture for each.
      features, data_dir, split, checkpoint: see `visualize`.
      output: folder for the pictures; None is that of the first run's figures.
      num_columns: how many frames of a clip are shown.
      options: see `Figure.options`; None counts as not given.

    Returns:
      The paths written, and lines about what was found or could not be as the paper has it.

    Raises:
      InputError: where the figure does not exist, or cannot be drawn of these runs.
    """
    if figure not in FIGURES:
        what = "that is the drawing of the model" if figure == "2" else "no such figure"
        raise InputError(f"figure={figure}: {what}; there are {', '.join(FIGURES)}")
    options = {name: value for name, value in options.items() if value is not None}
    shows = FIGURES[figure]
    for name in sorted(options.keys() - {*shows.options}):
        owner = next(number for number, other in FIGURES.items() if name in other.options)
        raise InputError(f"{name}={options[name]}: figure {figure} does not take it; figure {owner} does")
    if figure == "5" and "glimpse" not in options:
        raise InputError("figure 5 needs --glimpse=row,col, or =row0,col0,row1,col1, or the path of a .npy file")
    if shows.single_run and len(workdirs) > 1:
        raise InputError(f"figure {figure} is of one run: {len(workdirs)} work folders given")

    runs = open_runs(workdirs, features=features, checkpoint=checkpoint, data_dir=data_dir)
    folder = Path(output) if output else Path(workdirs[0]) / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    common = {"split": split, "num_columns": num_columns}
    remarks = [
        f"{run.model.workdir}: has λ = {run.penalty:g}; the paper's figure {figure} is of λ = {shows.penalty:g}"
        for run in runs
        if shows.penalty not in (None, run.penalty)
    ]
    paths = []
    if shows.draw is None:
        paths, said = draw_filmstrips(shows, runs, folder / f"figure{figure}.png", clips=clips, **common)
        return paths, remarks + said
    for video in runs[0].clips(split, clips).tolist() if clips else [None]:
        names = runs[0].file.names
        stem = f"figure{figure}" if video is None else f"figure{figure}_{file_stem(names[video], names)}"
        written, said = shows.draw(shows, runs, folder / f"{stem}.png", video, **common, **options)
        paths += written
        remarks += said
    return paths, remarks
