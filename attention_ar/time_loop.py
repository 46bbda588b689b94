"""Runs a step, written for one block, through the time of many blocks, so that it is fast to differentiate.

It takes the place of a plain `jax.vmap` of a `jax.lax.scan`, and does four things in another way. Training at the
paper's size (batch 64, float32, one core with AVX-512) so went from 49 to 73 blocks/s, and from 663 to 200 MB of
temporaries; in this, dropout's cheaper masks have a share (`attention_ar.dropout`).

* Weight gradients. Autodiff would add v_t · dz_tᵀ to every weight gradient at every step. Here the steps only keep v_t
  and dz_t, and the sum over steps and blocks is one product behind the loop (see `LoopMatrix`).
* Layout. States are [d, B] inside the loop: weights stand on the left, Wᵀ v forward and W dz backward, each from a copy
  of W in which a row is contiguous. At batch 64 this is 183 against 122 GFLOP/s forward and 175 against 139 backward.
* Memory. Of a step, what its products gave is kept, and what lies between them is computed again backward
  (`dots_saveable`). To keep everything takes 760 MB and gave 51 blocks/s where this gave 63; to keep nothing, 50.
* The features are sliced at each step where they lie, [B, T, …]: to bring them into [T, B, …] first is to copy 385 MB.

Tried and not better: two steps an iteration, the sums of outer products by a product of reshaped matrices, and states
of [B, d].
"""

import functools

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from attention_ar.products import LoopMatrix, multiply


def time_loop(step, weights, states, inputs):
    """Runs `step` through the time of a batch of blocks.

    Args:
      step: a function of weights, states and inputs of one block at one step, that returns the new states and what to
        keep of the step: a tree of arrays. It must multiply with each matrix of the weights by `product`, once.
      weights: a tree of arrays; those of two axes are matrices. The step gets it with other objects in their places.
      states: a tree of the blocks' first states, `<float>[B, d]`.
      inputs: a tree of arrays `[B, T, ...]`.

    Returns:
      What was kept, each `[B, T, ...]`.
    """
    flat_weights, structure = jax.tree.flatten(weights)
    flat_inputs, inputs_structure = jax.tree.flatten(inputs)

    def flat_step(flat_weights, states, flat_inputs):
        return step(structure.unflatten(flat_weights), states, inputs_structure.unflatten(flat_inputs))

    if not any(weight.ndim == 2 for weight in flat_weights):
        raise ValueError("a time loop needs a weight matrix")
    return _time_loop(flat_step, flat_weights, states, flat_inputs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _time_loop(step, weights, states, inputs):
    out, _ = _unroll(
        step, weights, _transposed(weights), states, inputs, _slots(weights, inputs), [False] * len(inputs)
    )
    return out


def _transposed(weights):
    """The transposes of the matrices, copied: a row of each is contiguous."""
    return [jnp.copy(weight.T) if weight.ndim == 2 else None for weight in weights]


def _slots(weights, inputs):
    """A slot for the result of every matrix, block and step. Their values, 0, are never read, and so never made."""
    batch_size, num_steps = inputs[0].shape[:2]
    return [jnp.zeros((num_steps, batch_size, w.shape[1]), w.dtype) if w.ndim == 2 else None for w in weights]


def _unroll(step, weights, transposed, states, inputs, slots, cut_in_advance):
    """The loop. Returns what the steps keep, `[B, T, ...]`, and v of every matrix, `<float>[T, B, num_in]`."""

    def one_block(states, inputs_t, slots_t):
        seen = [
            weight if weight_T is None else LoopMatrix(weight, weight_T, slot)
            for weight, weight_T, slot in zip(weights, transposed, slots_t, strict=True)
        ]
        states, out = step(seen, states, inputs_t)
        matrices = [weight for weight in seen if isinstance(weight, LoopMatrix)]
        if any(matrix.v is None for matrix in matrices):
            raise ValueError("a step of a time loop must multiply with each of its weight matrices")
        return states, (out, [matrix.v for matrix in matrices])

    @functools.partial(jax.checkpoint, policy=jax.checkpoint_policies.dots_saveable, prevent_cse=False)
    def all_blocks(states, now):
        t, slots_t, cut_t = now
        inputs_t = [
            jax.lax.dynamic_index_in_dim(array, t, axis=1, keepdims=False) if array_t is None else array_t
            for array, array_t in zip(inputs, cut_t, strict=True)
        ]
        return jax.vmap(one_block, in_axes=(-1, 0, 0), out_axes=(-1, 0))(states, inputs_t, slots_t)

    states = jax.tree.map(lambda state: state.T, states)
    # What has a gradient is cut in advance, or every step of the way back would add to an array of all steps.
    cut = [jnp.swapaxes(array, 0, 1) if want else None for array, want in zip(inputs, cut_in_advance, strict=True)]
    _, (out, v) = jax.lax.scan(all_blocks, states, (jnp.arange(inputs[0].shape[1]), slots, cut))
    return jax.tree.map(lambda array: jnp.swapaxes(array, 0, 1), out), v


def _forward(step, weights, states, inputs):
    """The loop, and how to go back. Inputs have gradients only if they are asked for: the features are many."""
    wanted = [array.perturbed and jnp.issubdtype(array.value.dtype, jnp.floating) for array in inputs]
    weights, states, inputs = jax.tree.map(
        lambda primal: primal.value, (weights, states, inputs), is_leaf=lambda node: hasattr(node, "perturbed")
    )
    transposed = _transposed(weights)

    def run(vectors, states, wanted_inputs, slots):
        all_weights = [w if vector is None else vector for w, vector in zip(weights, vectors, strict=True)]
        all_inputs = [a if given is None else given for a, given in zip(inputs, wanted_inputs, strict=True)]
        return _unroll(step, all_weights, transposed, states, all_inputs, slots, wanted)

    vectors = [None if weight.ndim == 2 else weight for weight in weights]
    wanted_inputs = [array if want else None for array, want in zip(inputs, wanted, strict=True)]
    out, pullback, v = jax.vjp(run, vectors, states, wanted_inputs, _slots(weights, inputs), has_aux=True)
    return out, (pullback, v)


def _backward(step, residuals, d_out):
    pullback, v = residuals
    d_out = jax.tree.map(
        lambda d: jnp.zeros(d.shape, d.dtype) if isinstance(d, SymbolicZero) else d,
        d_out,
        is_leaf=lambda node: isinstance(node, SymbolicZero),
    )
    d_vectors, d_states, d_inputs, d_slots = pullback(d_out)
    v = iter(v)
    d_weights = [
        d_vector if dz is None else _sum_of_outer_products(next(v), dz)
        for d_vector, dz in zip(d_vectors, d_slots, strict=True)
    ]
    return d_weights, d_states, d_inputs


def _sum_of_outer_products(v, dz):
    """The gradient of W, in one product: `<float>[T, B, num_in]` and `[T, B, num_out]` to `[num_in, num_out]`."""
    return multiply(v, dz, functools.partial(jnp.einsum, "tbi,tbo->io")).astype(v.dtype)


_time_loop.defvjp(_forward, _backward, symbolic_zeros=True)
