"""One step of training and one of evaluation: pure functions, to be compiled by their caller."""

import flax.struct
import jax
import jax.numpy as jnp
import optax

from attention_ar.attention_health import attention_health
from attention_ar.evidence import evidence
from attention_ar.hard_attention import Samples
from attention_ar.shared_frames import SharedFrames, whole
from attention_ar.training.sampling import (
    Sampling,
    draw_samples,
    evaluation_samples,
    features_shape,
    mean_prediction,
    sampled_loss,
)


class TrainState(flax.struct.PyTreeNode):
    """The state of training.

    Attributes:
      step: number of updates done, `<int32>[]`.
      params: the model's parameters.
      opt_state: the optimiser's state.
      baseline: b_t of hard attention with one sample a block, `<float>[T]`, see `policy_gradient`; else None.
    """

    step: jax.Array
    params: dict
    opt_state: optax.OptState
    baseline: jax.Array | None = None


def create_train_state(model, optimizer, key, x, baseline=None) -> TrainState:
    """Returns the first state of training.

    Args:
      model: a Flax module of this package.
      optimizer: an optax.GradientTransformation.
      key: a PRNG key, for the initial weights.
      x: features of any batch, for their shape and dtype, `<float>[B, T, K², D]`, or a dict of them by level.
      baseline: see `TrainState` and `sampling.first_baseline`.
    """
    params = model.init(key, x)["params"]
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params), baseline)


def predict(model, params, batch, **options):
    """Runs a model on a batch.

    Args:
      model: a Flax module of this package.
      params: its parameters.
      batch: a dict that has `features` `<float>[B, T, K², D]`; or `frames` `<float>[F, K², D]` and `where`
        `<int>[B, T]`, the frames of each block among them, for blocks that share many. A model that is `per_frame` sees
        each of these frames once; one that `shares_frames` gets `SharedFrames`, except in training. For a model of
        several levels, `features` and `frames` are dicts of such arrays by level. With `glimpse` `<float>[B, T, K²]`,
        that is where a model with attention looks. What else may be there: `start` `<int>[B]`, see
        `sampling.evaluation_samples`.
      options: of the model's call.

    Returns:
      What the model returns: logits `<float>[B, T, C]`, and a dict of named intermediates.
    """
    if "glimpse" in batch:
        options["glimpse"] = batch["glimpse"]
    if "frames" in batch and getattr(model, "per_frame", False):
        logits, out = model.apply({"params": params}, batch["frames"][None], **options)
        return logits[0][batch["where"]], out
    X = _features(batch)
    if options.get("train") or not getattr(model, "shares_frames", False):
        X = whole(X)
    return model.apply({"params": params}, X, **options)


def _features(batch):
    """The features of a batch as `predict` takes it: arrays or `SharedFrames`, by level where there are several."""
    if "frames" not in batch:
        return batch["features"]
    return jax.tree.map(lambda frames: SharedFrames(frames, batch["where"]), batch["frames"])


def train_step(state, batch, *, model, objective, optimizer, seed, axis_name=None, sampling: Sampling | None = None):
    """One update.

    Args:
      state: a TrainState.
      batch: what `predict` needs, `labels` `<float>[B, C]`, `weight` `<float>[B]` (1 for a block, 0 for padding) and
        `index` `<int>[B]`, each block's index in the whole batch.
      model, objective, optimizer: see `create_train_state`, `PaperObjective`.
      seed: the dropout masks follow from it, the step and the block's `index`, and so do the places that are drawn.
      axis_name: that of `jax.pmap`, if this runs in it; the batch is then this device's shard.
      sampling: for a model with `hard` attention, how it is trained.

    Returns:
      The new state, and a dict of scalars: `step` (updates done, with this one), `loss`, its parts as the objective
      names them, `num_blocks`, `gradient_norm`, and `finite`, which is False where the loss or a gradient is not a
      finite number. With `sampling` it has the further terms of `sampled_loss`, which are not in the loss. All are of
      the whole batch, on every device.
    """
    key = jax.random.fold_in(jax.random.key(seed), state.step)
    options = {"train": True, "rngs": {"dropout": key}, "example_index": batch["index"]}

    def loss_fn(params):
        logits, out = predict(model, params, batch, **options)
        loss, parts = objective(params, logits, out, batch["labels"], batch["weight"], axis_name)
        return loss, (loss, parts, state.baseline)

    def surrogate_fn(params):
        noise, expect = draw_samples(key, batch["index"], features_shape(batch), sampling)
        # What does not depend on the noise, such as dropout's masks and the first state, is there once for all samples.
        logits, out = jax.vmap(lambda noise: predict(model, params, batch, samples=Samples(noise, expect), **options))(
            noise
        )
        surrogate, *found = sampled_loss(
            *(objective, params, logits, out, batch, expect, state.baseline),
            *(sampling.entropy_weight_at(state.step), model.hard.estimator, axis_name),
        )
        return surrogate, found

    differentiated = loss_fn if sampling is None else surrogate_fn
    (_, (loss, parts, baseline)), gradients = jax.value_and_grad(differentiated, has_aux=True)(state.params)
    num_blocks = jnp.sum(batch["weight"])
    if axis_name is not None:
        loss, parts, gradients, num_blocks = jax.lax.psum((loss, parts, gradients, num_blocks), axis_name)
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    new_state = TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state, baseline)
    gradient_norm = jnp.sqrt(sum(jnp.vdot(g, g, precision="highest") for g in jax.tree.leaves(gradients)))
    metrics = {
        "step": new_state.step,
        "loss": loss,
        **parts,
        "num_blocks": num_blocks,
        "gradient_norm": gradient_norm,
        "finite": jnp.isfinite(loss) & jnp.isfinite(gradient_norm),
    }
    return new_state, metrics


def predict_at_test(model, params, batch, multi_label: bool):
    """As `predict`, under a model's glimpse rule.

    Where that is "sample", ŷ_t, l_t, `glimpse` and m_t are means over `evaluation_samples`: the logits are those of
    this mean, and the dict has `attention`, `glimpse`, `levels` (of a model that has several) and `health`, the means
    of the `attention_health` numbers.
    """
    hard = getattr(model, "hard", None)
    if hard is None or hard.glimpse_rule != "sample" or "glimpse" in batch:
        return predict(model, params, batch)
    samples = evaluation_samples(batch, features_shape(batch))
    logits, out = jax.vmap(lambda noise: predict(model, params, batch, samples=Samples(noise)))(samples.noise)
    means = {name: out[name] for name in ("attention", "glimpse", "levels") if name in out}
    means["health"] = attention_health(out["attention"])
    return mean_prediction(logits, multi_label), jax.tree.map(lambda values: jnp.mean(values, axis=0), means)


def eval_step(params, batch, *, model, objective, keep=None):
    """Predicts a batch of blocks without dropout.

    Args:
      params: the model's parameters.
      batch: see `predict`; `labels` `<float>[B, C]` if they are known.
      model, objective: see `train_step`.
      keep: the names of the results to return; None is all but `evidence`. The others are not computed.

    Returns:
      A dict: `logits` `<float>[B, T, C]`, `predictions` ŷ_t `<float>[B, T, C]`; for a batch with labels `cross_entropy`
      `<float>[B]`, the first term of the loss for each block; for a model with attention `attention` l_t
      `<float>[B, T, K²]`, the three `attention_health` numbers of it, each `<float>[B]`, and `glimpse`
      `<float>[B, T, K²]`, the share of each cell in x_t, which is l_t for soft attention; and `levels`, m_t
      `<float>[B, T, V]`, for one that attends to several. If it is asked for, `evidence` for the class that the block
      is taken for, the one of the highest mean of ŷ_t, `<float>[B, T, K²]`.
    """
    logits, out = predict_at_test(model, params, batch, objective.multi_label)
    results = {"logits": logits, "predictions": objective.predictions(logits)}
    if "labels" in batch:
        results["cross_entropy"] = objective.cross_entropy(logits, batch["labels"])
    if "attention" in out:
        glimpse = out.get("glimpse", out["attention"])
        health = out["health"] if "health" in out else attention_health(out["attention"])
        results |= {"attention": out["attention"], "glimpse": glimpse, **health}
    if "levels" in out:
        results["levels"] = out["levels"]
    if "evidence" in (keep or ()):
        taken_for = jnp.argmax(results["predictions"].mean(axis=1), axis=-1)
        X = whole(_features(batch))
        results["evidence"] = evidence(model, params, X, taken_for, objective.multi_label, results.get("glimpse"))
    return results if keep is None else {name: value for name, value in results.items() if name in keep}
