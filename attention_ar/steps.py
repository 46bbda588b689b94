"""One step of training and one of evaluation: pure functions, to be compiled by their caller."""

import flax.struct
import jax
import jax.numpy as jnp
import optax

from attention_ar.attention_health import attention_health


class TrainState(flax.struct.PyTreeNode):
    """All that changes in training.

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
      x: features of any batch, for their shape and type, `<float>[B, T, K², D]`.
    """
    params = model.init(key, x)["params"]
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))


def predict(model, params, batch, **options):
    """Runs a model on a batch.

    Args:
      model: a Flax module of this package.
      params: its parameters.
      batch: a dict that has `features` `<float>[B, T, K², D]`; or, for a model that is `per_frame`, `frames`
        `<float>[F, K², D]` and `where` `<int>[B, T]`, the frames of each block among them. The latter run through the
        model once, however many blocks share them.
      options: of the model's call.

    Returns:
      What the model returns: logits `<float>[B, T, C]`, and a dict of named intermediates.
    """
    if not model.per_frame:
        return model.apply({"params": params}, batch["features"], **options)
    logits, out = model.apply({"params": params}, batch["frames"][None], **options)
    return logits[0][batch["where"]], out


def train_step(state, batch, *, model, objective, optimizer, seed):
    """One update.

    Args:
      state: a TrainState.
      batch: what `predict` needs, `labels` `<float>[B, C]` and `weight` `<float>[B]` (1 for a block, 0 for what fills
        up the batch).
      model, objective, optimizer: see `create_train_state`, `PaperObjective`.
      seed: the dropout masks follow from it, the step and the example's index in the batch.

    Returns:
      The new state, and a dict of scalars: `step` (updates done, with this one), `loss`, its parts as the objective
      names them, `num_blocks`, `gradient_norm`, and `finite`, which is False where the loss or a gradient is not a
      finite number.
    """
    dropout_key = jax.random.fold_in(jax.random.key(seed), state.step)

    def loss_fn(params):
        logits, out = predict(model, params, batch, train=True, rngs={"dropout": dropout_key})
        return objective(params, logits, out, batch["labels"], batch["weight"])

    (loss, parts), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    new_state = TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state)
    gradient_norm = optax.tree.norm(gradients)
    metrics = {
        "step": new_state.step,
        "loss": loss,
        **parts,
        "num_blocks": jnp.sum(batch["weight"]),
        "gradient_norm": gradient_norm,
        "finite": jnp.isfinite(loss) & jnp.isfinite(gradient_norm),
    }
    return new_state, metrics


def eval_step(params, batch, *, model, objective):
    """Predicts a batch of blocks without dropout.

    Returns:
      A dict: `logits` `<float>[B, T, C]`, `predictions` ŷ_t `<float>[B, T, C]`, the block's part of the loss that the
      labels make, `cross_entropy` `<float>[B]`; and for a model with attention `attention` `<float>[B, T, K²]` and the
      three `attention_health` numbers, each `<float>[B]`.
    """
    logits, out = predict(model, params, batch)
    results = {
        "logits": logits,
        "predictions": objective.predictions(logits),
        "cross_entropy": objective.cross_entropy(logits, batch["labels"]),
    }
    if "attention" in out:
        results |= {"attention": out["attention"], **attention_health(out["attention"])}
    return results
