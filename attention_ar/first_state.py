"""The first state of the LSTM (Eq. 6), for one example."""

import jax
import jax.numpy as jnp

from attention_ar.dropout import drop
from attention_ar.products import accumulator, product


def perceptron(layers, v, masks=None):
    """f_init: ReLU layers of width D, each under dropout, then one affine layer and tanh.

    The paper calls it a multilayer perceptron. Its authors ran the last layer alone, which is the default.

    Args:
      layers: parameters of the layers, dicts of `kernel` and `bias`; the last maps to d.
      v: `<float>[D]`.
      masks: a `Mask` of D units for each layer but the last, or None.

    Returns:
      `<float>[d]`, within (−1, 1).
    """
    *hidden, last = layers
    for n, layer in enumerate(hidden):
        v = drop(jax.nn.relu(product(layer["kernel"], v) + layer["bias"]), masks and masks[n])
    return jnp.tanh(product(last["kernel"], v) + last["bias"])


def frame_mean(X):
    """1/K² Σ_i X_{t,i}, the mean of a frame's feature slices, as Eq. 6 has it.

    Args:
      X: feature cubes, `<float>[..., K², D]`.

    Returns:
      `<float>[..., D]`, float32 or float64.
    """
    return jnp.mean(X, axis=-2, dtype=accumulator(X.dtype))


def first_state(f_init, frame_means, masks=None):
    """c_0 and h_0 of every layer, from the mean of the block's features over time and locations.

    Through this mean, and only through it, ŷ_t depends on frames after t.

    Example, one layer, d = 1: the mean of the features is 3, and f_init multiplies by 0 and by 1/3.

        >>> import jax.numpy as jnp
        >>> from attention_ar.first_state import first_state, frame_mean
        >>> f_c, f_h = ([{"kernel": jnp.array([[w]]), "bias": jnp.zeros(1)}] for w in (0.0, 1 / 3))
        >>> X = jnp.array([[[0.0], [2.0]], [[4.0], [6.0]]])
        >>> ((c, h),) = first_state([(f_c, f_h)], frame_mean(X))
        >>> float(c[0]), round(float(h[0]), 3)  # tanh(0) and tanh(1)
        (0.0, 0.762)

    Args:
      f_init: one pair (f_init,c, f_init,h) a layer, each the parameters of a `perceptron`.
      frame_means: `frame_mean` of each of the block's frames, `<float>[T, D]`.
      masks: one pair a layer of what `perceptron` takes, or None.

    Returns:
      One pair (c_0, h_0) a layer, each `<float>[d]`.
    """
    mean = jnp.mean(frame_means, axis=0)
    masks = masks or [(None, None)] * len(f_init)
    return tuple(
        (perceptron(f_c, mean, m[0]), perceptron(f_h, mean, m[1]))  # [Eq. 6]
        for (f_c, f_h), m in zip(f_init, masks, strict=True)
    )
