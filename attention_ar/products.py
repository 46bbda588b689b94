"""Products with weight matrices, and in which number type they are computed."""

import jax
import jax.numpy as jnp

from attention_ar.errors import InputError


def accumulator(dtype):
    """Returns the type in which products of `dtype` are summed and handed on: float32 at least."""
    return jnp.dtype(dtype) if jnp.finfo(dtype).bits >= 32 else jnp.dtype(jnp.float32)


def precision(dtype) -> str:
    """Returns the precision of products: float32 means float32, where accelerators would multiply in fewer bits."""
    return "highest" if jnp.finfo(dtype).bits >= 32 else "default"


def in_compute_dtype(params, compute_dtype: str | None):
    """Returns the parameters with their matrices in the type in which products are to be computed.

    Args:
      params: a tree of arrays.
      compute_dtype: "bfloat16"; "float32" or None leave them as they are.

    Raises:
      InputError: for another type.
    """
    if compute_dtype in (None, "float32"):
        return params
    if compute_dtype != "bfloat16":
        raise InputError(f"compute_dtype={compute_dtype}: must be float32 or bfloat16")
    return jax.tree.map(lambda p: p.astype(jnp.bfloat16) if p.ndim == 2 else p, params)


def product(W, v):
    """v W, by which everything here multiplies with a matrix, and the one way to do so within a `time_loop`.

    The type of W decides: v is rounded to it, and products are summed in float32, or float64 where W is that.

    Args:
      W: `<float>[num_in, num_out]`, or a `LoopMatrix`.
      v: `<float>[..., num_in]`; `<float>[num_in]` with a LoopMatrix.

    Returns:
      `<float>[..., num_out]`, float32 or float64.
    """
    if isinstance(W, (LoopMatrix, LoopInput)):
        return W.multiply(v)
    rows = v.reshape(-1, v.shape[-1]) if v.ndim > 2 else v  # As several axes, XLA would copy v for W's gradient.
    return multiply(rows.astype(W.dtype), W).reshape(*v.shape[:-1], *W.shape[1:])


def multiply(a, b, contract=jnp.matmul):
    """The product of two arrays of one type, summed in `accumulator` of it; `contract` is jnp.matmul or like it."""

    def as_they_are(a, b):
        return contract(a, b, precision=precision(a.dtype), preferred_element_type=accumulator(a.dtype))

    def widened(a, b):
        return contract(a.astype(jnp.float32), b.astype(jnp.float32), precision="highest")

    if a.dtype != jnp.bfloat16:
        return as_they_are(a, b)
    # XLA has no bfloat16 product with float32 sums for all shapes on a CPU. In float32 it is the same: products of two
    # bfloat16 numbers are exact there.
    return jax.lax.platform_dependent(a, b, cpu=widened, default=as_they_are)


class LoopMatrix:
    """A weight matrix as the steps of a `time_loop` see it: it notes v, and lets dz out through its slot.

    A slot is an input of the step that `_multiply` ignores, but whose cotangent it declares to be dz, the cotangent of
    z = v W. So the cotangents of the slots of all steps, which autodiff stacks, are the dz_t.

    Args:
      W: `<float>[num_in, num_out]`.
      W_T: its transpose, `<float>[num_out, num_in]`.
      slot: `<float>[num_out]`; its value does not matter.
    """

    def __init__(self, W, W_T, slot):
        self.W, self.W_T, self.slot, self.v = W, W_T, slot, None

    def multiply(self, v):
        """v W; v is kept as `self.v`."""
        if self.v is not None:
            raise ValueError("a step of a time loop may multiply with each weight matrix once only")
        self.v = v.astype(self.W.dtype)
        return _multiply(self.W, self.W_T, self.slot, self.v)


@jax.custom_vjp
def _multiply(W, W_T, slot, v):
    return multiply(W_T, v)


def _multiply_forward(W, W_T, slot, v):
    return jax.lax.optimization_barrier(multiply(W_T, v)), W


def _multiply_backward(W, dz):
    dz = dz.astype(W.dtype)
    # Without the barrier, XLA turns the product around, and with it the layout.
    dv = jax.lax.optimization_barrier(multiply(W, dz))
    return None, None, dz, dv.astype(W.dtype)


_multiply.defvjp(_multiply_forward, _multiply_backward)


@jax.custom_vjp
def through_slot(array, slot):
    """The array, whose cotangent is declared to be the slot's, see `LoopMatrix`."""
    return array


through_slot.defvjp(lambda array, slot: (array, None), lambda _, d: (None, d))


class LoopInput:
    """An input of a `time_loop` as its steps see it: a matrix among those of all steps, which stay where they lie.

    On a CPU v X_t, for Eq. 5 of 64 blocks and 30 steps, so takes 27 ms forward, which is what it takes to read X; as a
    batched product it takes 50, as XLA copies X_t first. Backward, X_t dz is such a product (52 ms): neither rows nor
    columns by themselves (56 to 240 ms) nor sums of products in one fusion (67 to 140 ms) were faster.

    Args:
      X: the matrices of all steps, `<float>[T, n, m]`.
      t: the step.
      dtype: the type in which it is to be multiplied; by default its own.
    """

    def __init__(self, X, t, dtype=None):
        self.X, self.t, self.dtype = X, t, jnp.dtype(dtype or X.dtype)

    def astype(self, dtype):
        """The same in another type."""
        return LoopInput(self.X, self.t, dtype)

    def multiply(self, v):
        """v X_t. It has a gradient in v only."""
        return _multiply_input(v.astype(self.dtype), self.X, self.t)


@jax.custom_vjp
def _multiply_input(v, X, t):
    def row_by_row(v, X, t):
        v, total = v.astype(accumulator(v.dtype)), 0
        for i in range(X.shape[1]):
            row = jax.lax.dynamic_slice(X, (t, i, 0), (1, 1, X.shape[2])).reshape(-1)
            total += v[i] * row.astype(dtype).astype(v.dtype)
        return total

    def whole(v, X, t):
        return multiply(v, jax.lax.dynamic_index_in_dim(X, t, keepdims=False).astype(dtype))

    dtype = v.dtype
    # On a CPU a product of one row does no more than to read the matrix, and XLA would copy it first.
    return jax.lax.platform_dependent(v, X, t, cpu=row_by_row, default=whole)


def _multiply_input_forward(v, X, t):
    return _multiply_input(v, X, t), (v[:0], X, t)


def _multiply_input_backward(residuals, dz):
    like_v, X, t = residuals
    X_t = jax.lax.dynamic_index_in_dim(X, t, keepdims=False).astype(like_v.dtype)
    return multiply(X_t, dz.astype(X_t.dtype)).astype(X_t.dtype), None, None


_multiply_input.defvjp(_multiply_input_forward, _multiply_input_backward)
