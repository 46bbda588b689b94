"""The loss of Eq. 7 in its three parts.

    L = − Σ_t Σ_c y_{t,c} log ŷ_{t,c}  +  λ Σ_i (1 − Σ_t l_{t,i})²  +  γ Σ θ²

The first two are per block, `[...]` below standing for the batch, and the caller takes the mean over the blocks; the
third is added once. The decay is part of the loss and covers every parameter, biases too: it is L2, not decoupled from
the optimiser.

With class weights w, which are not the paper's, the first term of a block of class c is multiplied by w_c, and the mean
is still over the blocks: (1 / B) Σ_b w_{c(b)} CE_b. See `balanced_class_weights`.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

from attention_ar.errors import InputError


def cross_entropy(logits, labels):
    """−Σ_t Σ_c y_c log ŷ_{t,c}: summed, not averaged, over the steps.

    Example, two steps in which both of two classes are equally probable: 2 ln 2.

        >>> import jax.numpy as jnp
        >>> from attention_ar.loss import cross_entropy
        >>> round(float(cross_entropy(jnp.zeros((2, 2)), jnp.array([1.0, 0.0]))), 3)
        1.386

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

    The penalty is minimal when every cell receives the same total attention. As Σ_t Σ_i l_{t,i} = T, it is 0 for T = K²
    only; its minimum is (K² − T)² / K², that is 7.37 for T = 30 and K² = 49.

    Example, two steps and two cells: all attention on one cell, and on each cell in turn.

        >>> import jax.numpy as jnp
        >>> from attention_ar.loss import attention_penalty
        >>> fixed, in_turn = jnp.array([[1.0, 0.0], [1.0, 0.0]]), jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> float(attention_penalty(fixed)), float(attention_penalty(in_turn))
        (2.0, 0.0)

    Args:
      attention: l, `<float>[..., T, K²]`.

    Returns:
      `<float>[...]`.
    """
    return jnp.sum((1 - jnp.sum(attention, axis=-2)) ** 2, axis=-1)  # [Eq. 7]


def weight_decay(params):
    """Σ θ² over all parameters, without its coefficient γ: `<float>[]`."""
    return sum(jnp.sum(theta**2) for theta in jax.tree.leaves(params))  # [Eq. 7]


def balanced_class_weights(labels) -> tuple[float, ...]:
    """w_c = N / (C n_c): with these, every class has the same part in the mean over all training blocks.

    N is the number of blocks, n_c that of class c, and C the number of classes that have a block. The weights of all
    blocks sum to N, so that the cross-entropy keeps its scale beside the penalty and the decay, and a learning rate
    keeps its meaning.

    Example, three blocks of one class and one of another:

        >>> from attention_ar.loss import balanced_class_weights
        >>> weights = balanced_class_weights([[1, 0], [1, 0], [1, 0], [0, 1]])
        >>> [round(weight, 3) for weight in weights]
        [0.667, 2.0]

    Args:
      labels: of all training blocks, one-hot, `[N, C]`.

    Returns:
      C weights; 0 for a class without a block.
    """
    counts = np.asarray(labels, np.float64).sum(axis=0)
    there = counts > 0
    weights = np.divide(counts.sum(), there.sum() * counts, out=np.zeros_like(counts), where=there)
    return tuple(weights.tolist())


def predictions(logits, multi_label: bool):
    """ŷ, the class probabilities of each step: softmax, or one sigmoid a class if multi-label."""
    return jax.nn.sigmoid(logits) if multi_label else jax.nn.softmax(logits)


@dataclass(frozen=True)
class PaperObjective:
    """Eq. 7: the mean over the blocks of cross-entropy and attention penalty, and the decay, once.

    Example, two blocks of which the second is padding:

        >>> import jax.numpy as jnp
        >>> from attention_ar.loss import PaperObjective
        >>> objective = PaperObjective(attention_penalty=1.0, weight_decay=0.5)
        >>> logits, attention = jnp.zeros((2, 1, 2)), jnp.full((2, 1, 2), 0.5)
        >>> labels, weight = jnp.array([[1.0, 0.0], [1.0, 0.0]]), jnp.array([1.0, 0.0])
        >>> L, parts = objective({"bias": jnp.array([2.0])}, logits, {"attention": attention}, labels, weight)
        >>> {name: round(float(part), 3) for name, part in parts.items()}
        {'cross_entropy': 0.693, 'attention_penalty': 0.5, 'weight_decay': 2.0}

    Attributes:
      attention_penalty: λ.
      weight_decay: γ.
      multi_label: whether a clip may have several labels, see `binary_cross_entropy`.
      class_weights: w, one for each class, on the first term of a block of that class; () is 1 for all.
    """

    attention_penalty: float = 0.0
    weight_decay: float = 1e-5
    multi_label: bool = False
    class_weights: tuple[float, ...] = ()

    def __post_init__(self):
        for name in ("attention_penalty", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name}={getattr(self, name)}: must be 0 or greater")
        if self.class_weights and self.multi_label:
            raise InputError("class_weights: need one label for each clip, and these clips may have several")

    def __call__(self, params, logits, out, labels, weight, axis_name=None):
        """Returns L and its three parts, as scalars that sum to it.

        Where the batch is sharded over the devices of `axis_name`, each returns its contribution. L and its gradient
        are the sums over the devices, however many blocks each of them has.

        Args:
          params: all parameters of the model.
          logits: `<float>[B, T, C]`.
          out: the model's named intermediates; the penalty is 0 for a model without `attention`.
          labels: `<float>[B, C]`.
          weight: 1 for a block, 0 for padding, `<float>[B]`.
          axis_name: that of `jax.pmap`, if this runs in it.
        """
        num_blocks, num_devices = self._num_blocks(weight, axis_name), 1
        if axis_name is not None:
            num_devices = jax.lax.axis_size(axis_name)
        each = self.weighted(self.cross_entropy(logits, labels), labels)
        parts = {"cross_entropy": jnp.sum(weight * each) / num_blocks}
        if "attention" in out:
            penalty = self.penalty(out["attention"])
            parts["attention_penalty"] = self.attention_penalty * jnp.sum(weight * penalty) / num_blocks
        else:
            parts["attention_penalty"] = jnp.zeros_like(num_blocks)
        parts["weight_decay"] = self.weight_decay / num_devices * weight_decay(params)
        return sum(parts.values()), parts  # [Eq. 7]

    def shares(self, weight, axis_name=None):
        """How much of each block is in L, `<float>[B]`: 1 over the number of blocks, and 0 of padding."""
        return weight / self._num_blocks(weight, axis_name)

    def _num_blocks(self, weight, axis_name):
        num_blocks = jnp.sum(weight)
        return num_blocks if axis_name is None else jax.lax.psum(num_blocks, axis_name)

    def cross_entropy(self, logits, labels):
        """The first term of Eq. 7 for each block, `<float>[B]`."""
        if self.multi_label:
            return binary_cross_entropy(logits, labels)
        return cross_entropy(logits, labels)

    def weighted(self, cross_entropy, labels):
        """The first term of each block, `<float>[B]`, times the weight of its class.

        Args:
          cross_entropy: `<float>[B]`.
          labels: `<float>[B, C]`.
        """
        if not self.class_weights:
            return cross_entropy
        return cross_entropy * (labels @ jnp.asarray(self.class_weights, labels.dtype))

    def step_costs(self, logits, labels):
        """C_t, the first term in its steps, `weighted`: from logits `<float>[..., T, C]` to `<float>[..., T]`."""
        labels = jnp.broadcast_to(labels[..., None, :], logits.shape)
        return self.weighted(self.cross_entropy(logits[..., None, :], labels), labels)

    def penalty(self, attention):
        """The second term for each block, without its coefficient: `<float>[..., T, K²]` to `<float>[...]`."""
        return attention_penalty(attention)

    def predictions(self, logits):
        """ŷ_t, see `predictions`."""
        return predictions(logits, self.multi_label)
