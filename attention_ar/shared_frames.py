"""Blocks that share frames: at a stride of 1, a frame is in up to T blocks, and is read, pooled or projected once."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from attention_ar.products import accumulator


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SharedFrames:
    """What takes the place of the blocks' feature cubes `X`, `<float>[B, T, K², D]`, in a model that `shares_frames`.

    Example, two blocks of two frames, the second frame of the first block being the first of the second:

        >>> import jax.numpy as jnp
        >>> from attention_ar.shared_frames import SharedFrames
        >>> X = SharedFrames(jnp.array([[[1.0]], [[2.0]], [[3.0]]]), jnp.array([[0, 1], [1, 2]]))
        >>> X.shape, X.whole()[..., 0, 0].tolist()
        ((2, 2, 1, 1), [[1.0, 2.0], [2.0, 3.0]])

    Attributes:
      frames: every frame once, `<float>[F, ...]`, such as `[F, K², D]`.
      where: which of them a step of a block has, `<int>[B, T]`; of one block `<int>[T]`, of one step `<int>[]`.
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

    def whole(self):
        """The array, `<float>[B, T, ...]`; of one step, its frame."""
        return self.frames[self.where]


def is_shared(node) -> bool:
    """Whether a node of a tree is `SharedFrames`."""
    return isinstance(node, SharedFrames)


def whole(X):
    """X as an array, whether or not it is one."""
    return X.whole() if is_shared(X) else X


def of_each_frame(function, X):
    """`function` of every frame, once where blocks share it.

    Args:
      function: of frames `<float>[..., K², D]`; it must not mix them.
      X: the blocks' feature cubes, `<float>[B, T, K², D]`, or `SharedFrames` of them.

    Returns:
      `<float>[B, T, ...]`, or `SharedFrames` of it.
    """
    return SharedFrames(function(X.frames), X.where) if is_shared(X) else function(X)


def wholes(tree):
    """The tree with arrays in the place of its `SharedFrames`."""
    return jax.tree.map(whole, tree, is_leaf=is_shared)


def over_blocks(X):
    """The axis of blocks, as `jax.vmap` takes it."""
    return SharedFrames(None, 0) if is_shared(X) else 0


def mean_slice(X):
    """The mean over time and locations of one block, `<float>[D]`.

    Args:
      X: the block's feature cubes, `<float>[T, K², D]`, or `SharedFrames` of them.
    """
    dtype = accumulator(X.dtype)
    if is_shared(X):
        return jnp.mean(jnp.mean(X.frames, axis=1, dtype=dtype)[X.where], axis=0)
    return jnp.mean(X, axis=(0, 1), dtype=dtype)
