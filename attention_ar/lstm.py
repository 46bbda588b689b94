"""The LSTM of Eqs. 1 to 3 (Zaremba et al. 2014, Xu et al. 2015), one layer and a stack of them, for one example."""

import jax
import jax.numpy as jnp

from attention_ar.dropout import drop
from attention_ar.products import product


def lstm_step(params, c, h, x):
    """One step of one layer. No peepholes, and nothing is added to the forget gate.

    Example, d = 1 and D = 2, with M = 0: i, f and o are 1/2 and g is 0, so that c halves.

        >>> import jax.numpy as jnp
        >>> from attention_ar.lstm import lstm_step
        >>> M = {"kernel": jnp.zeros((3, 4)), "bias": jnp.zeros(4)}
        >>> c, h = lstm_step(M, jnp.array([4.0]), jnp.array([0.0]), jnp.array([1.0, 2.0]))
        >>> c.tolist(), round(float(h[0]), 3)  # h = tanh(2) / 2
        ([2.0], 0.482)

    Args:
      params: M, a dict of `kernel` `<float>[d + D, 4·d]` (the rows of h first) and `bias` `<float>[4·d]`; the gates
        are in the order i, f, o, g.
      c: cell state c_{t-1}, `<float>[d]`.
      h: hidden state h_{t-1}, `<float>[d]`.
      x: input x_t, `<float>[D]`.

    Returns:
      The new cell state c_t and hidden state h_t, each `<float>[d]`.
    """
    i, f, o, g = jnp.split(product(params["kernel"], jnp.concatenate([h, x])) + params["bias"], 4)  # [Eq. 1]
    i, f, o, g = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jax.nn.sigmoid(o), jnp.tanh(g)
    c = f * c + i * g  # [Eq. 2]
    h = o * jnp.tanh(c)  # [Eq. 3]
    return c, h


def stacked_lstm_step(layers, states, x, masks=None):
    """One step of a stack: each layer's h_t is the x_t of the one above it.

    Args:
      layers: the layers' parameters from the bottom to the top, see `lstm_step`.
      states: one pair (c_{t-1}, h_{t-1}) a layer.
      x: input of the bottom layer, `<float>[D]`.
      masks: what dropout keeps of each layer's input, one `Mask` a layer (of D units, then of d); None keeps all.

    Returns:
      One pair (c_t, h_t) a layer.
    """
    new_states = []
    for n, (params, (c, h)) in enumerate(zip(layers, states, strict=True)):
        c, h = lstm_step(params, c, h, drop(x, masks and masks[n]))
        new_states.append((c, h))
        x = h
    return tuple(new_states)
