"""The quickstart on synthetic clips, step by step."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.datasets.registry import list_clips
from data_prep.datasets.synthetic_clips import write_synthetic_clips
from data_prep.features.extraction import extract
from experiments.first_steps.network_choice import network_for
from experiments.runs.config import DataConfig, ModelConfig, RunConfig, RuntimeConfig, TrainingConfig
from experiments.runs.evaluation import evaluate
from experiments.runs.models import MODELS
from experiments.runs.training import train
from experiments.runs.visualization import visualize

COMPARED = {name: MODELS[name].title for name in ("soft_attention", "average_pool")}


@dataclass(frozen=True)
class Sizes:
    """Sizes of the quickstart; these take a few minutes on two cores.

    Attributes:
      clips: see `write_synthetic_clips`. Many looks with few clips each: the model must generalise to unseen looks.
      data, model: flags that are not at their default.
      training: see `TrainingConfig`.
    """

    clips: dict = field(default_factory=lambda: {"num_groups": 12, "clips_per_group": 1})
    data: dict = field(default_factory=lambda: {"stride": 3, "validation_fraction": 0.25})
    model: dict = field(default_factory=lambda: {"hidden_dim": 256})
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(batch_size=16, epochs=12, learning_rate=5e-4)
    )


def quickstart(
    workdir: Path,
    network: str = "auto",
    options: dict[str, str] | None = None,
    sizes: Sizes | None = None,
    now_doing: Callable[[str], None] = lambda what: None,
) -> dict:
    """Makes synthetic clips, extracts features, trains and compares two models; writes `summary.md` into the work
    folder.

    Args:
      workdir: for all output. The output of an interrupted run is reused.
      network, options: see `network_for`.
      sizes: how large everything is.
      now_doing: is called with the next activity, see `signs_of_life`.

    Returns:
      The test scores of each model under its name, see `evaluate`; those of soft attention have `localisation`.
    """
    started = time.perf_counter()
    sizes = sizes or Sizes()
    clips, features = workdir / "clips", workdir / "features.h5"
    now_doing("loading the network")
    found, of_features = network_for(features, network, options)
    if not (clips / "index.csv").exists():
        now_doing("drawing clips")
        print(f"drawing clips into {clips}", flush=True)
        write_synthetic_clips(clips, **sizes.clips)
    now_doing("extracting features; the network is compiled first")
    extract(list_clips("folder", clips), found, features)

    scores = {}
    for name, title in COMPARED.items():
        now_doing(f"training, {title}; the step is compiled first")
        print(f"training: {title}", flush=True)
        config = RunConfig(
            data=DataConfig(features=str(features), **sizes.data),
            model=ModelConfig(model=name, **sizes.model),
            training=sizes.training,
            runtime=RuntimeConfig(parallel="jit"),  # Too small for several devices.
        )
        train(config, workdir / name)
        now_doing(f"evaluating, {title}")
        boxes = clips / "boxes.csv" if name == "soft_attention" else None
        scores[name], _, _ = evaluate(workdir / name, boxes=boxes, data_dir=clips)
    now_doing("drawing pictures")
    pictures = visualize(workdir / "soft_attention", count=2, output=workdir / "figures")
    summary = summarise(scores, of_features, found.is_random, pictures, time.perf_counter() - started)
    path = workdir / "summary.md"
    path.write_text(summary, encoding="utf-8")
    print(f"\n{summary}\nsummary: {path}; filmstrips, videos and animations: {workdir / 'figures'}")
    return scores


def summarise(scores: dict, of_features: str, is_random: bool, pictures: list[Path], seconds: float) -> str:
    """Returns the summary as Markdown. It names unexpected results."""
    num_classes = len(scores["soft_attention"]["class_names"])
    num_videos = scores["soft_attention"]["num_videos"]
    chance = 1 / num_classes
    lines = ["# Quickstart", ""]
    if is_random:
        lines += ["**The network is RANDOM**: these numbers show how things work, not how well.", ""]
    lines += [
        f"{num_videos} test clips of looks that training never saw; {num_classes} classes, chance is {chance:.0%}. "
        f"Features: {of_features}.",
        "",
        "| model | test accuracy | best epoch |",
        "|---|---|---|",
    ]
    for name, title in COMPARED.items():
        s = scores[name]
        lines.append(f"| {title} | {s['accuracy']:.1%} | {s['epoch']} |")
    found = scores["soft_attention"]["localisation"]
    lines += [
        "",
        f"Attention inside the actor's box: {found['mass']:.1%} of it; the box is {found['area']:.1%} of the frame, so "
        f"the attention is {found['ratio']:.2f} times as dense there as uniform attention. The strongest cell lies on "
        f"the actor in {found['pointing']:.1%} of the frames, as a random one would in {found['pointing_chance']:.1%}.",
        "",
    ]
    for name, title in COMPARED.items():
        if scores[name]["accuracy"] < 2 * chance:
            lines.append(f"**Below expectation**: {title} should reach twice chance on unseen groups, and does not.")
    if found["ratio"] <= 1:
        lines.append("**Below expectation**: the attention is not denser on the actor than elsewhere.")
    lines += [f"![{path.stem}](figures/{path.name})" for path in pictures]
    return "\n".join([*lines, "", f"All of it took {seconds:.0f} seconds.", ""])
