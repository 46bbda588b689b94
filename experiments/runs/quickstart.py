"""What the quickstart does, step by step."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from attention_ar.errors import InputError
from data_prep.datasets.registry import list_clips
from data_prep.datasets.synthetic_clips import write_synthetic_clips
from data_prep.features.extraction import extract
from data_prep.features.opening import open_features
from data_prep.networks.weights import load_googlenet
from experiments.runs.config import DataConfig, ModelConfig, RunConfig, RuntimeConfig, TrainingConfig
from experiments.runs.evaluation import evaluate
from experiments.runs.models import MODELS
from experiments.runs.training import train
from experiments.runs.visualization import visualize

COMPARED = {name: MODELS[name].title for name in ("soft_attention", "average_pool")}


@dataclass(frozen=True)
class Sizes:
    """How large the quickstart is; these take a few minutes on two cores.

    Attributes:
      clips: see `write_synthetic_clips`. Many looks with few clips each: what is learnt must hold for looks never seen.
      data, model: flags that are not at their default.
      training: see `TrainingConfig`.
    """

    clips: dict = field(default_factory=lambda: {"num_groups": 12, "clips_per_group": 1})
    data: dict = field(default_factory=lambda: {"stride": 3, "validation_fraction": 0.25})
    model: dict = field(default_factory=lambda: {"hidden_dim": 256})
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(batch_size=16, epochs=12, learning_rate=5e-4)
    )


def quickstart(workdir: Path, googlenet: str | None, sizes: Sizes | None = None) -> dict:
    """Draws clips, extracts features, trains and compares two models; leaves `summary.md` in the work folder.

    Args:
      workdir: for everything that is made. What an interrupted run has made there is used again.
      googlenet: see `load_googlenet`; where no weights can be had, the random network is used.
      sizes: how large everything is.

    Returns:
      The test scores of each model under its name, see `evaluate`; those of soft attention have `localisation`.
    """
    started = time.perf_counter()
    sizes = sizes or Sizes()
    network = network_or_random(googlenet)
    clips, features = workdir / "clips", workdir / "features.h5"
    if not (clips / "index.csv").exists():
        print(f"drawing clips into {clips}", flush=True)
        write_synthetic_clips(clips, **sizes.clips)
    if features.exists() and open_features(features).recipe["network"] != network.recipe["network"]:
        raise InputError(
            f"{features}: made with another network than {network.recipe['network']}; name another --workdir"
        )
    extract(list_clips("folder", clips), network, features)

    scores = {}
    for name, title in COMPARED.items():
        print(f"training: {title}", flush=True)
        config = RunConfig(
            data=DataConfig(features=str(features), **sizes.data),
            model=ModelConfig(model=name, **sizes.model),
            training=sizes.training,
            runtime=RuntimeConfig(parallel="jit"),  # Too small for several devices.
        )
        train(config, workdir / name)
        boxes = clips / "boxes.csv" if name == "soft_attention" else None
        scores[name], _, _ = evaluate(workdir / name, boxes=boxes, data_dir=clips)
    pictures = visualize(workdir / "soft_attention", count=2, output=workdir / "figures")
    summary = summarise(scores, network.is_random, pictures, time.perf_counter() - started)
    path = workdir / "summary.md"
    path.write_text(summary, encoding="utf-8")
    print(f"\n{summary}\nsummary: {path}; filmstrips, videos and animations: {workdir / 'figures'}")
    return scores


def network_or_random(googlenet: str | None):
    """Loads GoogLeNet. Where none was asked for and none can be had, says so and returns the random network."""
    try:
        network = load_googlenet(googlenet)
    except InputError as error:
        if googlenet is not None:
            raise
        print(f"NOTE: {error}")
        network = load_googlenet("random")
    if network.is_random:
        print("NOTE: the network is RANDOM. This shows how things work, not how well.", flush=True)
    return network


def summarise(scores: dict, is_random: bool, pictures: list[Path], seconds: float) -> str:
    """Returns the summary as Markdown. What should have come out and did not is said."""
    num_classes = len(scores["soft_attention"]["class_names"])
    num_videos = scores["soft_attention"]["num_videos"]
    chance = 1 / num_classes
    lines = ["# Quickstart", ""]
    if is_random:
        lines += ["**The network is RANDOM**: these numbers show how things work, not how well.", ""]
    lines += [
        f"{num_videos} test clips of looks that training never saw; {num_classes} classes, chance is {chance:.0%}.",
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
