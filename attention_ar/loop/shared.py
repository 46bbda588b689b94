"""What both time loops use: the mark on inputs, and which results of a step are saved for the backward pass."""

from dataclasses import dataclass

import jax


@dataclass(frozen=True)
class InPlace:
    """Marks an input of a `time_loop`, `<float>[B, T, n, m]`, of which a step multiplies the matrix of its frame.

    In the plain loop, the mark has no effect. The fast loop does not copy the array: its steps get a
    `fast.LoopInput`, which `product` reads in place and which is an array for everything else. Where the
    gradient of the array is wanted, they get an array.
    """

    array: jax.Array


def is_marked(node) -> bool:
    """Whether a node of the tree of inputs is marked."""
    return isinstance(node, InPlace)


def saved_for_backward(primitive, *arrays, **_) -> bool:
    """The policy of `jax.checkpoint` on a step: True for results that are saved; all others are computed again.

    Saved are matrix products, and σ and tanh, whose derivatives are functions of their values: of an LSTM the gates
    are saved, and not the sums under them. Larger arrays than a vector a block, such as the tanh of all cells in the
    released model, are computed again.
    """
    return primitive.name == "dot_general" or (primitive.name in ("logistic", "tanh") and arrays[0].ndim <= 2)
