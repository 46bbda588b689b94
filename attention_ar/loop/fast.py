"""The fast time loop: the numbers of `plain.plain_loop`, and gradients that take less time, and on a CPU less memory.

It differs from the plain loop in four ways.

* Weight gradients are computed after the loop. The plain loop adds v_t dz_tᵀ to the gradient of every matrix at every
  step. Here a step only saves v_t and dz_t, and one product sums over all steps and blocks (`LoopMatrix`).
* States are [d, B] in the loop, so that the weights stand on the left: Wᵀ v in the forward pass and W dz in the
  backward pass, each from a copy of W whose rows are contiguous. XLA's matrix products are faster this way around.
* On a CPU, features are read where they are, in [B, T, K², D]. The plain loop copies them to [T, B, K², D] first
  (`LoopInput`).
* Gradients are computed only for inputs that need them; a backward step skips the features.

Both loops save the same results of a step for the backward pass and recompute the rest
(`shared.saved_for_backward`). A training step at the paper's size, with 64 blocks on one core of a CPU, takes 1.3 times
as long with the plain loop, and 547 MB of temporaries instead of 205. `attention_ar/README.md` has the details.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from attention_ar.loop.shared import is_marked, saved_for_backward
from attention_ar.products import accumulator, multiply


def fast_loop(step, weights, states, inputs):
    """Runs `step` over the T steps of a batch of blocks. See `attention_ar.loop.time_loop`."""
    flat_weights, structure = jax.tree.flatten(weights)
    flat_inputs, inputs_structure = jax.tree.flatten(inputs, is_leaf=is_marked)
    in_place = tuple(is_marked(node) for node in flat_inputs)
    flat_inputs = [node.array if marked else node for node, marked in zip(flat_inputs, in_place, strict=True)]

    def flat_step(flat_weights, states, flat_inputs):
        return step(structure.unflatten(flat_weights), states, inputs_structure.unflatten(flat_inputs))

    return _fast_loop(flat_step, in_place, flat_weights, states, flat_inputs)


# --- What a step gets instead of arrays ------------------------------------------------------------------------------


class LoopMatrix(np.lib.mixins.NDArrayOperatorsMixin):
    """A weight matrix in a step of the fast loop. It supports only `product(W, v)`, once per step.

    The gradient of W is Σ_t v_t dz_tᵀ, where dz_t is the gradient of z_t = Wᵀ v_t. The product saves v_t. For dz_t
    there is the `slot`: an input of the product whose value is not used, and whose gradient is defined to be dz_t. The
    gradients of the slots of all steps are what autodiff returns, stacked. W itself has no gradient in a step; if it
    were an array there, its gradient would silently be lost.

    Args:
      W: `<float>[num_in, num_out]`.
      W_T: its transpose, `<float>[num_out, num_in]`.
      slot: `<float>[num_out]`; its value does not matter.
    """

    def __init__(self, W, W_T, slot):
        self.W, self.W_T, self.slot, self.v = W, W_T, slot, None
        self.shape, self.dtype, self.ndim = W.shape, W.dtype, 2

    def multiply(self, v):
        """Wᵀ v for one vector, `<float>[num_in]`. It is saved as `self.v`."""
        v = jnp.asarray(v)
        if v.shape != self.shape[:1]:
            raise ValueError(
                f"product(W, v) with v of shape {list(v.shape)}, W of {list(self.shape)}: in a step of the fast time "
                "loop v must be one vector; multiply whole frames before the loop, or use time_loop='plain'"
            )
        if self.v is not None:
            raise ValueError(
                "a step of the fast time loop may multiply with each weight matrix once only; concatenate the vectors "
                "or split the matrix, or use time_loop='plain'"
            )
        self.v = v.astype(self.dtype)
        return _multiply(self.W, self.W_T, self.slot, self.v)

    def _no_array(self, *_, **__):
        raise TypeError(
            f"a weight matrix of shape {list(self.shape)}: the fast time loop supports only product(W, v), i.e. "
            "W.T @ v; else use time_loop='plain'"
        )

    __jax_array__ = __array__ = __array_ufunc__ = __getitem__ = __len__ = __iter__ = _no_array

    def __getattr__(self, name):
        """Methods of arrays, such as `W.T`."""
        if hasattr(jax.Array, name) and not name.startswith("__"):
            self._no_array()
        raise AttributeError(name)


@jax.custom_vjp
def _multiply(W, W_T, slot, v):
    return multiply(W_T, v)


def _multiply_forward(W, W_T, slot, v):
    return jax.lax.optimization_barrier(multiply(W_T, v)), W


def _multiply_backward(W, dz):
    dz = dz.astype(W.dtype)
    # Without the barrier, XLA transposes the product, and with it the layout.
    dv = jax.lax.optimization_barrier(multiply(W, dz))
    return None, None, dz, dv.astype(W.dtype)


_multiply.defvjp(_multiply_forward, _multiply_backward)


@jax.custom_vjp
def _with_gradient_in_slot(array, slot):
    """The array. Its gradient is returned as the slot's, see `LoopMatrix`."""
    return array


_with_gradient_in_slot.defvjp(lambda array, slot: (array, None), lambda _, d: (None, d))


class LoopInput(np.lib.mixins.NDArrayOperatorsMixin):
    """The matrix X_t of an input marked `InPlace`, in a step of the fast loop. It stays in the array of all steps.

    `product(X_t, v)` reads it in place. Everything else, such as `X_t @ u` or `X_t.mean(axis=0)`, makes an array of
    it; where a function of jax.numpy refuses it, write `jnp.asarray(X_t)`. It has no gradient: if one is needed, a
    step gets an array.

    Args:
      X: the matrices of all steps, `<float>[T, n, m]`.
      t: the step.
      dtype: in which it is used; by default its own.
    """

    def __init__(self, X, t, dtype=None):
        self.X, self.t, self.dtype = X, t, jnp.dtype(dtype or X.dtype)
        self.shape, self.ndim = X.shape[1:], X.ndim - 1

    def astype(self, dtype):
        """The same in another type; in a third one it is an array."""
        if self.dtype == self.X.dtype:
            return LoopInput(self.X, self.t, dtype)
        return self.__jax_array__().astype(dtype)

    def multiply(self, v):
        """X_tᵀ v, `<float>[m]`, for one vector, `<float>[n]`."""
        v = jnp.asarray(v)
        if self.ndim != 2 or v.ndim != 1:
            return multiply(v.astype(self.dtype), self.__jax_array__())
        return _multiply_input(v.astype(self.dtype), self.X, self.t)

    def __jax_array__(self):
        return jax.lax.dynamic_index_in_dim(self.X, self.t, keepdims=False).astype(self.dtype)

    def __array_ufunc__(self, ufunc, method, *operands):
        """Python's operators, and NumPy's functions of arrays, as those of jax.numpy."""
        if method != "__call__":
            return NotImplemented
        arrays = (operand.__jax_array__() if isinstance(operand, LoopInput) else operand for operand in operands)
        return getattr(jnp, ufunc.__name__)(*arrays)

    def __array__(self, *_, **__):
        return np.asarray(self.__jax_array__())

    def __getitem__(self, index):
        """Rows whose numbers are an integer array are read in place, and no others."""
        if isinstance(index, jax.Array) and jnp.issubdtype(index.dtype, jnp.integer):
            return self.X[self.t.astype(index.dtype), index].astype(self.dtype)
        return self.__jax_array__()[index]

    def __iter__(self):
        return iter(self.__jax_array__())

    def __len__(self):
        return self.shape[0]

    def __getattr__(self, name):
        """Methods of arrays, such as `X_t.T`."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__jax_array__(), name)


@jax.jit  # So that its many lines are traced once, and not wherever a program has them.
def _row_by_row(v, X, t):
    dtype, v, total = v.dtype, v.astype(accumulator(v.dtype)), 0
    for i in range(X.shape[1]):
        row = jax.lax.dynamic_slice(X, (t, i, 0), (1, 1, X.shape[2])).reshape(-1)
        total += v[i] * row.astype(dtype).astype(v.dtype)
    return total


@jax.custom_vjp
def _multiply_input(v, X, t):
    def whole(v, X, t):
        return multiply(v, jax.lax.dynamic_index_in_dim(X, t, keepdims=False).astype(v.dtype))

    # On a CPU this is bound by reading the matrix. As a batched product it takes twice as long, as XLA copies it first.
    return jax.lax.platform_dependent(v, X, t, cpu=_row_by_row, default=whole)


def _multiply_input_forward(v, X, t):
    return _multiply_input(v, X, t), (v[:0], X, t)


def _multiply_input_backward(residuals, dz):
    like_v, X, t = residuals
    X_t = jax.lax.dynamic_index_in_dim(X, t, keepdims=False).astype(like_v.dtype)
    return multiply(X_t, dz.astype(X_t.dtype)).astype(X_t.dtype), None, None


_multiply_input.defvjp(_multiply_input_forward, _multiply_input_backward)


# --- The loop ---------------------------------------------------------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _fast_loop(step, in_place, weights, states, inputs):
    transposed, slots = _transposed(weights), _slots(weights, inputs)
    out, _ = _unroll(step, in_place, weights, transposed, states, inputs, slots, [None] * len(inputs))
    return out


def _transposed(weights):
    """Copies of the matrices' transposes; a row of each is contiguous."""
    return [jnp.copy(weight.T) if weight.ndim == 2 else None for weight in weights]


def _slots(weights, inputs):
    """A slot for every matrix, block and step. XLA never makes them, as their values are not used."""
    batch_size, num_steps = inputs[0].shape[:2]
    return [jnp.zeros((num_steps, batch_size, w.shape[1]), w.dtype) if w.ndim == 2 else None for w in weights]


def _unroll(step, in_place, weights, transposed, states, inputs, slots, inputs_slots):
    """The loop. Returns the steps' outputs, `[B, T, ...]`, and v of every matrix, `<float>[T, B, num_in]`.

    A matrix that the step does not use has an empty v, `<float>[T, B, 0, num_in]`.
    """

    def one_block(t, states, inputs_t, slots_t):
        inputs_t = [LoopInput(a, t) if stays else a for a, stays in zip(inputs_t, whole, strict=True)]
        seen = [
            weight if weight_T is None else LoopMatrix(weight, weight_T, slot)
            for weight, weight_T, slot in zip(weights, transposed, slots_t, strict=True)
        ]
        states, out = step(seen, states, inputs_t)
        matrices = [weight for weight in seen if isinstance(weight, LoopMatrix)]
        return states, (out, [jnp.zeros((0, m.shape[0]), m.dtype) if m.v is None else m.v for m in matrices])

    whole = [here and slot is None for here, slot in zip(in_place, inputs_slots, strict=True)]
    at = functools.partial(jax.lax.dynamic_index_in_dim, axis=1, keepdims=False)

    @functools.partial(jax.checkpoint, policy=saved_for_backward, prevent_cse=False)
    def all_blocks(states, now):
        t, slots_t, inputs_slots_t = now
        inputs_t = [
            array if stays else at(array, t) if slot is None else _with_gradient_in_slot(at(array, t), slot)
            for array, slot, stays in zip(inputs, inputs_slots_t, whole, strict=True)
        ]
        return jax.vmap(one_block, in_axes=(None, -1, 0, 0), out_axes=(-1, 0))(t, states, inputs_t, slots_t)

    states = jax.tree.map(lambda state: state.T, states)
    _, (out, v) = jax.lax.scan(all_blocks, states, (jnp.arange(inputs[0].shape[1]), slots, inputs_slots))
    return jax.tree.map(lambda array: jnp.swapaxes(array, 0, 1), out), v


def _forward(step, in_place, weights, states, inputs):
    """The loop, and its backward pass as a function. Inputs have gradients only if they are requested."""
    wanted = [array.perturbed and jnp.issubdtype(array.value.dtype, jnp.floating) for array in inputs]
    weights, states, inputs = jax.tree.map(
        lambda primal: primal.value, (weights, states, inputs), is_leaf=lambda node: hasattr(node, "perturbed")
    )
    transposed = _transposed(weights)

    def run(vectors, states, inputs_slots, slots):
        all_weights = [w if vector is None else vector for w, vector in zip(weights, vectors, strict=True)]
        return _unroll(step, in_place, all_weights, transposed, states, inputs, slots, inputs_slots)

    vectors = [None if weight.ndim == 2 else weight for weight in weights]
    # With the gradient of the input itself, every step of the backward pass would add to an array of all steps.
    inputs_slots = [
        jnp.zeros_like(array, shape=(array.shape[1], array.shape[0], *array.shape[2:])) if want else None
        for array, want in zip(inputs, wanted, strict=True)
    ]
    out, pullback, v = jax.vjp(run, vectors, states, inputs_slots, _slots(weights, inputs), has_aux=True)
    return out, (pullback, v)


def _backward(step, in_place, residuals, d_out):
    pullback, v = residuals
    d_out = jax.tree.map(
        lambda d: jnp.zeros(d.shape, d.dtype) if isinstance(d, SymbolicZero) else d,
        d_out,
        is_leaf=lambda node: isinstance(node, SymbolicZero),
    )
    d_vectors, d_states, d_inputs, d_slots = pullback(d_out)
    d_inputs = jax.tree.map(lambda d: jnp.swapaxes(d, 0, 1), d_inputs)
    v = iter(v)
    d_weights = [
        d_vector if dz is None else _sum_of_outer_products(next(v), dz)
        for d_vector, dz in zip(d_vectors, d_slots, strict=True)
    ]
    return d_weights, d_states, d_inputs


def _sum_of_outer_products(v, dz):
    """The gradient of W in one product: `<float>[T, B, num_in]` and `[T, B, num_out]` to `[num_in, num_out]`.

    It contracts over two axes: to make one of them, v and dz would be copied or, of a sharded batch, gathered.
    """
    if v.size == 0:
        return jnp.zeros((v.shape[-1], dz.shape[-1]), dz.dtype)
    over_steps_and_blocks = functools.partial(jnp.tensordot, axes=((0, 1), (0, 1)))
    return multiply(v, dz, over_steps_and_blocks).astype(v.dtype)


_fast_loop.defvjp(_forward, _backward, symbolic_zeros=True)
