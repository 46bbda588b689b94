"""Fig. 9: does a model classify a clip correctly when it looks elsewhere?

Three glimpses of one clip under one trained model: (1) its own; (2) with W of Eq. 4 replaced by uniform random numbers
between the least and the greatest of its own; (3) with W optimised from there, for this clip alone and with all other
parameters as they are, until the clip is classified correctly: the first such glimpse is what the paper shows. If
random numbers already do, nothing is optimised; another seed draws others.

The objective is the cross-entropy of Eq. 7, without penalty and decay, which do not concern a single clip's class.
"""

import functools
import json
import operator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from attention_ar.attention_health import attention_health
from attention_ar.errors import InputError
from attention_ar.training.optimizers import adam
from attention_ar.whole_file import whole_file
from experiments.paper_figures.figure5_glimpse import chosen_clip, compared
from experiments.paper_figures.filmstrips import WHITE, with_warning
from experiments.paper_figures.runs_shown import Run
from experiments.pictures.sheet import Panel, write_sheet
from experiments.runs.build import build_model, build_objective
from experiments.runs.video_predictions import label_of


def with_W(params, W) -> dict:
    """Returns the parameters of a `SoftAttentionLSTM` with another W of Eq. 4, `<float>[d, K²]`."""
    return {**params, "location_softmax": {"kernel": W}}


def random_W(params, seed: int) -> np.ndarray:
    """Returns uniform random numbers between the least and the greatest of W, in its shape and type."""
    W = np.asarray(params["location_softmax"]["kernel"])
    return np.random.default_rng(seed).uniform(W.min(), W.max(), W.shape).astype(W.dtype)


@functools.partial(jax.jit, static_argnames=("model", "objective"))
def _share(W, frozen, x, share, labels, model, objective):
    """Returns the contribution of some blocks to the means over all blocks under W, and to the gradient.

    `share` `<float>[B]` is a block's weight in these means: 1 / number of blocks, or 0 for padding.
    """

    def loss(W):
        logits, out = model.apply({"params": with_W(frozen, W)}, x)
        health = attention_health(out["attention"])
        seen = {name: jnp.sum(share * health[name]) for name in ("entropy", "movement")}
        seen["probabilities"] = share @ jnp.mean(objective.predictions(logits), axis=1)
        by_block = jnp.broadcast_to(labels[None], (len(x), len(labels)))
        seen["cross_entropy"] = jnp.sum(share * objective.cross_entropy(logits, by_block))
        return seen["cross_entropy"], seen

    gradient, seen = jax.grad(loss, has_aux=True)(W)
    return seen, gradient


@functools.partial(jax.jit, static_argnames="learning_rate")
def _update(W, gradient, opt_state, learning_rate):
    updates, opt_state = adam(learning_rate).update(gradient, opt_state, W)
    return optax.apply_updates(W, updates), opt_state


def _batches(x, size: int) -> list[tuple]:
    """Cuts blocks into batches of one size, of which the last is padded; see `_share`."""
    size = min(size, len(x))
    batches = []
    for start in range(0, len(x), size):
        own = np.arange(start, start + size)
        share = np.where(own < len(x), 1 / len(x), 0).astype(np.float32)
        batches.append((x[np.minimum(own, len(x) - 1)], share))
    return batches


def optimise_W(
    model,
    objective,
    params,
    x,
    labels,
    *,
    learning_rate: float,
    max_steps: int,
    log=lambda line: None,
    batch_size: int = 16,
):
    """Optimises W by Adam until a clip is classified correctly; no other parameter changes.

    Every step follows the gradient of the mean over all blocks of the clip, whatever their number.

    Args:
      model: a `SoftAttentionLSTM`.
      objective: see `PaperObjective`.
      params: with the W to begin with.
      x: the blocks of the clip, `<float>[B, T, K², D]`.
      labels: of the clip, `<float>[C]`.
      learning_rate: of Adam.
      max_steps: updates at most.
      log: a function of the line of each step: `step` (updates done), `cross_entropy` (mean over the blocks, in nats),
        `probability` (of the clip's class, of several the most probable), `prediction` (the index of the most probable
        class), `right`, `entropy` and `movement` of the attention.
      batch_size: the most blocks whose gradient is in memory at a time.

    Returns:
      The last parameters, and whether the clip is classified correctly with them.

    Raises:
      InputError: where the cross-entropy is no finite number.
    """
    frozen = {name: value for name, value in params.items() if name != "location_softmax"}
    labels = np.asarray(labels)
    W = jnp.asarray(params["location_softmax"]["kernel"])
    opt_state = adam(learning_rate).init(W)
    batches = _batches(x, batch_size)
    for step in range(max_steps + 1):
        seen, gradient = functools.reduce(
            functools.partial(jax.tree.map, operator.add),
            (_share(W, frozen, blocks, share, labels, model, objective) for blocks, share in batches),
        )
        seen = jax.device_get(seen)
        probabilities = seen.pop("probabilities")
        if not np.isfinite(seen["cross_entropy"]):
            raise InputError(f"step {step}: the cross-entropy is not a finite number; try a lower --learning_rate")
        best = int(np.argmax(probabilities))
        right = bool(labels[best] > 0)
        line = {"step": step, "cross_entropy": float(seen["cross_entropy"])}
        line |= {"probability": float(probabilities[labels > 0].max(initial=0)), "prediction": best, "right": right}
        log(line | {name: float(seen[name]) for name in ("entropy", "movement")})
        if right or step == max_steps:
            return with_W(frozen, W), right
        W, opt_state = _update(W, gradient, opt_state, learning_rate)


def draw_random_glimpse(
    figure, run: Run, path: Path, video, *, split, num_columns, seed=0, max_steps=500, learning_rate=1e-3
):
    """Draws Fig. 9, and writes the log of the optimisation beside it, one JSON line per step.

    Args:
      figure: which clip to choose where none is named, see `Figure`.
      run: the run.
      path: of the PNG.
      video: the clip; None is a wrongly classified one.
      split: where to look for it.
      num_columns: how many frames are shown.
      seed: of the random W.
      max_steps, learning_rate: see `optimise_W`.

    Returns:
      The paths written, and lines about what was found.
    """
    model = run.model
    if model.config.model.model != "soft_attention":
        raise InputError(
            f"{model.workdir}: figure 9 is about W of Eq. 4, which model={model.config.model.model} does not have; "
            "it takes a soft_attention run"
        )
    if model.config.attention.attention != "soft":
        raise InputError(
            f"{model.workdir}: figure 9 optimises W by the gradient through soft attention; this run has "
            f"attention={model.config.attention.attention}"
        )
    video, remarks = chosen_clip(figure, run, video, split)
    rows = run.blocks(video).rows
    first, count = run.file.first_row[video], run.file.num_frames[video]
    clip = np.asarray(run.file.features[first : first + count], model.predictor.dtype)
    x = clip.reshape(count, -1, clip.shape[-1])[rows - first]
    labels = run.file.labels[video].astype(np.float32)
    random = with_W(model.params, random_W(model.params, seed))
    sizes = len(run.file.class_names), model.multi_label
    log_path = path.with_suffix(".jsonl")
    lines = []
    with whole_file(log_path) as beside, beside.open("w", encoding="utf-8") as file:

        def log(line):
            lines.append(line)
            named = line | {"prediction": run.file.class_names[line["prediction"]]}
            file.write(json.dumps(named, ensure_ascii=False) + "\n")
            file.flush()

        found, right = optimise_W(
            build_model(model.config, *sizes),
            build_objective(model.config, model.multi_label),
            random,
            x,
            labels,
            learning_rate=learning_rate,
            max_steps=max_steps,
            log=log,
        )

    steps = lines[-1]["step"]
    if not steps:
        outcome = "random W is right already: nothing to optimise; another --seed draws others"
    elif right:
        outcome = f"W optimised for this clip is right after {steps} step{'s' * (steps > 1)}"
    else:
        outcome = f"W optimised for this clip is still wrong after {steps} steps"
    looks = run.look(video), run.with_params(random).look(video), run.with_params(found).look(video)
    names = ["(1) the model's own glimpse", f"(2) random W, seed {seed}", f"(3) W after {steps} steps"]
    for name, look in zip(names, looks, strict=True):
        remarks.append(f"{name}: {run.verdict(video, look.prediction)}")
    remarks.append(outcome)
    caption = f"{run.file.names[video]}: {label_of(run.file, video)}"
    write_sheet(
        [Panel(caption, compared(run, video, looks, names, num_columns))],
        path,
        title=with_warning(figure.title, [run]),
        note=f"{WHITE} {run.describe()}.\n{outcome[0].upper()}{outcome[1:]}.",
    )
    return [path, log_path], remarks
