"""Blocks that share frames: at a stride of 1, a frame is in up to T blocks.

No array of all blocks' frames is made then, and what depends on single frames, such as their means, is computed once.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class SharedFrames:
    """What takes the place of the blocks' feature cubes X, `<float>[B, T, K², D]`, in a model that `shares_frames`.

    Example, two blocks of two frames; the second one of the first block is the first one of the second:

        >>> import jax.numpy as jnp
        >>> from attention_ar.shared_frames import SharedFrames, whole
        >>> X = SharedFrames(jnp.array([[[1.0]], [[2.0]], [[3.0]]]), jnp.array([[0, 1], [1, 2]]))
        >>> X.shape, whole(X)[..., 0, 0].tolist()
        ((2, 2, 1, 1), [[1.0, 2.0], [2.0, 3.0]])

    Attributes:
      frames: every frame once, `<float>[F, ...]`, such as `[F, K², D]`.
      where: the number of each block's frame at each step, `<int>[B, T]`.
    """

    frames: jax.Array
    where: jax.Array

    @property
    def shape(self):
        return (*self.where.shape, *self.frames.shape[1:])

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def dtype(self):
        return self.frames.dtype


def is_shared(node) -> bool:
    """Whether a node of a tree is `SharedFrames`."""
    return isinstance(node, SharedFrames)


def whole(tree):
    """The tree with arrays `<float>[B, T, ...]` in the place of its `SharedFrames`."""
    return jax.tree.map(lambda X: X.frames[X.where] if is_shared(X) else X, tree, is_leaf=is_shared)


def of_each_frame(function, X):
    """`function` of every frame, once where blocks share it.

    Args:
      function: of frames `<float>[..., K², D]`; it must not mix them.
      X: the blocks' feature cubes, `<float>[B, T, K², D]`, or `SharedFrames` of them.

    Returns:
      `<float>[B, T, ...]`, or `SharedFrames` of it.
    """
    return SharedFrames(function(jnp.asarray(X.frames)), X.where) if is_shared(X) else function(X)
