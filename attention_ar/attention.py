"""The soft attention of Eqs. 4 and 5, for one example and one time-step.

Where the model may look (the location distribution l_t) and what it makes of it (the expected slice) are two functions.
"""

import jax

from attention_ar.products import product


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
