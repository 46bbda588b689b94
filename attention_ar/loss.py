"""The loss of Eq. 7 in its three parts.

    L = − Σ_t Σ_c y_{t,c} log ŷ_{t,c}  +  λ Σ_i (1 − Σ_t l_{t,i})²  +  γ Σ θ²

The first two are per block, `[...]` below standing for the batch, and the caller takes the mean over the blocks; the
third is added once. The decay is part of the loss and covers every parameter, biases too: it is L2, not decoupled from
the optimiser.
"""

import jax
import jax.numpy as jnp
import optax


def cross_entropy(logits, labels):
    """−Σ_t Σ_c y_c log ŷ_{t,c}: summed, not averaged, over the steps.

    Args:
      logits: `<float>[..., T, C]`.
      labels: y, one-hot, the same at every step, `<float>[..., C]`.

    Returns:
      `<float>[...]`, in nats.
    """
    return -jnp.sum(labels[..., None, :] * jax.nn.log_softmax(logits), axis=(-2, -1))  # [Eq. 7]


def binary_cross_entropy(logits, labels):
    """The first term for clips that may have several labels (Hollywood2): one sigmoid a class, summed over classes and
    steps.

    Args:
      logits: `<float>[..., T, C]`.
      labels: 0 or 1 for each class, `<float>[..., C]`.

    Returns:
      `<float>[...]`, in nats.
    """
    labels = jnp.broadcast_to(labels[..., None, :], logits.shape)
    return jnp.sum(optax.sigmoid_binary_cross_entropy(logits, labels), axis=(-2, -1))


def attention_penalty(attention):
    """Σ_i (1 − Σ_t l_{t,i})², the doubly stochastic penalty (Xu et al. 2015) without its coefficient λ.

    It is least where the model has looked at every cell for the same time. As Σ_t Σ_i l_{t,i} = T, it is 0 for T = K²
    only; its minimum is (K² − T)² / K², that is 7.37 for T = 30 and K² = 49.

    Args:
      attention: l, `<float>[..., T, K²]`.

    Returns:
      `<float>[...]`.
    """
    return jnp.sum((1 - jnp.sum(attention, axis=-2)) ** 2, axis=-1)  # [Eq. 7]


def weight_decay(params):
    """Σ θ² over all parameters, without its coefficient γ: `<float>[]`."""
    return sum(jnp.sum(theta**2) for theta in jax.tree.leaves(params))  # [Eq. 7]


def predictions(logits, multi_label: bool):
    """ŷ, the class probabilities of each step: softmax, or one sigmoid a class if multi-label."""
    return jax.nn.sigmoid(logits) if multi_label else jax.nn.softmax(logits)
