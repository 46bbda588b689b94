"""The loop over the T steps of a block, batched over blocks: `time_loop`, in two forms that give the same numbers.

`plain` is `jax.vmap` of a `jax.lax.scan`. `fast` makes training faster, and on a CPU it takes less memory. A step that
runs in one runs in the other, see `attention_ar/README.md`.
"""

import jax

from attention_ar.errors import InputError
from attention_ar.loop.fast import fast_loop
from attention_ar.loop.plain import plain_loop
from attention_ar.loop.shared import InPlace, looked_up_in_step

__all__ = ["InPlace", "loop_for", "require_loop", "time_loop"]

LOOPS = {"plain": plain_loop, "fast": fast_loop}


def time_loop(step, weights, states, inputs, loop: str = "auto"):
    """Runs a step, written for one block, over the T steps of a batch of blocks.

    Example, a sum over the time of two blocks of three steps:

        >>> import jax.numpy as jnp
        >>> from attention_ar.loop import time_loop
        >>> from attention_ar.products import product
        >>> def step(weights, total, x):
        ...     total = total + product(weights["W"], x)
        ...     return total, {"total": total}
        >>> x = jnp.ones((2, 3, 4))
        >>> out = time_loop(step, {"W": jnp.ones((4, 1))}, jnp.zeros((2, 1)), x)
        >>> out["total"][0, :, 0].tolist()
        [4.0, 8.0, 12.0]

    Args:
      step: a function of the weights, of one block's states and of its inputs at one step. It returns the new states
        and a tree of arrays, its outputs. In the fast loop it must multiply by weight matrices with `product(W, v)`,
        with each matrix at most once a step.
      weights: a tree of arrays; those of two axes are matrices.
      states: a tree of the blocks' first states, `<float>[B, d]`.
      inputs: a tree of arrays `[B, T, ...]` or `SharedFrames` of them, some of which may be marked as `InPlace`.
      loop: "plain", "fast" or "auto", see `loop_for`.

    Returns:
      The outputs of all steps, each `[B, T, ...]`.

    Raises:
      InputError: for another `loop`.
      TypeError, ValueError: in the fast loop, where the step uses a weight matrix in another way.
    """
    require_loop(loop)
    name = loop_for(jax.default_backend()) if loop == "auto" else loop
    step, inputs = looked_up_in_step(step, inputs)
    return LOOPS[name](step, weights, states, inputs)


def loop_for(platform: str) -> str:
    """Returns the loop that "auto" takes on a platform: plain on a "tpu", as yet unmeasured, and fast elsewhere."""
    return "plain" if platform == "tpu" else "fast"


def require_loop(loop: str):
    """Raises an InputError unless `loop` is a value that `time_loop` accepts."""
    if loop not in ("auto", *LOOPS):
        raise InputError(f"time_loop={loop!r}: must be auto, plain or fast")
