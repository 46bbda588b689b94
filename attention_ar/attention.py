"""The soft attention of Eqs. 4 and 5, for one example and one time-step.

Where the model looks (the location distribution l_t) and what it sees there (the expected slice) are two functions.
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

    Example, d = 2 and three cells:

        >>> import jax.numpy as jnp
        >>> from attention_ar.attention import location_softmax
        >>> W = jnp.log(jnp.array([[2.0, 1.0, 1.0], [1.0, 1.0, 8.0]]))
        >>> [round(float(p), 2) for p in location_softmax(W, jnp.array([1.0, 0.0]))]  # 2, 1 and 1 of 4
        [0.5, 0.25, 0.25]

    Args:
      W: `<float>[d, K²]`; column i is W_i.
      h: hidden state of the top layer at step t − 1, `<float>[d]`.

    Returns:
      l_t, `<float>[K²]`, which sums to 1. Cell i is row i // K, column i % K of the frame.
    """
    return jax.nn.softmax(product(W, h))  # [Eq. 4]


def expected_slice(l, X):
    """x_t, the expectation of the feature slice over the locations.

    Example, two cells and D = 3:

        >>> import jax.numpy as jnp
        >>> from attention_ar.attention import expected_slice
        >>> X = jnp.array([[0.0, 4.0, 8.0], [4.0, 8.0, 0.0]])
        >>> expected_slice(jnp.array([0.75, 0.25]), X).tolist()
        [1.0, 5.0, 6.0]

    Args:
      l: l_t, `<float>[K²]`.
      X: the feature cube X_t, `<float>[K², D]`.

    Returns:
      x_t, `<float>[D]`.
    """
    return product(X, l)  # [Eq. 5]


def checked_glimpse(glimpse, X):
    """Checks a given l_t and converts it to the dtype of the model's own.

    Args:
      glimpse: `<float>[B, T, K²]`, or None.
      X: feature cubes, `<float>[B, T, K², D]`.

    Returns:
      `<float>[B, T, K²]`, float32 or float64; or None.

    Raises:
      InputError: where the shapes differ. It does not check whether the rows are distributions.
    """
    if glimpse is None:
        return None
    if glimpse.shape != X.shape[:3]:
        raise InputError(f"glimpse of shape {glimpse.shape}: must be [B, T, K²], here {list(X.shape[:3])}")
    return jnp.asarray(glimpse, accumulator(X.dtype))
