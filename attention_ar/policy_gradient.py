"""The gradient of hard attention: how the location softmax learns from places that were drawn, without a derivative.

With s = (s_1, …, s_T) the places of a block, C_t the cross-entropy of step t and pen = Σ_i (1 − Σ_t l_{t,i})², what is
minimised is the variational bound of Xu et al. (2015, section 4.1), averaged over the blocks, with Eq. 7's other terms:

    J = E_s[ Σ_t C_t + λ pen ] + γ Σ θ²
"""

import jax
import jax.numpy as jnp

MOMENTUM = 0.9
"""Of the moving average of one sample a block."""


def return_to_go(costs, penalty):
    """G_t = Σ_{τ ≥ t} C_τ + λ pen, all that s_t has an influence on.

    Args:
      costs: C, `<float>[..., T]`.
      penalty: λ pen, `<float>[...]`.

    Returns:
      `<float>[..., T]`.
    """
    return jnp.flip(jnp.cumsum(jnp.flip(costs, axis=-1), axis=-1), axis=-1) + penalty[..., None]


def leave_one_out(G):
    """b_{n,t} = 1/(N − 1) Σ_{m ≠ n} G_{m,t}, the mean of a block's other samples (Kool et al. 2019).

    Args:
      G: `<float>[N, ...]`, N ≥ 2.

    Returns:
      `<float>[N, ...]`.
    """
    return (jnp.sum(G, axis=0, keepdims=True) - G) / (len(G) - 1)


def moving_average(b, G, counts, total=lambda value: value):
    """b_t ← 0.9 b_t + 0.1 · mean of G_t over the blocks that count; b_t as it is where none does.

    Every step has its own: G_1 is about 30 ln C, and G_30 about ln C.

    Args:
      b: before the batch, `<float>[T]`.
      G: of a batch, `<float>[B, T]`.
      counts: 1 for a block whose places were drawn, 0 for another and for padding, `<float>[B]`.
      total: the sum over all devices of one device's sum.

    Returns:
      `<float>[T]`.
    """
    number = total(jnp.sum(counts))
    mean = total(jnp.sum(counts[:, None] * G, axis=0)) / jnp.maximum(number, 1)
    return jnp.where(number > 0, MOMENTUM * b + (1 - MOMENTUM) * mean, b)


def reinforce(log_probability, costs, penalty, baseline=None):
    """The term whose gradient is the score-function estimate of what J owes to where the model looks, for each block.

    With N samples s_1, …, s_N of a block's places, each drawn from the block's own l, this is

        S = 1/N Σ_n Σ_t sg(G_{n,t} − b_{n,t}) log l_{t,s_{n,t}},        G_{n,t} = Σ_{τ ≥ t} C_{n,τ} + λ pen_n

    where sg lets no gradient through. Of its value nothing is to be read: it is not a part of the loss.

    The gradient of a block's E_s[Σ_t C_t + λ pen] is E_s[∇(Σ_t C_t + λ pen) + Σ_t G_t ∇ log l_{t,s_t}]
    (Williams 1992). The first term is autodiff's own with the places held fixed; the second is E[∇S]. So

        (mean over n of Σ_t C_{n,t} + λ pen_n) + S

    has an unbiased gradient of it, under exactly this reward and with weight 1 on S:

    * G_t has the cost of step t in it. s_t is looked at before ŷ_t; with the later costs alone, or the own alone, the
      estimate is biased.
    * λ pen is in every G_t, as l_t depends on the places before t.
    * Costs before t are left out: they have expectation 0 and nothing but variance.
    * b_{n,t} may be anything that does not depend on s_{n,t}. The mean over a block's other samples does not, and nor
      does a moving average from before the batch (Mnih et al. 2014). The mean over all N does: it is biased.

    The entropy term that training adds is no part of J.

    References: Williams 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement
    learning"; Mnih et al. 2014, "Recurrent models of visual attention"; Xu et al. 2015, "Show, attend and tell"; Kool,
    van Hoof & Welling 2019, "Buy 4 REINFORCE samples, get a baseline for free!".

    Args:
      log_probability: log l_{t,s_t}, `<float>[N, B, T]`.
      costs: C, `<float>[N, B, T]`.
      penalty: λ pen, `<float>[N, B]`.
      baseline: b_t, `<float>[T]`; None is `leave_one_out`, which needs N ≥ 2.

    Returns:
      S, `<float>[B]`.
    """
    G = return_to_go(costs, penalty)
    b = leave_one_out(G) if baseline is None else baseline[None, None]
    return jnp.mean(jnp.sum(jax.lax.stop_gradient(G - b) * log_probability, axis=-1), axis=0)
