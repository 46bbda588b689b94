"""Fig. 3: where runs of several λ look in the same clip, and the paper's claims about it, checked by numbers."""

import numpy as np

from attention_ar.errors import InputError
from data_prep.common.files import write_json
from experiments.paper_figures.filmstrips import WHITE, times, with_warning
from experiments.paper_figures.runs_shown import describe_attention, rank
from experiments.pictures.sheet import Panel, Row, evenly_spaced, write_sheet
from experiments.runs.video_predictions import label_of

CLAIMS = (
    ("with the greatest λ the model looks everywhere (the greatest entropy)", "entropy", max, -1),
    ("with the smallest λ it stays fixed (the least movement)", "movement", min, 0),
)
"""Of Fig. 3: the claim, the number that decides it, its extreme, and the index of its λ in ascending order."""


def check_comparable(runs):
    """Refuses runs that cannot be compared on one clip.

    Raises:
      InputError: where model, features or classes differ, or all λ are the same.
    """

    def alike(run):
        return run.file.names, run.file.recipe

    first = runs[0]
    penalties = sorted({run.penalty for run in runs})
    if len(penalties) < 2:
        raise InputError(
            f"figure 3 compares attention penalties, and all runs given have λ = {penalties[0]:g}: "
            "give --workdir for each of several, as for λ = 0, 1 and 10"
        )
    for run in runs[1:]:
        both = first.model, run.model
        paths = [model.config.data.features for model in both]
        other = {
            "model": [model.config.model.model for model in both],
            "set of classes": [", ".join(model.class_names) for model in both],
            "features file": paths if alike(run) != alike(first) else ["", ""],
        }
        for what, (theirs, its) in other.items():
            if its != theirs:
                raise InputError(
                    f"{run.model.workdir}: has another {what} ({its}) than {first.model.workdir} ({theirs}); "
                    "figure 3 takes runs that differ in λ"
                )


def draw_penalties(runs, path, video: int | None, *, split, num_columns):
    """Draws Fig. 3 and writes its numbers beside it, as JSON.

    Args:
      runs: `Run`s of several λ; of several of one λ, the first is drawn, and the numbers of the split are means.
      path: of the PNG.
      video: the clip; None is the most confident correct one of the run of the smallest λ.
      split: whose clips the numbers are means over.
      num_columns: how many frames are shown.

    Returns:
      The paths written, and lines about what was found.
    """
    check_comparable(runs)
    runs = sorted(runs, key=lambda run: run.penalty)
    surveys = [run.survey_as_trained(run.clips(split)) for run in runs]
    if video is None:
        labels = runs[0].file.labels[surveys[0].videos]
        video = int(surveys[0].videos[(rank(surveys[0], labels, True) or rank(surveys[0], labels, False))[0]])
    looks = [run.look(video) for run in runs]
    drawn = [n for n, run in enumerate(runs) if n == 0 or run.penalty > runs[n - 1].penalty]  # One of each λ.
    # Runs may sample at different rates: each row has its own frames, and the row on top those of the first.
    at = {n: evenly_spaced(len(looks[n].frames), num_columns) for n in drawn}
    rows = [Row(runs[0].originals(video, looks[0].frames[at[0]]), beside=["frames", label_of(runs[0].file, video)])]
    several = len({tuple(looks[n].frames[at[n]]) for n in drawn}) > 1
    for n in drawn:
        run, look = runs[n], looks[n]
        group = [survey.health for r, survey in zip(runs, surveys, strict=True) if r.penalty == run.penalty]
        means = {name: np.mean([health[name] for health in group]) for name in group[0]}
        beside = [
            f"λ = {run.penalty:g}",
            run.predicted(video, look.prediction)[0],
            f"this clip: {describe_attention(look.health)}",
            f"all of {split}: {describe_attention(means)}" + (f" ({len(group)} runs)" if len(group) > 1 else ""),
        ]
        under = times(run, video, look, at[n]) if several or n == drawn[-1] else ()
        rows.append(Row(run.originals(video, look.frames[at[n]]), look.attention[at[n]], under, beside))
    entries = [
        {
            "workdir": str(run.model.workdir),
            "model": run.model.config.model.model,
            "attention_penalty": run.penalty,
            "seed": run.model.config.training.seed,
            "epoch": run.model.epoch,
            "clip": look.health,
            "split": survey.health,
        }
        for run, look, survey in zip(runs, looks, surveys, strict=True)
    ]
    findings = [
        judge([(run.penalty, survey) for run, survey in zip(runs, surveys, strict=True)], *claim) for claim in CLAIMS
    ]
    cells = looks[0].attention.shape[1]
    write_sheet(
        [Panel(runs[0].file.names[video], rows)],
        path,
        title=with_warning("Figure 3. Attention under several attention penalties λ", runs),
        note=f"{WHITE} Looking everywhere alike has an entropy of ln {cells} = {np.log(cells):.3f} nats.\n"
        + "\n".join(finding["verdict"] for finding in findings),
    )
    beside = path.with_suffix(".json")
    contents = {"clip": runs[0].file.names[video], "split": split, "num_clips": len(surveys[0].videos)}
    contents |= {"greatest_entropy": float(np.log(cells)), "random_network": runs[0].file.recipe["random"]}
    write_json(beside, contents | {"runs": entries, "claims": findings})
    return [path, beside], [finding["verdict"] for finding in findings]


def judge(surveys, claim: str, number: str, extreme, index: int) -> dict:
    """Checks one of the `CLAIMS` by the numbers of a split; runs of one λ are averaged first.

    Args:
      surveys: λ and `Survey` of each run.
      claim, number, extreme, index: see `CLAIMS`.

    Returns:
      A dict: `claim`, `number`, its `values` (λ and mean over all blocks), whether it `holds` for these, by what
      `margin` over the other λ (negative where it does not), in how many of the `num_clips` it holds for the clip's own
      means (`num_clips_it_holds_in`), and all this as a sentence, the `verdict`.
    """
    penalties = sorted({penalty for penalty, _ in surveys})
    groups = [[survey for p, survey in surveys if p == penalty] for penalty in penalties]
    values = [float(np.mean([survey.health[number] for survey in group])) for group in groups]
    by_clip = np.array([np.mean([survey.by_video[number] for survey in group], axis=0) for group in groups])

    def margin(values):
        others = np.delete(values, index, axis=0)
        return values[index] - others.max(axis=0) if extreme is max else others.min(axis=0) - values[index]

    by = float(margin(np.array(values)))
    count, total = int(np.sum(margin(by_clip) > 0)), by_clip.shape[1]
    listed = ", ".join(f"{value:.4f} at λ = {penalty:g}" for penalty, value in zip(penalties, values, strict=True))
    holds = "holds here" if by > 0 else "does not hold here"
    return {
        "claim": claim,
        "number": number,
        "values": [{"attention_penalty": p, "mean": v} for p, v in zip(penalties, values, strict=True)],
        "holds": by > 0,
        "margin": by,
        "num_clips": total,
        "num_clips_it_holds_in": count,
        "verdict": f"That {claim} {holds}: {listed}; in {count} of {total} clips.",
    }
