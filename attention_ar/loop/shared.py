"""What both time loops use: inputs that are not copied, and which results of a step are saved for the backward pass."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from attention_ar.shared_frames import SharedFrames, is_shared


@dataclass(frozen=True)
class InPlace:
    """Marks a `time_loop` input `[B, T, n, m]`: step t multiplies by its n×m matrix of frame t.

    In the plain loop, the mark has no effect. The fast loop does not copy the array: its steps get a
    `fast.LoopInput`, which `product` reads in place and which behaves as an array otherwise. If the gradient of the
    array is needed, they get an array.
    """

    array: jax.Array | SharedFrames


def is_marked(node) -> bool:
    """Whether a node of the tree of inputs is marked."""
    return isinstance(node, InPlace)


def looked_up_in_step(step, inputs):
    """Returns a step and its inputs, with the numbers of frames in the place of `SharedFrames`; the step looks them up.

    In the fast loop, what the frames are computed from then has no gradient, and asking for one is an error.
    """
    nodes, structure = jax.tree.flatten(inputs, is_leaf=lambda node: is_marked(node) or is_shared(node))
    nodes = [node.array if is_marked(node) and is_shared(node.array) else node for node in nodes]
    shared = [jnp.asarray(node.frames) if is_shared(node) else None for node in nodes]
    if all(frames is None for frames in shared):
        return step, inputs

    def looking_up(weights, states, inputs_t):
        found = [
            node if frames is None else frames[node]
            for node, frames in zip(structure.flatten_up_to(inputs_t), shared, strict=True)
        ]
        return step(weights, states, structure.unflatten(found))

    return looking_up, structure.unflatten([node.where if is_shared(node) else node for node in nodes])


def saved_for_backward(primitive, *arrays, **_) -> bool:
    """The policy of `jax.checkpoint` on a step: True for results that are saved; all others are recomputed.

    Matrix products are saved, and so are σ and tanh, whose derivatives are functions of their values: of an LSTM, the
    gates are saved and their pre-activations are not. So is an argmax: a place that was drawn must be the same in the
    backward pass, where the numbers that it comes from may be rounded otherwise. Arrays larger than one vector per
    block, such as the tanh of all cells in the released model, are recomputed.
    """
    if primitive.name in ("logistic", "tanh"):
        return arrays[0].ndim <= 2
    return primitive.name in ("dot_general", "argmax")
