"""Parity of model, objective and optimisers with recorded runs of the authors' code."""

import dataclasses
import functools
from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import optax

from attention_ar.released import OPTIMIZERS, ReleasedAttentionLSTM, ReleasedObjective, layout
from attention_ar.released.model import sigmoid
from attention_ar.released.objective import EPSILON
from experiments.parity_checks.table import FLOAT32, FLOAT64, Case, compare, errors, same

QUANTITIES = {
    "init_state": "first state h",
    "init_memory": "first state c",
    "alphas": "attention",
    "ctxs": "attended input",
    "sels": "selector",
    "h": "state h",
    "c": "memory c",
    "probs": "probabilities of each step",
    "cost_nll": "cost before regularisers",
    "reg_alpha": "attention penalty",
    "reg_decay": "weight decay",
    "cost_total": "cost after regularisers",
    "f_log_probs": "log-likelihood that train() compiles",
    "preds": "classes or scores",
    "f_preds": "classes or scores that train() compiles",
}
"""The recorded outputs, gradients apart, and what the table calls them."""

DEAD_GRADIENT = "decoder_c_tt"
"""It shifts all arguments of a softmax alike: its gradient is 0 up to rounding."""


def model_options(recorded: dict) -> dict:
    """Our names for the authors' options, whose values may stand in lists as their scripts have them."""
    flat = {name: value[0] if isinstance(value, list) else value for name, value in recorded.items()}
    same_name = {field.name for field in dataclasses.fields(ReleasedAttentionLSTM)} & flat.keys()
    ours = {"num_classes": flat["n_actions"], "hidden_dim": flat["dim"]}
    return ours | {name: flat[name] for name in same_name}


def precisions(case: Case):
    """Yields name, type, recorded outputs and context of each precision in which the case was run."""
    yield FLOAT32, np.float32, case.arrays, nullcontext()
    if case.arrays_float64 is not None:
        yield FLOAT64, np.float64, case.arrays_float64, jax.enable_x64(True)


def swap(array):
    """[T, B, …], as the authors have it, to [B, T, …], as we do; and back."""
    return np.swapaxes(np.asarray(array), 0, 1)


class Inputs:
    """What went into a recorded model or optimiser case, in one precision."""

    def __init__(self, case: Case, dtype):
        arrays, about = case.arrays, case.about
        labels = swap(arrays["y"])
        self.multi_label = labels.ndim == 3
        self.model = ReleasedAttentionLSTM(**model_options(about["options"]), multi_label=self.multi_label)
        self.objective = ReleasedObjective(about["alpha_c"], about["decay_c"], self.multi_label)
        used = "param__" if about["perturbation"] else "init__"
        self.params = {name: arrays[used + name].astype(dtype) for name in about["param_order"]}
        self.x = swap(arrays["x"]).astype(dtype)
        self.mask = swap(arrays["mask"]).astype(dtype)
        self.labels = (labels if self.multi_label else np.eye(self.model.num_classes)[labels]).astype(dtype)
        self.dropout_masks = self._dropout_masks(arrays, dtype) if about.get("use_noise") else None

    def _dropout_masks(self, arrays, dtype):
        """The masks that the authors' run drew, in the order in which it drew them."""
        count = sum(name.startswith("dropmask_") for name in arrays)
        drawn = [arrays[f"dropmask_{n}"].astype(dtype) for n in range(count)]
        drawn = iter([swap(mask) if mask.ndim == 3 else mask for mask in drawn])
        return {
            "first_state": [next(drawn) for _ in range(1, self.model.n_layers_init)],
            "h": next(drawn),
            "hidden": next(drawn),
            "out": [next(drawn) for _ in range(1, self.model.n_layers_out)],
        }

    def value_and_gradients(self, params=None, objective=None):
        """Returns cost, what `released_cost` returns beside it, and the gradient of each parameter."""
        data = (self.x, self.mask, self.labels, self.dropout_masks)
        params = self.params if params is None else params
        return jax.device_get(cost_and_gradients(self.model, objective or self.objective, params, *data))


def released_cost(params, model, objective, x, mask, labels, dropout_masks):
    """The objective of one batch, and beside it logits, intermediates and the objective's parts."""
    logits, out = model.apply({"params": params}, x, mask=mask, dropout_masks=dropout_masks)
    cost, parts = objective(params, logits, out, labels, jnp.ones(len(x), x.dtype), mask=mask)
    return cost, (logits, out, parts)


@functools.partial(jax.jit, static_argnums=(0, 1))
def cost_and_gradients(model, objective, params, *data):
    """Returns the cost, what `released_cost` returns beside it, and the gradients.

    `data` are x, mask, labels and dropout masks.
    """
    (cost, beside), gradients = jax.value_and_grad(released_cost, has_aux=True)(params, model, objective, *data)
    return cost, beside, gradients


def our_quantities(inputs: Inputs) -> dict:
    """Computes what was recorded, under the recorded names."""
    cost, (logits, out, parts), gradients = inputs.value_and_gradients()
    return {
        "init_state": out["first_h"],
        "init_memory": out["first_c"],
        "alphas": swap(out["attention"]),
        "ctxs": swap(out["x"]),
        **({"sels": swap(out["selector"])} if "selector" in out else {}),
        "h": swap(out["h"]),
        "c": swap(out["c"]),
        "probs": swap(inputs.objective.predictions(jnp.asarray(logits))),
        "cost_nll": parts["cross_entropy"],
        "reg_alpha": parts["attention_penalty"],
        "reg_decay": parts["weight_decay"],
        "cost_total": cost,
        "f_log_probs": -parts["cross_entropy"],
        "preds": out["prediction"],
        "f_preds": out["prediction"],
        **{f"grad__{name}": gradient for name, gradient in gradients.items()},
        "logits": logits,
    }


class OriginalArithmetic(ReleasedObjective):
    """The multi-label cost as Theano takes its gradient: from p, which is exactly 1 for great logits."""

    def cross_entropy(self, logits, labels, mask=None):
        p = sigmoid(logits)
        steps = jnp.sum(-labels * jnp.log(p + EPSILON) - (1 - labels) * jnp.log(1 - p + EPSILON), axis=-1)
        return jnp.sum(steps if mask is None else mask * steps, axis=-1)


def as_original(inputs: Inputs, ours: dict) -> dict:
    """Recomputes what Theano's rewriting changes where a clip may have several labels.

    It evaluates the cost with 1 for 1 + 1e-8 and −softplus for log(1 − σ): the value lacks the second 1e-8.
    Its gradient has it in float64, but no part where p is exactly 1.

    Returns:
      For names of quantities, what the table says of the difference, and the value.
    """
    z = np.asarray(ours["logits"], np.float64)
    log_p = np.log(1 / (1 + np.exp(-z)) + EPSILON)
    steps = np.sum(-inputs.labels * log_p + (1 - inputs.labels) * np.logaddexp(0, z), axis=-1)
    folded = np.sum(inputs.mask * steps)
    dropped = ": the original drops the 1e-8 of 1 − p + 1e-8 from the value; compared without it"
    result = {
        "cost_nll": (dropped, folded),
        "f_log_probs": (dropped, -folded),
        "cost_total": (dropped, ours["cost_total"] + (folded - ours["cost_nll"])),
    }
    if inputs.x.dtype == np.float64:
        *_, gradients = inputs.value_and_gradients(objective=OriginalArithmetic(**dataclasses.asdict(inputs.objective)))
        certain = ": the original's p is 1 for logits above 19; compared with that"
        result |= {f"grad__{name}": (certain, gradient) for name, gradient in gradients.items()}
    return result


def kind(name: str) -> str | None:
    """Returns "gradient" or "forward"; None for what is no output, and for the dead gradient (no relative error)."""
    if name.startswith("grad__"):
        return None if name.endswith(DEAD_GRADIENT) else "gradient"
    return "forward" if name in QUANTITIES else None


def largest_difference(in32: dict, in64: dict, of_kind: str) -> float:
    """Returns the largest relative error of a float32 run against its float64 run, over the quantities of one kind."""
    names = [name for name in in32.keys() & in64.keys() if kind(name) == of_kind]
    return max((errors(in32[n], in64[n])[1] for n in names if np.all(np.isfinite(in32[n]))), default=0.0)


def model_case(case: Case):
    """Yields the rows of one recorded forward pass with cost and gradients.

    Tolerances: 1e-9 in float64. In float32 2e-5, or three times the largest difference between the authors' own float32
    and float64 runs; but at most ten times the same difference of ours, so that a wrong number in the record
    cannot raise its own tolerance. Where the record is not a number, its gradients' differences are unknown, and the
    tolerance is a hundred times those of the forward pass.
    """
    yield from initial_parameters(case)
    recorded, inputs, ours = {}, {}, {}
    for precision, dtype, arrays, context in precisions(case):
        with context:
            recorded[precision], inputs[precision] = arrays, Inputs(case, dtype)
            ours[precision] = our_quantities(inputs[precision])
    in64, their64 = ours.get(FLOAT64, {}), recorded.get(FLOAT64, {})
    kinds = ("forward", "gradient")
    own = {k: largest_difference(ours[FLOAT32], in64, k) for k in kinds}
    theirs = {k: largest_difference(recorded[FLOAT32], their64, k) for k in kinds}
    tolerance = {
        FLOAT32: {k: max(2e-5, min(3 * theirs[k], 10 * own[k])) for k in kinds},
        FLOAT64: dict.fromkeys(kinds, 1e-9),
    }
    tolerance[FLOAT32]["not a number"] = max(1e-3, 100 * theirs["forward"])
    for precision, _, _, context in precisions(case):
        with context:
            results = inputs[precision], ours[precision], recorded[precision], tolerance[precision]
            yield from model_rows(case, precision, *results, finite=in64 if precision == FLOAT32 else None)


def model_rows(case, precision, inputs, ours, recorded, tolerance, finite):
    """Yields the rows of one precision.

    Args:
      case, precision: for the rows.
      inputs: what the quantities were computed from.
      ours, recorded: the quantities by their recorded names.
      tolerance: of each kind.
      finite: our quantities in float64, which stand in where the record is not a number.
    """
    original = functools.cache(lambda: as_original(inputs, ours) if inputs.multi_label else {})
    for name, value in ours.items():
        if name not in recorded or name == "logits":
            continue
        reference, array = recorded[name], name.removeprefix("grad__") if name.startswith("grad__") else ""
        quantity, of_kind = QUANTITIES.get(name, "gradient"), kind(name) or "gradient"
        if reference.dtype.kind == "i":
            yield same(case.name, quantity, value, reference)
            continue
        if finite and np.any(np.isnan(reference)):
            reference = np.where(np.isnan(reference), finite[name], reference)
            quantity += ": the original's is NaN for logits above 15; ours is finite, as in float64"
            of_kind = "not a number"
        against = "absolute" if array == DEAD_GRADIENT else "relative"
        numbers = {"tolerance": tolerance[of_kind], "precision": precision, "against": against}
        row = compare(case.name, quantity, value, reference, array=array, **numbers)
        if not row.ok and name in original():
            difference, value = original()[name]
            explained = compare(case.name, quantity + difference, value, reference, array=array, **numbers)
            row = explained if explained.ok else row
        yield row


def initial_parameters(case: Case):
    """Yields the rows on names, shapes and ways of drawing the initial parameters."""
    recorded = {name: case.arrays[f"init__{name}"] for name in case.about["param_order"]}
    options = model_options(case.about["options"])
    model = ReleasedAttentionLSTM(**options)
    sizes = (case.arrays["x"].shape[-1], model.hidden_dim, model.dim_out, model.num_classes)
    shapes = layout.shapes(*sizes, **model.structure())
    ours = {
        name: layout.initial(jax.random.fold_in(jax.random.key(0), n), name, shape, jnp.float32)
        for n, (name, shape) in enumerate(shapes.items())
    }
    yield same(case.name, "initial parameters: names", list(shapes), list(recorded))
    drawn = drawn_by_numpy(shapes, case.about["seed"], recorded)
    for name in drawn.keys() & recorded.keys():
        quantity = "initial parameters: values from the seed, orthogonal ones up to signs"
        yield compare(case.name, quantity, drawn[name], recorded[name], 2e-5, name, FLOAT32)
    wrong = [name for name, array in recorded.items() if shapes.get(name) != array.shape]
    yield same(case.name, "initial parameters: shapes", len(wrong), 0, ", ".join(wrong))
    kinds = [[kind_of(name, array) for name, array in params.items()] for params in (ours, recorded)]
    yield same(case.name, "initial parameters: zero, orthogonal or Gaussian", *kinds)


def drawn_by_numpy(shapes, seed, like) -> dict:
    """Draws parameters by the rule of `layout.initial` from the generator with which the authors drew theirs.

    The signs of an orthogonal matrix's columns depend on the linear algebra library: they are taken from `like`.
    """
    generator = np.random.RandomState(seed)
    drawn = {}
    for name, shape in shapes.items():
        if len(shape) < 2:
            drawn[name] = np.zeros(shape)
            continue
        count = 4 if name in ("decoder_W", "decoder_U") else 1
        blocks = []
        for reference in np.split(np.resize(like.get(name, 0.0), shape), count, axis=1):
            block = generator.randn(*reference.shape)
            if reference.shape[0] == reference.shape[1] and name != "decoder_Wc_att":
                block = np.linalg.svd(block)[0]
                block *= np.where(np.sum(block * reference, axis=0) < 0, -1, 1)
            else:
                block *= 0.01
            blocks.append(block)
        drawn[name] = np.concatenate(blocks, axis=1)
    return drawn


def kind_of(name, array) -> str:
    """Tells a parameter that is 0 from one of orthogonal blocks and from one of N(0, 0.01²)."""
    array = np.asarray(array)
    if not np.any(array):
        return "zero"
    for block in np.split(array, 4 if name in ("decoder_W", "decoder_U") else 1, axis=1):
        if block.shape[0] != block.shape[1] or not np.allclose(block.T @ block, np.eye(len(block)), atol=1e-4):
            deviation = float(np.sqrt(np.mean(array**2)))
            return "Gaussian" if 0.003 < deviation < 0.03 else f"deviation {deviation:.2g}"
    return "orthogonal"


def optimizer_case(case: Case):
    """Yields the rows of a recorded trace of an optimiser: several updates on one batch."""
    about = case.about
    for precision, dtype, recorded, context in precisions(case):
        tolerance = 1e-7 if precision == FLOAT64 else 1e-4
        with context:
            inputs = Inputs(case, dtype)
            costs, trace = follow(inputs, OPTIMIZERS[about["optimizer"]](about["lrate"]), about["n_updates"])
        row = functools.partial(compare, case.name, precision=precision, tolerance=tolerance)
        yield row(f"cost along {about['optimizer']}", costs, recorded["costs"])
        for name, values in trace.items():
            if not (precision == FLOAT32 and name == DEAD_GRADIENT):  # rounding errors, amplified to full updates
                quantity = f"parameters after each update of {about['optimizer']}"
                yield row(quantity, values, recorded[f"trace__{name}"], array=name)


def follow(inputs, optimizer, num_updates):
    """Returns the cost before each update and after the last, and each parameter after each update."""
    params, state = inputs.params, optimizer.init(inputs.params)
    update = jax.jit(optimizer.update)
    costs, trace = [], {name: [] for name in params}
    for _ in range(num_updates):
        cost, _, gradients = inputs.value_and_gradients(params)
        updates, state = update(gradients, state, params)
        params = jax.device_get(optax.apply_updates(params, updates))
        costs.append(float(cost))
        for name, value in params.items():
            trace[name].append(value)
    costs.append(float(inputs.value_and_gradients(params)[0]))
    return np.array(costs), {name: np.stack(values) for name, values in trace.items()}
