"""Three numbers that show whether the attention has collapsed.

A model can classify well while its attention stays on one cell, does not move, or is uniform. The accuracy shows none
of these.
"""

import jax.numpy as jnp


def attention_health(attention):
    """Measures the attention of one or many blocks.

    Args:
      attention: l, `<float>[..., T, K²]`.

    Returns:
      A dict of `<float>[...]`:
        entropy: of l_t, mean over the steps, in nats; ln K² (3.892 for 49 cells) is uniform, 0 is one cell.
        movement: the fraction of the attention that moves from one step to the next, ½ Σ_i |l_{t,i} −
          l_{t−1,i}|, mean over the steps; 0 is frozen, 1 is a jump to other cells at every step. 0 for T = 1.
        largest_mass: of the most attended cell of each step, mean over the steps; 1 / K² is uniform, 1 is one cell.
    """
    l = attention
    log_l = jnp.log(jnp.where(l > 0, l, 1))
    moved = jnp.sum(jnp.abs(l[..., 1:, :] - l[..., :-1, :]), axis=-1) / 2
    return {
        "entropy": jnp.mean(-jnp.sum(l * log_l, axis=-1), axis=-1),
        "movement": jnp.sum(moved, axis=-1) / max(l.shape[-2] - 1, 1),
        "largest_mass": jnp.mean(jnp.max(l, axis=-1), axis=-1),
    }
