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


def look_up(batch, dtype, axis_name=None):
    """Puts features where a batch has the rows of a table that lies on the device.

    Args:
      batch: where it has `table` `<float>[F, K², D]`, its `rows`, an array of row numbers, become `frames` if it also
        has `where`, else `features`. Instead of the table there may be `table_part`, this device's share of a table
        that is cut over several. Any other batch is returned as it is.
      dtype: of the features that come out.
      axis_name: the devices, if there are several.

    Returns:
      A batch as `predict` takes it.
    """
    if "rows" not in batch:
        return batch
    batch = dict(batch)
    rows = batch.pop("rows")
    found = batch.pop("table")[rows] if "table" in batch else take_rows(batch.pop("table_part"), rows, axis_name)
    batch["frames" if "where" in batch else "features"] = found.astype(dtype)
    return batch


def take_rows(part, rows, axis_name):
    """Returns `table[rows]` where each device has a part of the table and wants other rows.

    What a device wants goes around the ring of devices; each of them adds what it has, and passes it on. So a device
    holds one share of the batch at a time, however many devices there are.

    Args:
      part: `<float>[F, ...]`, rows device·F … device·F + F − 1 of the table.
      rows: numbers in the whole table, `<int>[B, ...]`, this device's.
      axis_name: the devices.
    """
    num_devices, first = jax.lax.axis_size(axis_name), jax.lax.axis_index(axis_name) * len(part)
    ring = [(device, (device + 1) % num_devices) for device in range(num_devices)]

    def add(rows, found):
        local = rows - first
        here = (local >= 0) & (local < len(part))
        own = part[jnp.where(here, local, 0)]
        here = here.reshape(here.shape + (1,) * (own.ndim - here.ndim))
        return jnp.where(here, own, jnp.zeros_like(own) if found is None else found)

    def visit(_, travelling):
        rows, found = jax.lax.ppermute(travelling, axis_name, ring)
        return rows, add(rows, found)

    travelling = jax.lax.fori_loop(1, num_devices, visit, (rows, add(rows, None)))
    return jax.lax.ppermute(travelling[1], axis_name, ring)


def predict(model, params, batch, **options):
    """Runs a model on a batch.

    Args:
      model: a Flax module of this package.
      params: its parameters.
      batch: a dict that has `features` `<float>[B, T, K², D]`; or `frames` `<float>[F, K², D]` and `where`
        `<int>[B, T]`, the frames of each block among them, for blocks that share many. A model that is `per_frame` sees
        each of these frames once. With `glimpse` `<float>[B, T, K²]`, that is where a model with attention looks.
      options: of the model's call.

    Returns:
      What the model returns: logits `<float>[B, T, C]`, and a dict of named intermediates.
    """
    if "glimpse" in batch:
        options["glimpse"] = batch["glimpse"]
    if "frames" not in batch:
        return model.apply({"params": params}, batch["features"], **options)
    if not model.per_frame:
        return model.apply({"params": params}, batch["frames"][batch["where"]], **options)
    logits, out = model.apply({"params": params}, batch["frames"][None], **options)
    return logits[0][batch["where"]], out


def train_step(state, batch, *, model, objective, optimizer, seed, axis_name=None):
    """One update.

    Args:
      state: a TrainState.
      batch: what `predict` needs, `labels` `<float>[B, C]`, `weight` `<float>[B]` (1 for a block, 0 for what fills up
        the batch) and `index` `<int>[B]`, each block's place in the whole batch.
      model, objective, optimizer: see `create_train_state`, `PaperObjective`.
      seed: the dropout masks follow from it, the step and the block's `index`.
      axis_name: of `jax.pmap`, if it is there that this runs; the batch is then this device's share of the whole.

    Returns:
      The new state, and a dict of scalars: `step` (updates done, with this one), `loss`, its parts as the objective
      names them, `num_blocks`, `gradient_norm`, and `finite`, which is False where the loss or a gradient is not a
      finite number. Both are of the whole batch, on every device.
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
      batch: see `predict`; and `labels` `<float>[B, C]`.
      model, objective: see `train_step`.
      keep: the names of the results that are wanted; None is all. What no result needs is not computed.

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
    return results if keep is None else {name: value for name, value in results.items() if name in keep}
