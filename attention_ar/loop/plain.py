"""The plain time loop: `jax.vmap` over the blocks of a `jax.lax.scan` over the steps."""

import functools

import jax

from attention_ar.loop.shared import is_marked, saved_for_backward
from attention_ar.products import accumulator


def plain_loop(step, weights, states, inputs):
    """Runs `step` over the T steps of a batch of blocks. See `attention_ar.loop.time_loop`."""
    dtypes = jax.tree.map(lambda weight: weight.dtype, weights)
    # Autodiff adds a weight's gradients step by step, in the weight's dtype: bfloat16 would be too coarse.
    weights = jax.tree.map(lambda weight: weight.astype(accumulator(weight.dtype)), weights)

    @functools.partial(jax.checkpoint, policy=saved_for_backward, prevent_cse=False)
    def one_step(states, inputs_t):
        return step(jax.tree.map(lambda weight, dtype: weight.astype(dtype), weights, dtypes), states, inputs_t)

    def one_block(states, inputs):
        return jax.lax.scan(one_step, states, inputs)[1]

    inputs = jax.tree.map(lambda node: node.array if is_marked(node) else node, inputs, is_leaf=is_marked)
    return jax.vmap(one_block)(states, inputs)
