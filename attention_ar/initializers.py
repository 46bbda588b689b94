"""Initial weights, as in the authors' program: square matrices orthogonal, all others Gaussian, biases zero."""

import jax
import jax.numpy as jnp


def matrix(key, num_in: int, num_out: int, dtype) -> jax.Array:
    """Returns `<float>[num_in, num_out]`: random orthogonal if square, else N(0, 0.01²)."""
    if num_in == num_out:
        return jax.nn.initializers.orthogonal()(key, (num_in, num_out), dtype)
    return 0.01 * jax.random.normal(key, (num_in, num_out), dtype)


def affine(key, num_in: int, num_out: int, dtype) -> dict[str, jax.Array]:
    """Returns the parameters of an affine map, `kernel` `<float>[num_in, num_out]` and `bias` `<float>[num_out]`."""
    return {"kernel": matrix(key, num_in, num_out, dtype), "bias": jnp.zeros((num_out,), dtype)}


def lstm(key, num_in: int, hidden_dim: int, dtype) -> dict[str, jax.Array]:
    """Returns M of Eq. 1: `kernel` `<float>[d + num_in, 4·d]`, the rows of h above those of x, and `bias`
    `<float>[4·d]`.

    Each gate has a matrix of its own from h, which is square and therefore orthogonal, and one from x.
    """
    keys = jax.random.split(key, (4, 2))
    gates = [
        jnp.concatenate([matrix(k_h, hidden_dim, hidden_dim, dtype), matrix(k_x, num_in, hidden_dim, dtype)])
        for k_h, k_x in keys
    ]
    return {"kernel": jnp.concatenate(gates, axis=1), "bias": jnp.zeros((4 * hidden_dim,), dtype)}
