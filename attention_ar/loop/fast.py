"""Runs a step, written for one block, through the time of many blocks, so that it is fast to differentiate.

It takes the place of a plain `jax.vmap` of a `jax.lax.scan`, and does four things in another way. Training at the
paper's size (batch 64, float32, one core with AVX-512) so went from 49 to 76 blocks/s, and from 663 to 209 MB of
temporaries; in this, dropout's cheaper masks have a share (`attention_ar.dropout`).

* Weight gradients. Autodiff would add v_t · dz_tᵀ to every weight gradient at every step. Here the steps only keep v_t
  and dz_t, and the sum over steps and blocks is one product behind the loop (see `LoopMatrix`), of matrices with a row
  for every block and step: contracted over two axes instead, it takes 190 ms where this takes 169.
* Layout. States are [d, B] inside the loop: weights stand on the left, Wᵀ v forward and W dz backward, each from a copy
  of W in which a row is contiguous. At batch 64 both are 180 to 187 GFLOP/s, and 124 to 130 the other way around; a
  product of 2048³ is 171. XLA turns them around where nothing is in its way.
* Memory. Of a step, products and gates are kept, and the rest is computed again backward (see `_keep`). To keep
  everything took 760 MB and gave 51 blocks/s where keeping the products alone gave 63; to keep nothing, 50.
* The features stay where they lie, [B, T, …]: to bring them into [T, B, …] first is to copy 385 MB. Eq. 5 reads them
  there (see `LoopInput`).

All products of the model are 480 of the 820 ms of a step. Most of the rest is bound by memory: Eq. 5 and its gradient
80 ms, the mean of Eq. 6 26, which are three passes over the features; gates and their derivatives 45; the optimiser 35;
copies of weights, v and dz 35; zeros for what the loop will fill 16.

Tried and not better: two steps an iteration, and states of [B, d].
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from attention_ar.products import LoopInput, LoopMatrix, multiply, through_slot


def time_loop(step, weights, states, inputs):
    """Runs `step` through the time of a batch of blocks.

    Args:
      step: a function of weights, states and inputs of one block at one step, that returns the new states and what to
        keep of the step: a tree of arrays. It must multiply with each matrix of the weights by `product`, once.
      weights: a tree of arrays; those of two axes are matrices. The step gets it with other objects in their places.
      states: a tree of the blocks' first states, `<float>[B, d]`.
      inputs: a tree of arrays `[B, T, ...]`, some of which may be marked as `InPlace`.

    Returns:
      What was kept, each `[B, T, ...]`.
    """
    flat_weights, structure = jax.tree.flatten(weights)
    flat_inputs, inputs_structure = jax.tree.flatten(inputs, is_leaf=lambda node: isinstance(node, InPlace))
    in_place = tuple(isinstance(array, InPlace) for array in flat_inputs)
    flat_inputs = [array.array if isinstance(array, InPlace) else array for array in flat_inputs]

    def flat_step(flat_weights, states, flat_inputs):
        return step(structure.unflatten(flat_weights), states, inputs_structure.unflatten(flat_inputs))

    if not any(weight.ndim == 2 for weight in flat_weights):
        raise ValueError("a time loop needs a weight matrix")
    return _time_loop(flat_step, in_place, flat_weights, states, flat_inputs)


@dataclass(frozen=True)
class InPlace:
    """Marks an input of a `time_loop`, `<float>[B, T, n, m]`, with which the step does nothing but multiply.

    The step gets it as a `LoopInput`, or as an array where its gradient is wanted: for `product` it is the same.
    """

    array: jax.Array


def _keep(primitive, *arrays, **_) -> bool:
    """Whether the way back, where it needs what an operation of a step gave, finds it kept.

    The derivative of σ or tanh is told by its value: an LSTM's gates are kept, and not the sums z in them. What is more
    than a vector of each block, as the released model's cells are, is computed again.
    """
    return primitive.name == "dot_general" or (primitive.name in ("logistic", "tanh") and arrays[0].ndim <= 2)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _time_loop(step, in_place, weights, states, inputs):
    transposed, slots = _transposed(weights), _slots(weights, inputs)
    out, _ = _unroll(step, in_place, weights, transposed, states, inputs, slots, [None] * len(inputs))
    return out


def _transposed(weights):
    """The transposes of the matrices, copied: a row of each is contiguous."""
    return [jnp.copy(weight.T) if weight.ndim == 2 else None for weight in weights]


def _slots(weights, inputs):
    """A slot for the result of every matrix, block and step. Their values, 0, are never read, and so never made."""
    batch_size, num_steps = inputs[0].shape[:2]
    return [jnp.zeros((num_steps, batch_size, w.shape[1]), w.dtype) if w.ndim == 2 else None for w in weights]


def _unroll(step, in_place, weights, transposed, states, inputs, slots, inputs_slots):
    """The loop. Returns what the steps keep, `[B, T, ...]`, and v of every matrix, `<float>[T, B, num_in]`."""

    def one_block(t, states, inputs_t, slots_t):
        inputs_t = [LoopInput(a, t) if stays else a for a, stays in zip(inputs_t, whole, strict=True)]
        seen = [
            weight if weight_T is None else LoopMatrix(weight, weight_T, slot)
            for weight, weight_T, slot in zip(weights, transposed, slots_t, strict=True)
        ]
        states, out = step(seen, states, inputs_t)
        matrices = [weight for weight in seen if isinstance(weight, LoopMatrix)]
        if any(matrix.v is None for matrix in matrices):
            raise ValueError("a step of a time loop must multiply with each of its weight matrices")
        return states, (out, [matrix.v for matrix in matrices])

    whole = [here and slot is None for here, slot in zip(in_place, inputs_slots, strict=True)]
    at = functools.partial(jax.lax.dynamic_index_in_dim, axis=1, keepdims=False)

    @functools.partial(jax.checkpoint, policy=_keep, prevent_cse=False)
    def all_blocks(states, now):
        t, slots_t, inputs_slots_t = now
        inputs_t = [
            array if stays else at(array, t) if slot is None else through_slot(at(array, t), slot)
            for array, slot, stays in zip(inputs, inputs_slots_t, whole, strict=True)
        ]
        return jax.vmap(one_block, in_axes=(None, -1, 0, 0), out_axes=(-1, 0))(t, states, inputs_t, slots_t)

    states = jax.tree.map(lambda state: state.T, states)
    _, (out, v) = jax.lax.scan(all_blocks, states, (jnp.arange(inputs[0].shape[1]), slots, inputs_slots))
    return jax.tree.map(lambda array: jnp.swapaxes(array, 0, 1), out), v


def _forward(step, in_place, weights, states, inputs):
    """The loop, and how to go back. Inputs have gradients only if they are asked for: the features are many."""
    wanted = [array.perturbed and jnp.issubdtype(array.value.dtype, jnp.floating) for array in inputs]
    weights, states, inputs = jax.tree.map(
        lambda primal: primal.value, (weights, states, inputs), is_leaf=lambda node: hasattr(node, "perturbed")
    )
    transposed = _transposed(weights)

    def run(vectors, states, inputs_slots, slots):
        all_weights = [w if vector is None else vector for w, vector in zip(weights, vectors, strict=True)]
        return _unroll(step, in_place, all_weights, transposed, states, inputs, slots, inputs_slots)

    vectors = [None if weight.ndim == 2 else weight for weight in weights]
    # Were it the input itself, every step of the way back would add to an array of all steps.
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
    """The gradient of W, in one product: `<float>[T, B, num_in]` and `[T, B, num_out]` to `[num_in, num_out]`.

    Blocks come first, so that a batch cut over devices stays so where its two axes become one.
    """
    v, dz = (jnp.swapaxes(array, 0, 1).reshape(-1, array.shape[-1]) for array in (v, dz))
    return multiply(v.T, dz).astype(v.dtype)


_time_loop.defvjp(_forward, _backward, symbolic_zeros=True)
