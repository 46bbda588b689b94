"""Does it look where the action is? The attention of many runs, or their evidence, against boxes, as one table and a
picture."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attention_ar.errors import InputError
from attention_ar.hard_attention import GLIMPSE_RULES
from data_prep.common.files import markdown_table, write_table
from data_prep.networks.registry import title_of
from experiments.pictures import mass_and_area
from experiments.runs import trained
from experiments.runs.config import RunConfig, as_flags, read_config, with_flags
from experiments.runs.evaluation import evaluate
from experiments.runs.localisation_scores import MEASURES, localisation_file
from experiments.runs.models import MODELS, describe_looking, levels_of
from experiments.runs.provenance import provenance
from experiments.runs.visualization import find_clips
from experiments.tables.bootstrap import correlations, draw_clips
from experiments.tables.comparison import mean_and_deviation
from experiments.tables.localisation_clip import draw_clip
from experiments.tables.trials import identity_of

PROTOCOL = ("network", "split", "clips", "d", "layers", "T", "fps", "stride", "box, % of the frame", "random cell, %")
"""The columns that do not tell of the attention."""
STEPS_SHOWN = 6


@dataclass(frozen=True)
class Looks:
    """Where the runs of one model look, which differ in their seed alone (or in the test fold).

    Attributes:
      title: of the model.
      workdir: of the first run.
      glimpse_rule: by which it looks; None where nothing is drawn.
      config: of the first run.
      network: that made the features.
      split: names the clips' part.
      num_cells: K².
      clips: N names.
      groups: of the clips, "" where unknown.
      labels: their classes' names.
      values: the `MEASURES` of each seed and clip, `<float64>[seeds, N, measures]`.
      right: whether each seed's prediction is right, `<bool>[seeds, N]`.
      by_step: the `MEASURES` and `num_clips` after each step, means over the runs.
    """

    title: str
    workdir: Path
    glimpse_rule: str | None
    config: RunConfig
    network: str
    split: str
    num_cells: int
    clips: list[str]
    groups: list[str]
    labels: list[str]
    values: np.ndarray
    right: np.ndarray
    by_step: list[dict]

    def measure(self, name: str) -> np.ndarray:
        """Returns one of the `MEASURES`, `<float64>[seeds, N]`."""
        return self.values[..., MEASURES.index(name)]

    def means(self, clips=slice(None)) -> dict[str, list[float]]:
        """Returns the means over clips of each measure, of `ratio` and of `accuracy`, one a seed."""
        found = {name: self.measure(name)[:, clips].mean(axis=1).tolist() for name in MEASURES}
        found["ratio"] = [m / a for m, a in zip(found["mass"], found["area"], strict=True)]
        return {**found, "accuracy": self.right[:, clips].mean(axis=1).tolist()}

    def correlation(self, excess: bool) -> dict[str, float] | None:
        """Correlates a clip's mass with its being right (point-biserial); mean over the seeds, with the 95 % interval
        of a bootstrap over groups of clips.

        Args:
          excess: whether to take the mass minus the box's area: a large box has much mass wherever the model looks.
        """
        counts, _ = draw_clips(self.groups)
        mass = self.measure("mass") - (self.measure("area") if excess else 0)
        found = [correlations(m, right, counts) for m, right in zip(mass, self.right, strict=True)]
        whole, *others = np.mean(found, axis=0)
        if not np.isfinite(whole):
            return None  # All clips are right, or all wrong.
        low, high = np.nanquantile(others, (0.025, 0.975))
        return {"mean": float(whole), "low": float(low), "high": float(high)}


def localisation_table(
    workdirs: Sequence,
    boxes,
    output,
    *,
    features=None,
    split="test",
    checkpoint="best",
    data_dir=None,
    explain="attention",
    clip=None,
) -> list[Path]:
    """Evaluates runs against boxes, and compares them.

    Args:
      workdirs: of the runs; with attention, if that is compared. A run whose places are drawn is compared under each
        glimpse rule. Runs of several seeds are one row also where each began with a run of its own (`init_from`).
      boxes: see `data_prep.datasets.boxes`.
      output: path of the table without an ending; `.png` beside it is the picture.
      features, split, checkpoint, data_dir, explain: see `evaluate`.
      clip: the name of a clip whose filmstrips under the first run of each row are drawn, too.

    Returns:
      The paths of `.md`, `.csv`, `.json` and `.png`, and of the filmstrips.

    Raises:
      InputError: where two runs have the same configuration, seed and clips, or of one configuration different clips;
        and see `evaluate`.
    """
    found: dict[str, list] = {}
    for workdir in workdirs:
        model = trained.load(workdir, checkpoint)
        if clip:
            find_clips(model.open_features(features).names, [clip])  # Before the work.
        same = {
            "seed": 0,
            "test_fold": 0,
            "split_seed": 0,
            "level_scales": "",  # Measured on each run's own training part.
            "init_from": "a run" * bool(model.config.attention.init_from),
        }
        key = identity_of(as_flags(with_flags(model.config, **same)), model.recipe)
        for rule in GLIMPSE_RULES if describe_looking(model.config) else (None,):
            print(workdir, rule or "", flush=True)
            scores, folder, _ = evaluate(
                workdir,
                features=features,
                split=split,
                checkpoint=checkpoint,
                boxes=boxes,
                data_dir=data_dir,
                explain=explain,
                glimpse_rule=rule,
            )
            run = (Path(workdir), model.recipe, scores, read_clips(folder, explain))
            found.setdefault(repr((key, rule)), []).append(run)
    rows = [looks(runs, split, explain) for runs in found.values()]
    paths = write_localisation(Path(output), rows, explain)
    if clip:
        shown = [(title, row.workdir, row.glimpse_rule) for title, row in zip(distinct_titles(rows), rows, strict=True)]
        options = {"features": features, "checkpoint": checkpoint, "data_dir": data_dir, "explain": explain}
        paths.append(Path(output).with_name(f"{Path(output).name}_clip.png"))
        draw_clip(paths[-1], clip, shown, **options)
    return paths


def read_clips(folder: Path, explain: str) -> dict[str, dict]:
    """Returns the lines of an evaluation's localisation, with those of `predictions.csv`, by clip."""
    with (folder / localisation_file(explain)).open(encoding="utf-8", newline="") as file:
        clips = {row["path"]: row for row in csv.DictReader(file)}
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        predictions = {row["path"]: row for row in csv.DictReader(file)}
    return {name: {**predictions[name], **row} for name, row in clips.items()}


def looks(runs: Sequence[tuple], split: str, explain: str) -> Looks:
    """Puts the runs of one configuration together: a seed's test folds side by side, then seed by seed.

    Of the evidence, a clip in which nothing speaks for the class counts in no seed."""
    workdir, recipe, scores, _ = runs[0]
    config = read_config(workdir)
    by_seed: dict[int, dict] = {}
    for folder, _, _, clips in runs:
        of_seed = by_seed.setdefault(read_config(folder).training.seed, {})
        if twice := sorted(of_seed.keys() & clips.keys()):
            raise InputError(f"{folder}: another run has its flags, its seed and its clips ({twice[0]}, …); name one")
        of_seed |= clips
    first, *others = by_seed.values()
    names = sorted(set(first).intersection(*others))
    if explain == "attention" and any(sorted(other) != names for other in by_seed.values()):
        raise InputError(f"{workdir}: its seeds were evaluated on different clips; evaluate all on the same ones")
    steps = list(zip(*(scores["localisation"]["by_step"] for _, _, scores, _ in runs), strict=False))
    return Looks(
        title=title_of_look(config, scores.get("glimpse_rule")),
        workdir=workdir,
        glimpse_rule=scores.get("glimpse_rule"),
        config=config,
        network=title_of(recipe),
        split=split if not config.data.test_folds else f"{config.data.test_folds} test folds",
        num_cells=scores["num_cells"],
        clips=names,
        groups=[first[name]["group"] for name in names],
        labels=[first[name]["label"] for name in names],
        values=np.array([[[float(s[n][m]) for m in MEASURES] for n in names] for s in by_seed.values()]),
        right=np.array([[s[n]["correct"] == "1" for n in names] for s in by_seed.values()]),
        by_step=[{name: float(np.mean([one[name] for one in step])) for name in step[0]} for step in steps],
    )


def title_of_look(config: RunConfig, glimpse_rule: str | None) -> str:
    """Returns for example "hard attention, λ = 0, sample"."""
    model, looking, penalty = MODELS[config.model.model], config.attention, config.objective.attention_penalty
    paper, drawn = model.name == "soft_attention", describe_looking(config)
    parts = [f"{looking.attention} attention" if paper else model.title]
    parts += [f"λ = {penalty:g}"] if penalty or paper else []
    parts += [looking.attention] if drawn and not paper else []
    parts += [f"r = {looking.window}"] if drawn and looking.attention == "window" else []
    parts += [f"{len(levels_of(config))} levels"] if levels_of(config) else []
    return ", ".join([*parts, *([glimpse_rule] if drawn else [])])


def write_localisation(stem: Path, rows: Sequence[Looks], explain: str = "attention") -> list[Path]:
    """Writes table and picture."""
    header = ["model", "accuracy, %", f"{explain} in the box, %", "times uniform", "strongest cell in the box, %"]
    header += ["entropy, nats", "r(mass, right)", "r(mass − area, right)", "seeds", *PROTOCOL]
    texts = [row_texts(row) for row in rows]
    titles = distinct_titles(rows)
    classes = sorted({label for row in rows for label in row.labels})
    per_class = {name: [class_means(row, name) for row in rows] for name in classes}
    steps = [row.by_step for row in rows]
    shown = sorted({round(n) for n in np.linspace(0, min(map(len, steps)) - 1, STEPS_SHOWN)})
    cells = rows[0].num_cells
    tables = {
        "by_class_table": {
            "header": ["class", "clips", "box, %", *titles],
            "rows": [class_texts(name, means) for name, means in per_class.items()],
        },
        "over_time_table": {
            "header": ["step", *titles],
            "rows": [
                [f"{n + 1}", *(f"{of_row[n]['mass'] / of_row[n]['area']:.3f}" for of_row in steps)] for n in shown
            ],
        },
    }
    notes = [
        "Means over the clips that have boxes, then mean ± sample standard deviation over the seeds. Uniform attention "
        f"has the box's share of the frame, and an entropy of ln {cells} = {math.log(cells):.2f} nats. The strongest "
        "cell is in the box if at least half of it is (the pointing game); beside it a random cell's score.",
        "r is the correlation of a clip's mass in the box with the clip's being right (point-biserial), mean over the "
        "seeds, with the 95 % interval of a bootstrap over groups of clips. A large box has much mass wherever the "
        "model looks; mass − area leaves that out.",
        f"By class, the {explain} in the box in per cent, means over the seeds:",
        markdown_table(**tables["by_class_table"]),
        "Over time, how many times as dense as uniform attention after a block's step (padding left out):",
        markdown_table(**tables["over_time_table"]),
    ]
    data = {
        "made": provenance(),
        "explain": explain,
        "num_cells": cells,
        "rows": [row_data(row, title) for row, title in zip(rows, titles, strict=True)],
        "by_class": {name: dict(zip(titles, means, strict=True)) for name, means in per_class.items()},
        **tables,
    }
    title = {"attention": "Does it look where the action is?", "evidence": "Is the action what speaks for the class?"}
    paths = write_table(stem, title[explain], header, texts, notes, data, PROTOCOL)
    picture = stem.with_name(f"{stem.name}.png")
    mass_and_area.draw(
        picture,
        {
            title: {name: (one["area"], one["mass"]) for name, means in per_class.items() if (one := means[n])}
            for n, title in enumerate(titles)
        },
        {
            title: ([one["step"] for one in of_row], [one["mass"] / one["area"] for one in of_row])
            for title, of_row in zip(titles, steps, strict=True)
        },
        explain,
    )
    return [*paths, picture]


def class_texts(name: str, means: Sequence[dict | None]) -> list[str]:
    """Returns the texts of a class's row: its clips, the box's share of the frame, and each model's mass."""
    some = next(one for one in means if one)
    masses = [f"{100 * one['mass']:.1f}" if one else "" for one in means]
    return [name, str(some["num_clips"]), f"{100 * some['area']:.1f}", *masses]


def class_means(row: Looks, name: str) -> dict | None:
    """Returns the means over the clips of a class and the seeds, None where the row has no such clip."""
    clips = np.flatnonzero([label == name for label in row.labels])
    if not len(clips):
        return None
    means = {measure: float(np.mean(values)) for measure, values in row.means(clips).items()}
    return {**means, "num_clips": len(clips)}


def distinct_titles(rows: Sequence[Looks]) -> list[str]:
    """Returns titles of rows, with what distinguishes those that would be the same."""
    titles = [row.title for row in rows]
    parts = (
        lambda row: row.network,
        lambda row: f"d = {row.config.model.hidden_dim}",
        lambda row: f"{row.config.model.num_layers} layers",
        lambda row: f"T = {row.config.data.num_steps}",
        lambda row: f"{row.config.data.fps:g} fps",
        lambda row: f"rate {row.config.training.learning_rate:g}",
    )
    for part in parts:
        if len(set(titles)) < len(titles) and len({part(row) for row in rows}) > 1:
            titles = [f"{title}, {part(row)}" for title, row in zip(titles, rows, strict=True)]
    return [f"{title} ({n})" if titles.count(title) > 1 else title for n, title in enumerate(titles, 1)]


def row_texts(row: Looks) -> list[str]:
    """Returns the texts of a row."""
    means, data = row.means(), row.config.data

    def text(name, scale=100.0, digits=1):
        mean, deviation = mean_and_deviation([scale * value for value in means[name]])
        return f"{mean:.{digits}f}" + (f" ± {deviation:.{digits}f}" if len(means[name]) > 1 else "")

    return [
        row.title,
        text("accuracy"),
        text("mass"),
        text("ratio", 1, 2),
        text("pointing"),
        text("entropy", 1, 2),
        *(correlation_text(row.correlation(excess)) for excess in (False, True)),
        str(len(row.values)),
        *(row.network, row.split, str(len(row.clips)), str(row.config.model.hidden_dim)),
        *(str(row.config.model.num_layers), str(data.num_steps), f"{data.fps:g}", str(data.stride)),
        *(f"{100 * np.mean(means[name]):.1f}" for name in ("area", "pointing_chance")),
    ]


def correlation_text(found: dict[str, float] | None) -> str:
    """Returns for example "+0.12 (−0.03 to +0.26)"; "–" where there is no correlation."""
    if found is None:
        return "–"
    mean, low, high = (f"{found[name]:+.2f}".replace("-", "−") for name in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def row_data(row: Looks, title: str) -> dict:
    """Returns the numbers of a row, for JSON."""
    return {
        "title": title,
        "model": row.config.model.model,
        "attention_penalty": row.config.objective.attention_penalty,
        "network": row.network,
        "num_clips": len(row.clips),
        "num_groups": len(set(row.groups)),
        "by_seed": row.means(),
        "correlation_mass_right": row.correlation(False),
        "correlation_excess_right": row.correlation(True),
        "by_step": row.by_step,
    }
