"""What the released program trains for.

    cost = Σ_b Σ_t m_{t,b} · (− log(p_{t,y} + ε)) + alpha_c · mean_i Σ_b (1 − Σ_t l_{t,i})² + decay_c · Σ θ²

with ε = 1e-8. Against Eq. 7: the first two terms are sums over the batch, not means, so that decay_c = B γ
for a batch of B blocks; the second is a mean over the K² cells, not a sum, so that alpha_c = K² λ; and there
is ε. The mask m has no part in the second term. Where a clip may have several labels, p is a sigmoid for each
class and the first term is Σ_c − y_c log(p_c + ε) − (1 − y_c) log(1 − p_c + ε).

The program computes p first, in float32, where 1 − p + ε is 1 − p, and the gradient of a class that is
certain becomes NaN. Here log(p + ε) = logaddexp(log p, log ε) is taken from the logits: the same function,
but finite, as is its gradient, wherever the logits are.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from attention_ar import loss
from attention_ar.loss import PaperObjective
from attention_ar.released.model import sigmoid

EPSILON = 1e-8


def _minus_log_with_epsilon(log_p):
    """− log(p + ε) of log p."""
    return -jnp.logaddexp(log_p, jnp.full_like(log_p, math.log(EPSILON)))


def _per_step(labels, logits):
    """Labels at each step of a block, `<float>[..., T, C]`, from one row a block or one a step."""
    labels = labels if labels.ndim == logits.ndim else labels[..., None, :]
    return jnp.broadcast_to(labels, logits.shape)


def cross_entropy(logits, labels):
    """− log(p_y + ε) at every step.

    Args:
      logits: `<float>[..., T, C]`.
      labels: one-hot, the block's `<float>[..., C]`, or one row a step, as the authors store them,
          `<float>[..., T, C]`.

    Returns:
      `<float>[..., T]`, in nats.
    """
    return jnp.sum(_per_step(labels, logits) * _minus_log_with_epsilon(jax.nn.log_softmax(logits)), axis=-1)


def binary_cross_entropy(logits, labels):
    """Σ_c − y_c log(p_c + ε) − (1 − y_c) log(1 − p_c + ε) at every step.

    See `cross_entropy`; the labels are 0 or 1 for each class.
    """
    y = _per_step(labels, logits)
    present = _minus_log_with_epsilon(jax.nn.log_sigmoid(logits))
    absent = _minus_log_with_epsilon(jax.nn.log_sigmoid(-logits))
    return jnp.sum(y * present + (1 - y) * absent, axis=-1)


def attention_penalty(attention):
    """mean_i (1 − Σ_t l_{t,i})², without its coefficient: `<float>[..., T, K²]` to `<float>[...]`."""
    return jnp.mean((1 - jnp.sum(attention, axis=-2)) ** 2, axis=-1)


@dataclass(frozen=True)
class ReleasedObjective(PaperObjective):
    """The cost above over a batch of blocks; takes the place of Eq. 7.

    Attributes:
      attention_penalty: alpha_c.
      weight_decay: decay_c.
      multi_label: whether a clip may have several labels.
      class_weights: see `PaperObjective`; the program has none.
    """

    def __call__(self, params, logits, out, labels, weight, axis_name=None, mask=None):
        """Returns the cost and its three parts, as scalars that sum to it; over several devices, see `PaperObjective`.

        Args:
          params: all parameters of the model.
          logits: `<float>[B, T, C]`.
          out: the model's named intermediates, of which `attention` is used.
          labels: see `cross_entropy`.
          weight: 1 for a block, 0 for padding, `<float>[B]`. The program counts its padding with zeros in the
            second term, where it adds a constant; with weight 0 it has no effect.
          axis_name: that of `jax.pmap`, if this runs in it.
          mask: 1, or 0 at the steps that do not count, `<float>[B, T]`.
        """
        num_devices = 1 if axis_name is None else jax.lax.axis_size(axis_name)
        penalty = jnp.sum(weight * self.penalty(out["attention"]))
        parts = {
            "cross_entropy": jnp.sum(weight * self.weighted(self.cross_entropy(logits, labels, mask), labels)),
            "attention_penalty": self.attention_penalty * penalty,
            "weight_decay": self.weight_decay / num_devices * loss.weight_decay(params),
        }
        return sum(parts.values()), parts

    def shares(self, weight, axis_name=None):
        """How much of each block is in the cost, `<float>[B]`: all of it, and nothing of padding."""
        return weight

    def penalty(self, attention):
        """The second term for each block, without its coefficient, see `attention_penalty`."""
        return attention_penalty(attention)

    def cross_entropy(self, logits, labels, mask=None):
        """The first term for each block, summed over its steps, `<float>[B]`."""
        steps = (binary_cross_entropy if self.multi_label else cross_entropy)(logits, labels)
        return jnp.sum(steps if mask is None else mask * steps, axis=-1)

    def predictions(self, logits):
        """The class probabilities of each step: softmax, or a sigmoid for each class where several may hold."""
        return sigmoid(logits) if self.multi_label else jax.nn.softmax(logits)
