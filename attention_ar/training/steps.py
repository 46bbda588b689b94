"""One step of training and one of evaluation: pure functions, to be compiled by their caller."""

import flax.struct
import jax
import jax.numpy as jnp
import optax

from attention_ar.attention_health import attention_health


class TrainState(flax.struct.PyTreeNode):
    """The state of training.

    Attributes:
      step: number of updates done, `<int32>[]`.
      params: the model's parameters.
      opt_state: the optimiser's state.
    """

    step: jax.Array
    params: dict
    opt_state: optax.OptState


def create_train_state(model, optimizer, key, x) -> TrainState:
    """Returns the first state of training.

    Args:
      model: a Flax module of this package.
      optimizer: an optax.GradientTransformation.
      key: a PRNG key, for the initial weights.
      x: features of any batch, for their shape and dtype, `<float>[B, T, K², D]`, or a dict of them by level.
    """
    params = model.init(key, x)["params"]
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))


def predict(model, params, batch, **options):
    """Runs a model on a batch.

    Args:
      model: a Flax module of this package.
      params: its parameters.
      batch: a dict that has `features` `<float>[B, T, K², D]`; or `frames` `<float>[F, K², D]` and `where`
        `<int>[B, T]`, the frames of each block among them, for blocks that share many. A model that is `per_frame` sees
        each of these frames once. For a model of several levels, `features` and `frames` are dicts of such arrays by
        level. With `glimpse` `<float>[B, T, K²]`, that is where a model with attention looks.
      options: of the model's call.

    Returns:
      What the model returns: logits `<float>[B, T, C]`, and a dict of named intermediates.
    """
    if "glimpse" in batch:
        options["glimpse"] = batch["glimpse"]
    if "frames" not in batch:
        return model.apply({"params": params}, batch["features"], **options)
    if not model.per_frame:
        features = jax.tree.map(lambda frames: frames[batch["where"]], batch["frames"])
        return model.apply({"params": params}, features, **options)
    logits, out = model.apply({"params": params}, batch["frames"][None], **options)
    return logits[0][batch["where"]], out


def train_step(state, batch, *, model, objective, optimizer, seed, axis_name=None):
    """One update.

    Args:
      state: a TrainState.
      batch: what `predict` needs, `labels` `<float>[B, C]`, `weight` `<float>[B]` (1 for a block, 0 for padding) and
        `index` `<int>[B]`, each block's index in the whole batch.
      model, objective, optimizer: see `create_train_state`, `PaperObjective`.
      seed: the dropout masks follow from it, the step and the block's `index`.
      axis_name: that of `jax.pmap`, if this runs in it; the batch is then this device's shard.

    Returns:
      The new state, and a dict of scalars: `step` (updates done, with this one), `loss`, its parts as the objective
      names them, `num_blocks`, `gradient_norm`, and `finite`, which is False where the loss or a gradient is not a
      finite number. They are of the whole batch, on every device.
    """
    dropout_key = jax.random.fold_in(jax.random.key(seed), state.step)

    def loss_fn(params):
        options = {"train": True, "rngs": {"dropout": dropout_key}, "example_index": batch["index"]}
        logits, out = predict(model, params, batch, **options)
        return objective(params, logits, out, batch["labels"], batch["weight"], axis_name)

    (loss, parts), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    num_blocks = jnp.sum(batch["weight"])
    if axis_name is not None:
        loss, parts, gradients, num_blocks = jax.lax.psum((loss, parts, gradients, num_blocks), axis_name)
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    new_state = TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state)
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


def eval_step(params, batch, *, model, objective, keep=None):
    """Predicts a batch of blocks without dropout.

    Args:
      params: the model's parameters.
      batch: see `predict`; `labels` `<float>[B, C]` if they are known.
      model, objective: see `train_step`.
      keep: the names of the results to return; None is all. The others are not computed.

    Returns:
      A dict: `logits` `<float>[B, T, C]`, `predictions` ŷ_t `<float>[B, T, C]`; for a batch with labels `cross_entropy`
      `<float>[B]`, the first term of the loss for each block; for a model with attention `attention`
      `<float>[B, T, K²]` and the three `attention_health` numbers, each `<float>[B]`; and `levels`, m_t
      `<float>[B, T, V]`, for one that attends to several.
    """
    logits, out = predict(model, params, batch)
    results = {"logits": logits, "predictions": objective.predictions(logits)}
    if "labels" in batch:
        results["cross_entropy"] = objective.cross_entropy(logits, batch["labels"])
    if "attention" in out:
        results |= {"attention": out["attention"], **attention_health(out["attention"])}
    if "levels" in out:
        results["levels"] = out["levels"]
    return results if keep is None else {name: value for name, value in results.items() if name in keep}
