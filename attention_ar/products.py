"""Products with weight matrices, and the dtype in which they are computed."""

import jax
import jax.numpy as jnp

from attention_ar.errors import InputError


def accumulator(dtype):
    """Returns the dtype in which products of `dtype` are summed and returned: float32 at least."""
    return jnp.dtype(dtype) if jnp.finfo(dtype).bits >= 32 else jnp.dtype(jnp.float32)


def precision(dtype) -> str:
    """Returns the precision of products: float32 means float32, where accelerators would multiply in fewer bits."""
    return "highest" if jnp.finfo(dtype).bits >= 32 else "default"


def in_compute_dtype(params, compute_dtype: str | None):
    """Returns the parameters with their matrices in the compute dtype.

    Args:
      params: a tree of arrays.
      compute_dtype: "bfloat16"; "float32" or None leave them as they are.

    Raises:
      InputError: for another dtype.
    """
    if compute_dtype in (None, "float32"):
        return params
    if compute_dtype != "bfloat16":
        raise InputError(f"compute_dtype={compute_dtype}: must be float32 or bfloat16")
    return jax.tree.map(lambda p: p.astype(jnp.bfloat16) if p.ndim == 2 else p, params)


def product(W, v):
    """Wᵀ v, in the order in which the paper writes it: W_iᵀ h of Eq. 4 is entry i of `product(W, h)`.

    The dtype of W decides: v is rounded to it, and products are summed in float32, or in float64 if W is float64.

    Example:

        >>> import jax.numpy as jnp
        >>> from attention_ar.products import product
        >>> W = jnp.array([[1.0, 0.0, 2.0], [0.0, 1.0, 3.0]])
        >>> product(W, jnp.array([10.0, 1.0])).tolist()
        [10.0, 1.0, 23.0]

    Args:
      W: `<float>[num_in, num_out]`, or a vector `<float>[num_in]`. In a fast time loop it may be an object that
        has its own product, see `attention_ar.loop.fast`; then v is `<float>[num_in]`.
      v: `<float>[..., num_in]`; each of its vectors is multiplied.

    Returns:
      `<float>[..., num_out]`, or `<float>[...]` for a vector W; float32 or float64.
    """
    if hasattr(W, "multiply"):
        return W.multiply(v)
    v = jnp.asarray(v)
    rows = v.reshape(-1, v.shape[-1]) if v.ndim > 2 else v  # As several axes, XLA would copy v for W's gradient.
    return multiply(rows.astype(W.dtype), W).reshape(*v.shape[:-1], *W.shape[1:])


def multiply(a, b, contract=jnp.matmul):
    """The product of two arrays of one dtype, summed in `accumulator` of it; `contract` is jnp.matmul or like it."""

    def as_they_are(a, b):
        return contract(a, b, precision=precision(a.dtype), preferred_element_type=accumulator(a.dtype))

    def widened(a, b):
        return contract(a.astype(jnp.float32), b.astype(jnp.float32), precision="highest")

    if a.dtype != jnp.bfloat16:
        return as_they_are(a, b)
    # XLA has no bfloat16 product with float32 sums for all shapes on a CPU. In float32 it is the same: products of two
    # bfloat16 numbers are exact there.
    return jax.lax.platform_dependent(a, b, cpu=widened, default=as_they_are)
