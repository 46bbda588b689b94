"""The baselines of section 4.2.1 as Flax modules: the model without attention, and a regression without memory."""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from attention_ar import initializers
from attention_ar.errors import InputError
from attention_ar.models import RecurrentClassifier, recurrent_blocks
from attention_ar.products import accumulator, in_compute_dtype, product
from attention_ar.shared_frames import of_each_frame

POOLS = {"mean": jnp.mean, "max": jnp.max}
"""What a pooled baseline takes over the locations."""


def pooled_blocks(params, X, pool, masks=None, loop="auto"):
    """A baseline of section 4.2.1 over a batch of blocks: x_t is the `pool` (jnp.mean, jnp.max) over the locations."""
    pooled = of_each_frame(lambda cubes: pool(cubes.astype(accumulator(cubes.dtype)), axis=-2), X)
    return recurrent_blocks(params, X, pooled, lambda weights, top_h, x_t: (x_t, {}), masks, loop)


class PooledLSTM(RecurrentClassifier):
    """The baselines of section 4.2.1: the same model, but x_t is the mean or the maximum over the locations.

    Example:

        >>> import jax, jax.numpy as jnp
        >>> from attention_ar import PooledLSTM
        >>> model, x = PooledLSTM(num_classes=3, hidden_dim=4, pool="max"), jnp.ones((2, 5, 49, 16))
        >>> logits, out = model.apply(model.init(jax.random.key(0), x), x)
        >>> logits.shape, sorted(out)
        ((2, 5, 3), ['c', 'h', 'x'])

    Attributes:
      pool: "mean" or "max".
    """

    shares_frames: ClassVar[bool] = True

    pool: str = "mean"

    def blocks(self, params, X, masks, glimpse, samples):
        if glimpse is not None or samples is not None:
            raise InputError(f"a glimpse for a model of pool={self.pool!r}: it pools and has no attention")
        if self.pool not in POOLS:
            raise InputError(f"pool={self.pool!r}: must be 'mean' or 'max'")
        return pooled_blocks(params, X, POOLS[self.pool], masks, self.time_loop)


class SoftmaxRegression(nn.Module):
    """The baseline of section 4.2.1 that sees the complete feature cube of each frame and has no memory and no dropout.

    Example:

        >>> import jax, jax.numpy as jnp
        >>> from attention_ar import SoftmaxRegression
        >>> model, x = SoftmaxRegression(num_classes=3), jnp.ones((2, 5, 49, 16))
        >>> variables = model.init(jax.random.key(0), x)
        >>> variables["params"]["regression"]["kernel"].shape, model.apply(variables, x)[0].shape
        ((784, 3), (2, 5, 3))

    Attributes:
      num_classes: C.
      compute_dtype: see `SoftAttentionLSTM`.
    """

    per_frame: ClassVar[bool] = True

    num_classes: int
    compute_dtype: str | None = None

    @nn.compact
    def __call__(self, x, train: bool = False, example_index=None):
        """Predicts the class at every step from its K²·D features.

        Args:
          x: feature cubes, `<float>[B, T, K², D]`.
          train, example_index: have no effect; they are there so that all models are called alike.

        Returns:
          Logits, `<float>[B, T, C]`, and an empty dict.

        Raises:
          InputError: where x has another rank.
        """
        if x.ndim != 4:
            raise InputError(f"features of shape {x.shape}: must be [B, T, K², D]")
        batch_size, num_steps, num_cells, input_dim = x.shape
        sizes = num_cells * input_dim, self.num_classes
        params = self.param("regression", initializers.affine, *sizes, accumulator(x.dtype))
        params = in_compute_dtype(params, self.compute_dtype)
        return product(params["kernel"], x.reshape(batch_size, num_steps, -1)) + params["bias"][None, None], {}
