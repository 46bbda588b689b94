"""What the paper's models are trained for: Eq. 7 over a batch of blocks."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from attention_ar import loss
from attention_ar.errors import InputError


@dataclass(frozen=True)
class PaperObjective:
    """Eq. 7: the mean over the blocks of cross-entropy and attention penalty, and the decay, once.

    Attributes:
      attention_penalty: λ.
      weight_decay: γ.
      multi_label: whether a clip may have several labels, see `loss.binary_cross_entropy`.
    """

    attention_penalty: float = 0.0
    weight_decay: float = 1e-5
    multi_label: bool = False

    def __post_init__(self):
        for name in ("attention_penalty", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name}={getattr(self, name)}: must be 0 or greater")

    def __call__(self, params, logits, out, labels, weight, axis_name=None):
        """Returns L and its three parts, as scalars that sum to it.

        Where the batch is cut over the devices of `axis_name`, what a device returns is its contribution: L is the sum
        over the devices, however many blocks each of them has, and so is its gradient.

        Args:
          params: all parameters of the model.
          logits: `<float>[B, T, C]`.
          out: the model's named intermediates; the penalty is 0 for a model without `attention`.
          labels: `<float>[B, C]`.
          weight: 1 for a block, 0 for what fills up the batch, `<float>[B]`.
          axis_name: of `jax.pmap`, if it is there that this runs.
        """
        num_blocks, num_devices = jnp.sum(weight), 1
        if axis_name is not None:
            num_blocks, num_devices = jax.lax.psum(num_blocks, axis_name), jax.lax.axis_size(axis_name)
        parts = {"cross_entropy": jnp.sum(weight * self.cross_entropy(logits, labels)) / num_blocks}
        if "attention" in out:
            penalty = loss.attention_penalty(out["attention"])
            parts["attention_penalty"] = self.attention_penalty * jnp.sum(weight * penalty) / num_blocks
        else:
            parts["attention_penalty"] = jnp.zeros_like(num_blocks)
        parts["weight_decay"] = self.weight_decay / num_devices * loss.weight_decay(params)
        return sum(parts.values()), parts  # [Eq. 7]

    def cross_entropy(self, logits, labels):
        """The first term of Eq. 7 for each block, `<float>[B]`."""
        if self.multi_label:
            return loss.binary_cross_entropy(logits, labels)
        return loss.cross_entropy(logits, labels)

    def predictions(self, logits):
        """ŷ_t, see `loss.predictions`."""
        return loss.predictions(logits, self.multi_label)
