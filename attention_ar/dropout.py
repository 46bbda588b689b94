"""Dropout on the non-recurrent connections (Zaremba et al. 2014), inverted: nothing is scaled at test time.

Masks are drawn before the time loop and handed to the equations, which so stay functions of their arguments. A mask
holds 0 where a unit is dropped and 1 / (1 − rate) where it is kept. h_{t-1} → gates and h_{t-1} → location softmax have
none.
"""

import jax
import jax.numpy as jnp


def mask(key, rate: float, shape, dtype):
    """Returns `<float>[*shape]`: 0 with probability `rate`, 1 / (1 − rate) otherwise."""
    return jax.random.bernoulli(key, 1 - rate, shape).astype(dtype) / (1 - rate)


def drop(x, mask):
    """Returns x under the mask, or x itself where the mask is None."""
    return x if mask is None else x * mask


def recurrent_masks(key, rate, num_steps, input_dim, hidden_dim, num_layers, init_layers, dtype):
    """Draws all masks of one block, fresh ones for every step.

    Returns:
      A dict: `inputs`, one array a layer, of x_t into layer 1 `<float>[T, D]` and of each h_t into the layer above it
      `<float>[T, d]`; `top`, of the top h_t into the classifier, `<float>[T, d]`; `hidden`, of the classifier's tanh
      layer into the softmax, `<float>[T, d]`; `first_state`, inside the 2·num_layers perceptrons of Eq. 6,
      `<float>[num_layers, 2, init_layers − 1, D]`.
    """
    keys = jax.random.split(key, num_layers + 3)
    return {
        "inputs": [mask(keys[n], rate, (num_steps, hidden_dim if n else input_dim), dtype) for n in range(num_layers)],
        "top": mask(keys[-3], rate, (num_steps, hidden_dim), dtype),
        "hidden": mask(keys[-2], rate, (num_steps, hidden_dim), dtype),
        "first_state": mask(keys[-1], rate, (num_layers, 2, init_layers - 1, input_dim), dtype),
    }


def example_keys(key, example_index):
    """Returns one key an example, `<key>[B]`, that depends on its index in the global batch and on nothing else."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.asarray(example_index))
