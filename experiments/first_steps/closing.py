"""The quickstart's last words on a folder of clips: what to expect, what it confuses, what would help."""

import shlex
import sys
from pathlib import Path

import numpy as np

from attention_ar.errors import printable
from data_prep.common.files import markdown_table
from experiments.first_steps.estimate import FINAL, Estimate, wilson_interval
from experiments.first_steps.looking import Look
from experiments.first_steps.settings import MOST_FOLDS, Settings

FEW_CLIPS = 10  # of a class


def closing_lines(
    look: Look, settings: Settings, found: Estimate, test: dict | None, report: Path, workdir: Path, near_copies: bool
) -> list[str]:
    """Returns the five lines with which the quickstart ends.

    Args:
      look, settings, found: of the clips.
      test: the scores on the test part, see `evaluation.evaluate`; None where there is none.
      report: its path.
      workdir: of the final model.
      near_copies: whether many held-out clips are near copies of training clips, see `data_notes`.
    """
    whose = "of the test clips" if test else "of clips that the first fold held out, for there is no test part"
    return [
        f"What to expect: {expect(look, found, test)}",
        f"What it confuses: {confuse(found)}",
        f"Report: {report}, {whose}",
        f"Predict: {python()} -m experiments.predict --workdir={shlex.quote(str(workdir))} CLIP",
        f"What would help most: {advise(look, settings, found, near_copies)}",
    ]


def python() -> str:
    """Returns the interpreter as a user types it here, for example ".venv/bin/python"."""
    program, here = Path(sys.executable), Path.cwd()
    return shlex.quote(str(program.relative_to(here) if program.is_relative_to(here) else program))


def expect(look: Look, found: Estimate, test: dict | None) -> str:
    """Returns what accuracy to expect of new clips, beside the baselines' and that of the test part."""
    own, *others = found.models.values()
    name = "of new clips right" if found.score_name == "accuracy" else found.score_name.replace("_", " ")
    text = f"{own.describe()} {name}; " + ", ".join(f"{other.title} {other.describe()}" for other in others)
    if found.tested:
        text += f"; always the commonest class {max(found.tested.values()) / found.num_held_out:.0%}".replace("%", " %")
    text += "."
    if test:
        text += f" {compare(found, test)}"
    if not look.groups_known:
        text += " Groups are unknown: all of this is too high if clips share a person or a place."
    return text


def compare(found: Estimate, test: dict) -> str:
    """Returns the score on the test part beside the estimate; where they disagree, with the reasons there may be."""
    own, score, count = found.models[FINAL], test[test["score_name"]], test["num_videos"]
    text = f"Test part: {score:.0%} of {count} clips".replace("%", " %")
    if own.low <= score <= own.high:
        return f"{text}, within that interval."
    if found.score_name == "accuracy":
        low, high = wilson_interval(score, count)
        text += f" ({100 * low:.0f} to {100 * high:.0f} %)"
        if low <= own.high and high >= own.low:
            return f"{text}, outside that interval, but so few clips may differ by as much."
    kind = "easier" if score > own.high else "harder"
    return f"{text}, outside that interval: the test clips are {kind} than the training clips, or of another kind."


def confuse(found: Estimate) -> str:
    """Returns the three most frequent confusions in cross-validation."""
    if not found.taken:
        return "see the report; clips have several labels"
    told = [
        f"{printable(label)} taken for {printable(said)} ({count} of {found.tested[label]} clips)"
        for label, said, count in found.confusions()[:3]
    ]
    return ", ".join(told) or "nothing: at each fold's best epoch, every held-out clip was right"


def advise(look: Look, settings: Settings, found: Estimate, near_copies: bool) -> str:
    """Returns the one thing that would help most: the first of these that applies.

    Groups, where the held-out clips are near copies of training clips; clips of a class that has fewer than ten;
    groups, where there are fewer than five; clips of a class that is right much less often than the others; a lower
    rate, where a block spans less than a third of a usual clip; and else more clips of the class that is worst.
    """
    counts = look.per_class()
    fewest = min(counts, key=lambda name: (counts[name], name))
    if near_copies:
        return (
            "groups. Many held-out clips are near copies of training clips; name in index.csv which clips share a "
            "person, a place or a source video (column group), and the estimate becomes honest"
        )
    if counts[fewest] < FEW_CLIPS:
        return f"more clips of {printable(fewest)}, which has {counts[fewest]}; {FEW_CLIPS} of a class are a beginning"
    if look.groups_known and len(set(look.units)) < MOST_FOLDS:
        return f"clips of more people or places: there are {len(set(look.units))} groups to train on"
    own = found.models[FINAL]
    recalls = {name: found.recall(name) for name in found.classes if found.tested[name]}
    worst = min(recalls, key=lambda name: (recalls[name], name)) if recalls else fewest
    if recalls and recalls[worst] < 0.8 * own.mean:
        right = f"{recalls[worst]:.0%}".replace("%", " %")
        return f"more clips of {printable(worst)}, of which {right} were right"
    span, usual = settings.num_steps / settings.fps, float(np.median(look.num_frames / look.fps))
    if span < usual / 3 and own.mean < 0.9:
        return (
            f"a lower rate: a block spans {span:.1f} s of clips of {usual:.1f} s; try experiments.train "
            f"--fps={settings.fps / 2:g} on features.h5, and compare the held-out scores"
        )
    return f"more clips of other people and places, first of {printable(worst)}"


def summary(
    look: Look, settings: Settings, found: Estimate, of_features: str, notes: list[str], lines: list[str]
) -> str:
    """Returns `summary.md`."""
    rows = [
        [model.title, f"{100 * model.mean:.1f}", f"{100 * model.low:.1f} to {100 * model.high:.1f}", str(model.epoch)]
        for model in found.models.values()
    ]
    chosen = [[name, *reason.split(": ", 1)] for name, reason in settings.reasons.items()]
    score = found.score_name.replace("_", " ")
    return "\n".join(
        [
            "# Your clips",
            "",
            *(f"* {line}" for line in lines),
            "",
            "## The clips",
            "",
            *(f"* {line}" for line in [*look.describe(), look.verdict, f"features: {of_features}", *notes]),
            "",
            "## What was chosen, and why",
            "",
            markdown_table(["", "chosen", "why"], chosen),
            "",
            "## Cross-validation",
            "",
            f"{len(look.training)} training clips in {settings.folds} folds; {found.num_held_out} clips were held out, "
            "each once. The numbers are after the epoch at which the mean over the folds is best, so they look a "
            "little better than they are. The interval is the wider one of Student's t over the folds and Wilson's for "
            "as many clips.",
            "",
            markdown_table(["model", f"held-out {score}, %", "95 % interval", "epoch"], rows),
            "",
        ]
    )
