"""The soft attention of Eqs. 4 and 5, for one example and one time-step.

Where the model may look (the location distribution l_t) and what it makes of it (the expected slice) are two functions.
"""

import jax
import jax.numpy as jnp

from attention_ar.errors import InputError
from attention_ar.products import accumulator, product


def location_softmax(W, h):
    """l_t, the probability with which the model believes each region to be important.

    There is no bias, and the features of the frame do not enter: where to look at step t is decided before frame t is
    seen. (The authors' program computes the location softmax from features and state, see
    `attention_ar.ReleasedAttentionLSTM`; the paper prints what is here.)

    Args:
      W: `<float>[d, K²]`; column i is W_i.
      h: hidden state of the top layer at step t − 1, `<float>[d]`.

    Returns:
      l_t, `<float>[K²]`, which sums to 1. Cell i is row i // K, column i % K of the frame.
    """
    return jax.nn.softmax(product(W, h))  # [Eq. 4]


def expected_slice(l, X):
    """x_t, the expectation of the feature slice over the locations.

    Args:
      l: l_t, `<float>[K²]`.
      X: the feature cube X_t, `<float>[K², D]`.

    Returns:
      x_t, `<float>[D]`.
    """
    return product(X, l)  # [Eq. 5]


def checked_glimpse(glimpse, X):
    """Returns l_t that somebody else than the model chose, in the type in which a model's own would be.

    Args:
      glimpse: `<float>[B, T, K²]`, or None.
      X: feature cubes, `<float>[B, T, K², D]`.

    Returns:
      `<float>[B, T, K²]`, float32 or float64; or None.

    Raises:
      InputError: where the shapes differ. That its rows are distributions is the caller's business.
    """
    if glimpse is None:
        return None
    if glimpse.shape != X.shape[:3]:
        raise InputError(f"glimpse of shape {glimpse.shape}: must be [B, T, K²], here {list(X.shape[:3])}")
    return jnp.asarray(glimpse, accumulator(X.dtype))
