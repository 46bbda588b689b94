"""The evidence for a class, cell by cell: a class activation map through the LSTM.

    E_{t,i} = l_{t,i} Σ_d X_{t,i,d} · ∂ log p / ∂x_{t,d}

p is the class's probability for the block, the mean of ŷ_t over the steps. l_1 … l_T and the first state (Eq. 6) are
held as they were: E_{t,i} is what log p gains, per unit, where cell i counts more in x_t (Eq. 5) and nothing else
changes, and Σ_i E_{t,i} = x_t · ∂ log p / ∂x_t. A positive E speaks for the class, a negative one against it.

The attention says where the model looks; the evidence says what of it counts. As it needs no location softmax, the
baselines have it, too: an average-pooled model is Eq. 5 with l_{t,i} = 1/K²; in a max-pooled one the cell that has the
maximum of a channel has all of that channel; the softmax regression has a weight for every feature of every cell.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from attention_ar.baselines import POOLS, PooledLSTM
from attention_ar.errors import InputError
from attention_ar.models import recurrent_blocks
from attention_ar.products import accumulator


def log_probability(logits, classes, multi_label: bool = False):
    """log p of one class for each block.

    Args:
      logits: `<float>[B, T, C]`.
      classes: one for each block, `<int>[B]`.
      multi_label: whether a clip may have several labels.

    Returns:
      `<float>[B]`: the logarithm of the mean over the steps of ŷ_t.
    """
    log_y = jax.nn.log_sigmoid(logits) if multi_label else jax.nn.log_softmax(logits)
    of_class = jnp.take_along_axis(log_y, classes[:, None, None], axis=-1)[..., 0]
    return jax.nn.logsumexp(of_class, axis=-1) - jnp.log(jnp.asarray(logits.shape[1], of_class.dtype))


def evidence(model, params, X, classes, multi_label: bool = False, glimpse=None):
    """E for one class of each block.

    Example, two blocks of five frames of 3×3 cells, the second class for both:

        >>> import jax, jax.numpy as jnp
        >>> from attention_ar import SoftAttentionLSTM
        >>> from attention_ar.evidence import evidence
        >>> model, x = SoftAttentionLSTM(num_classes=4, hidden_dim=8), jnp.ones((2, 5, 9, 16))
        >>> params = model.init(jax.random.key(0), x)["params"]
        >>> evidence(model, params, x, jnp.array([1, 1])).shape
        (2, 5, 9)

    Args:
      model: a Flax module of this package.
      params: its parameters.
      X: feature cubes, `<float>[B, T, K², D]`.
      classes: `<int>[B]`.
      multi_label: whether a clip may have several labels.
      glimpse: where the model looks, `<float>[B, T, K²]`; None is its own, l_t or what hard attention chooses.

    Returns:
      `<float>[B, T, K²]`, in nats.

    Raises:
      InputError: for features of several levels: l_t there is no glimpse on the cells of one.
    """
    if isinstance(X, dict):
        raise InputError(f"evidence is for models of one level: this one reads {', '.join(X)}")

    def log_p(model, X, **options):
        logits, _ = model.apply({"params": params}, X, **options)
        return jnp.sum(log_probability(logits, classes, multi_label))

    if glimpse is None:
        _, out = model.apply({"params": params}, X)
        glimpse = out.get("glimpse", out.get("attention"))
    if glimpse is not None:
        l = jax.lax.stop_gradient(glimpse)
        return l * jax.grad(lambda l: log_p(model, X, glimpse=l))(l)  # x_t is linear in l_t [Eq. 5]
    X = X.astype(accumulator(X.dtype))
    if isinstance(model, PooledLSTM):
        x, to_cells = jax.vjp(lambda X: POOLS[model.pool](X, axis=2), X)
        (gradient,) = to_cells(jax.grad(lambda x: log_p(_given(model, x), X))(x))
    else:
        gradient = jax.grad(lambda X: log_p(model, X))(X)
    return jnp.sum(X * gradient, axis=-1)


def positive_part(evidence) -> np.ndarray:
    """What speaks for the class, as a distribution over the cells at each step, so that it can stand for attention.

    Args:
      evidence: E, `<float>[..., K²]`.

    Returns:
      max(E, 0) divided by its sum, `<float>[..., K²]`; all 0 where no cell speaks for the class.
    """
    positive = np.maximum(evidence, 0)
    total = positive.sum(axis=-1, keepdims=True)
    return np.divide(positive, total, out=np.zeros_like(positive), where=total > 0)


class _GivenInputs(PooledLSTM):
    """A pooled model whose x_t is given, `<float>[B, T, D]`."""

    x: jax.Array | None = None

    def blocks(self, params, X, masks, glimpse, samples):
        return recurrent_blocks(params, X, self.x, lambda weights, top_h, x_t: (x_t, {}), masks, self.time_loop)


def _given(model: PooledLSTM, x) -> _GivenInputs:
    names = {field.name for field in dataclasses.fields(model)} - {"parent", "name"}
    return _GivenInputs(**{name: getattr(model, name) for name in names}, x=x)
