"""Variance of the gradient of hard attention, with and without baseline, by the number of samples.

Of the model of --run on blocks of its own training part, without dropout, so that nothing but the places is drawn. Each
line has 40 gradients of the same 8 blocks. `variance` is the sum of the variances of the gradient of the parameters of
the location softmax, `of all` that of all parameters, `× N` the first times N: what one sample leaves. The baselines:
none; one number for all steps; one number a step, as the moving average has when it has settled; leave-one-out. The
straight-through gradient is biased, which its variance does not show.
"""

import functools

import numpy as np

from experiments.benchmarks.framework import Contender, Skip, Workload
from experiments.benchmarks.settings import Settings

BLOCKS, DRAWS = 8, 40
_LOOKING = (
    *("location_softmax", "decoder_Wc_att", "decoder_b_att", "decoder_W_att"),
    *("decoder_Wd_att", "decoder_U_att", "decoder_c_tt"),
)
_LINES = (
    *((1, baseline) for baseline in ("none", "one number", "one number a step")),
    *((N, baseline) for N in (2, 4, 8) for baseline in ("none", "leave-one-out")),
    *((N, "straight-through") for N in (1, 4)),
)


def contenders(settings: Settings, platform: str) -> list[Contender]:
    """One for each number of samples and baseline."""
    lines = _LINES if settings.run else _LINES[:1]
    return [Contender(f"N = {N}, {what}", functools.partial(build, settings, N, what)) for N, what in lines]


def build(settings: Settings, num_samples: int, baseline: str) -> Workload:
    """States facts only."""
    if not settings.run:
        raise Skip("needs --run, a trained run with attention")
    import jax
    import jax.numpy as jnp

    from attention_ar.hard_attention import Samples
    from attention_ar.policy_gradient import return_to_go
    from attention_ar.training.named_params import flat_names
    from attention_ar.training.sampling import Sampling, draw_samples, sampled_loss
    from data_prep.loading.block_table import cut_blocks
    from experiments.runs import trained
    from experiments.runs.build import build_model, build_objective
    from experiments.runs.config import with_flags
    from experiments.runs.video_predictions import videos_of

    run = trained.load(settings.run)
    run.require_attention("to draw places from")
    estimator = "gumbel_st" if baseline == "straight-through" else "reinforce"
    kind = "window" if run.config.attention.attention == "window" else "hard"
    config = with_flags(run.config, attention=kind, estimator=estimator)
    model = build_model(config, len(run.class_names), run.multi_label)
    objective = build_objective(config, run.multi_label)
    file, data = run.open_features(), config.data
    blocks = cut_blocks(file, videos_of(file, "train"), data.num_steps, data.fps, data.stride, data.block_rule)
    chosen = np.linspace(0, len(blocks) - 1, BLOCKS).astype(int)
    x = np.stack([file.features[min(rows) : max(rows) + 1][rows - min(rows)] for rows in blocks.rows[chosen]])
    x = jnp.asarray(x.reshape(*x.shape[:2], -1, x.shape[-1]), run.predictor.dtype)
    batch = {"labels": jnp.asarray(file.labels[blocks.video[chosen]], jnp.float32), "weight": jnp.ones(BLOCKS)}
    how = Sampling(num_samples, soft_probability=0)

    def run_samples(params, key):
        noise, _ = draw_samples(key, jnp.arange(BLOCKS), x, how)
        return jax.vmap(lambda noise: model.apply({"params": params}, x, samples=Samples(noise)))(noise)

    @jax.jit
    def returns(params, key):
        logits, out = run_samples(params, key)
        penalty = objective.attention_penalty * objective.penalty(out["attention"])
        return jnp.mean(return_to_go(objective.step_costs(logits, batch["labels"]), penalty), axis=(0, 1))

    @jax.jit
    def gradient(params, key, b):
        def surrogate(params):
            logits, out = run_samples(params, key)
            none = jnp.zeros(())
            return sampled_loss(objective, params, logits, out, batch, None, b, none, estimator)[0]

        return jax.tree.map(lambda g: g.astype(jnp.float32), jax.grad(surrogate)(params))

    params, keys = jax.device_get(run.params), jax.random.split(jax.random.key(0), 2 * DRAWS)
    b = None
    if baseline in ("one number", "one number a step"):
        b = np.mean([returns(params, key) for key in keys[DRAWS:]], axis=0)
        b = np.full_like(b, b.mean()) if baseline == "one number" else b
    elif baseline == "none":
        b = np.zeros(data.num_steps, np.float32)
    sums = squares = None
    for key in keys[:DRAWS]:
        found = {name: np.asarray(g, np.float64) for name, g in flat_names(gradient(params, key, b)).items()}
        sums = found if sums is None else {name: sums[name] + g for name, g in found.items()}
        squared = {name: g**2 for name, g in found.items()}
        squares = squared if squares is None else {name: squares[name] + g for name, g in squared.items()}
    variance = {name: float(np.sum(squares[name] - sums[name] ** 2 / DRAWS)) / (DRAWS - 1) for name in sums}
    of_looking = sum(v for name, v in variance.items() if name.startswith(_LOOKING))
    return Workload(
        None,
        facts={
            "variance": f"{of_looking:.3g}",
            "× N": f"{num_samples * of_looking:.3g}",
            "of all": f"{sum(variance.values()):.3g}",
        },
    )
