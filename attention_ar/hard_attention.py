"""Hard attention, one of the plans of the paper's section 5: a place is drawn at every step, and only it is looked at.

For one example and one time-step, with l_t of Eq. 4:

    s_t ~ Categorical(l_t)
    x_t = Σ_{i ∈ N(s_t)} l_{t,i} X_{t,i} / Σ_{i ∈ N(s_t)} l_{t,i}          in the place of Eq. 5

N(s) are the cells within r rows and r columns of s, clipped at the border. For r = 0 it is s alone and x_t = X_{t,s_t}:
hard attention (Xu et al. 2015; Mnih et al. 2014). For r > 0 it is a hybrid, a hard place and soft attention within.
What is drawn enters as Gumbel noise, so that all of this is a pure function. How it is trained is in
`attention_ar.policy_gradient`.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_ar.attention import expected_slice
from attention_ar.dropout import example_keys
from attention_ar.errors import InputError
from attention_ar.products import product

ESTIMATORS = ("reinforce", "gumbel_st")
GLIMPSE_RULES = ("argmax", "sample", "expectation")
TEMPERATURE = 0.5
"""τ of the straight-through estimator."""


class Samples(NamedTuple):
    """What is drawn for a batch of blocks, or for one block and one step.

    Attributes:
      noise: g, Gumbel(0, 1), `<float>[B, T, K²]`; of one step `[K²]`.
      expect: whether x_t is the expectation of Eq. 5 instead, `<bool>[B]`, of one step `[]`; None is nowhere.
    """

    noise: jax.Array
    expect: jax.Array | None = None


def log_of(l):
    """log l_t. Where a probability is 0, it is the least that is a finite number, and has no gradient."""
    return jnp.log(jnp.maximum(l, jnp.finfo(l.dtype).tiny))


def draw_location(l, g=None):
    """s_t, the index of the cell that is looked at: argmax_i (log l_{t,i} + g_{t,i}), by the Gumbel-max trick.

    Args:
      l: l_t, `<float>[K²]`.
      g: independent Gumbel(0, 1) noise, `<float>[K²]`; then s_t is a sample of l_t. None is no noise: the most probable
        cell.

    Returns:
      `<int>[]`.
    """
    return jnp.argmax(log_of(l) if g is None else log_of(l) + g)


@functools.cache
def neighbourhoods(num_cells: int, window: int) -> np.ndarray:
    """N(s) of every cell s, `<bool>[K², K²]`: row s is True at the cells within `window` rows and columns of s.

    Raises:
      InputError: for a window on cells that make no square.
    """
    if not window:
        return np.eye(num_cells, dtype=bool)
    row, column = np.divmod(np.arange(num_cells), _side(num_cells))
    distance = np.maximum(np.abs(row[:, None] - row[None]), np.abs(column[:, None] - column[None]))
    return distance <= window


def _side(num_cells: int) -> int:
    side = round(num_cells**0.5)
    if side * side != num_cells:
        raise InputError(f"a window on {num_cells} cells: these must make a square, such as 49")
    return side


def window_weights(l, near):
    """l_t within N(s_t), normalised: l_{t,i} / Σ_{j ∈ N(s_t)} l_{t,j} for i in N(s_t), and 0 elsewhere.

    Args:
      l: l_t, `<float>[K²]`.
      near: which cells are in N(s_t), `<bool>[K²]`.

    Returns:
      `<float>[K²]`, which sums to 1. For one cell it is exactly 1 there, and has exactly no gradient.
    """
    return jax.nn.softmax(jnp.where(near, log_of(l), -jnp.inf))


def straight_through(l, g, near):
    """The weights of the cells with the gradient of a relaxation (straight-through Gumbel softmax; Jang et al. 2017).

    With w(s) the `window_weights` of N(s), the value is w(s_t). The gradient is that of w(s_t) with the place held, and
    that of Σ_s y_s w(s) with respect to y = softmax((log l_t + g_t) / τ), the relaxed sample. It is biased.

    Args:
      l, g: see `draw_location`.
      near: `neighbourhoods`, `<bool>[K², K²]`.

    Returns:
      `<float>[K²]`.
    """
    y = jax.nn.softmax((log_of(l) + g) / TEMPERATURE)
    one_hot = jax.nn.one_hot(draw_location(l, g), len(l), dtype=l.dtype)
    w = jax.vmap(window_weights, in_axes=(None, 0))(l, near)
    return product(w, one_hot + (y - jax.lax.stop_gradient(y)))


def sampled_weights(l, near, samples: Samples | None = None, estimator: str = "reinforce"):
    """How much of each cell is in x_t, where it is drawn and not expected.

    Args:
      l: l_t over all locations, `<float>[n]`.
      near: N(s) of every location, `<bool>[n, n]`.
      samples: of this step; None takes the most probable location.
      estimator: "gumbel_st" for `straight_through` gradients; "reinforce" leaves s_t without a gradient here, and
        `policy_gradient.reinforce` adds it.

    Returns:
      s_t, `<int>[]`; and a dict: the weights `glimpse` `<float>[n]`, which sum to 1; `log_probability` log l_{t,s_t}
      and `entropy` H(l_t), in nats, both `<float>[]`.
    """
    noise, expect = samples or Samples(None)
    log_l = log_of(l)
    s = draw_location(l, noise)
    if estimator == "gumbel_st" and noise is not None:
        w = straight_through(l, noise, near)
    else:
        w = window_weights(l, jnp.asarray(near)[s])
    if expect is not None:
        w = jnp.where(expect, l, w)
    log_probability = jnp.sum(jax.nn.one_hot(s, len(l), dtype=l.dtype) * log_l)
    return s, {"glimpse": w, "log_probability": log_probability, "entropy": -jnp.sum(l * log_l)}


@dataclass(frozen=True)
class HardAttention:
    """What a model does in the place of Eq. 5. The attribute `hard` of the models with attention is one of these.

    Example, a model that looks at the most probable cell, as it does at test time by default:

        >>> import jax, jax.numpy as jnp
        >>> import attention_ar as ar
        >>> model = ar.SoftAttentionLSTM(num_classes=3, hidden_dim=4, hard=ar.HardAttention())
        >>> x = jax.random.normal(jax.random.key(0), (1, 2, 9, 5))
        >>> logits, out = model.apply(model.init(jax.random.key(1), x), x)
        >>> s = int(out["attention"][0, 0].argmax())
        >>> bool((out["x"][0, 0] == x[0, 0, s]).all()), float(out["glimpse"][0, 0, s])
        (True, 1.0)

    Attributes:
      window: r.
      estimator: "reinforce" or "gumbel_st", see `sampled_weights`. It matters in training only.
      glimpse_rule: where a model looks that is given no `Samples`: "argmax", the most probable cell; "expectation",
        soft attention; "sample" needs them, and `training.steps.eval_step` draws them.
    """

    window: int = 0
    estimator: str = "reinforce"
    glimpse_rule: str = "argmax"

    def __post_init__(self):
        if self.window < 0:
            raise InputError(f"window={self.window}: must be 0 or greater")
        for name, choices in (("estimator", ESTIMATORS), ("glimpse_rule", GLIMPSE_RULES)):
            if getattr(self, name) not in choices:
                raise InputError(f"{name}={getattr(self, name)!r}: must be one of {', '.join(choices)}")

    def look(self, l, X, samples: Samples | None = None):
        """x_t, see the module.

        Where it is never the expectation, it reads the cells of N(s_t) alone.

        Args:
          l: l_t, `<float>[K²]`.
          X: the feature cube X_t, `<float>[K², D]`.
          samples: of this step.

        Returns:
          x_t, `<float>[D]`, and a dict, see `sampled_weights`.
        """
        s, named = sampled_weights(l, neighbourhoods(len(l), self.window), samples, self.estimator)
        w = named["glimpse"]
        if samples is not None and (samples.expect is not None or self.estimator == "gumbel_st"):
            return expected_slice(w, X), named
        cells = self._cells(s, len(l))
        return (expected_slice(w, X) if cells is None else expected_slice(w[cells], X[cells])), named

    def _cells(self, s, num_cells: int):
        """A square of 2 r + 1 rows and columns within the border that has all of N(s), `<int>[n]`; None is all."""
        if not self.window:
            return s[None]
        side, n = _side(num_cells), 2 * self.window + 1
        if n >= side:
            return None
        row, column = (
            jnp.clip(place - self.window, 0, side - n) + jnp.arange(n, dtype=s.dtype) for place in (s // side, s % side)
        )
        return (side * row[:, None] + column[None]).reshape(-1)


def looking(hard: HardAttention | None, X, samples: Samples | None, glimpse):
    """Returns a model's function of l_t, X_t and its samples of step t, that returns x_t and a dict of further outputs;
    and these samples, a tree of `[B, T, ...]`.

    Args:
      hard: of the model; None is soft attention, Eq. 5.
      X: feature cubes, `<float>[B, T, K², D]`.
      samples: of the batch, or None.
      glimpse: where the model is told to look: x_t then is Eq. 5 under it.

    Raises:
      InputError: for samples of another shape or for a soft model, and where they are missing and the rule is "sample".
    """
    if samples is not None:
        if hard is None:
            raise InputError("samples for a model of soft attention: it draws nothing")
        if samples.noise.shape != X.shape[:3]:
            raise InputError(f"noise of shape {samples.noise.shape}: must be [B, T, K²], here {list(X.shape[:3])}")
        if samples.expect is not None:
            samples = samples._replace(expect=jnp.broadcast_to(samples.expect[:, None], X.shape[:2]))
    if hard is None or glimpse is not None or (samples is None and hard.glimpse_rule == "expectation"):
        return lambda l, X_t, _: (expected_slice(l, X_t), {}), None
    if samples is None and hard.glimpse_rule == "sample":
        raise InputError("glimpse_rule='sample': needs samples; `training.steps.eval_step` draws them")
    return hard.look, samples


def draw_noise(key, index, num_samples: int, num_steps: int, num_cells: int, dtype):
    """Draws g of some samples of each block.

    Args:
      key: of all blocks.
      index: by which they differ, `<int>[B]`: noise depends on it and the key alone, as dropout's masks do.
      num_samples, num_steps, num_cells: N, T, K².
      dtype: of the noise.

    Returns:
      `<float>[N, B, T, K²]`.
    """
    shape = (num_samples, num_steps, num_cells)
    draw = jax.vmap(lambda key: jax.random.gumbel(key, shape, dtype), out_axes=1)
    return draw(example_keys(key, index))
