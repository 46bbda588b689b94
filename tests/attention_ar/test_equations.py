"""Each equation as a plain function, at values worked out by hand; and its derivatives."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from attention_ar.attention import expected_slice, location_softmax
from attention_ar.first_state import first_state, frame_mean, perceptron
from attention_ar.loss import (
    PaperObjective,
    attention_penalty,
    binary_cross_entropy,
    cross_entropy,
    predictions,
    weight_decay,
)
from attention_ar.lstm import lstm_step, stacked_lstm_step
from attention_ar.models import classify

ln = math.log


class Case(NamedTuple):
    function: object
    arguments: tuple
    expected: object


def affine(kernel, bias):
    return {"kernel": np.array(kernel, float), "bias": np.array(bias, float)}


# M for d = 1 and D = 1; rows h and x, columns i, f, o, g. With h = 1 and x = 2, z = M_h + 2 M_x + b is, in turn,
# ln 3, -ln 3, ln 3 + 2 ln 3 - 3 ln 3 = 0, and ½ ln 3.
L3 = ln(3)
M = affine([[L3, L3, L3, 0], [0, -L3, L3, L3 / 4]], [0, 0, -3 * L3, 0])

# M is 0 but for the bias: i = σ(ln 3) = 3/4, f = σ(-ln 3) = 1/4, o = 1/2, g = tanh(½ ln 3) = (3 - 1) / (3 + 1) = 1/2.
BIAS_ONLY = affine(np.zeros((2, 4)), [L3, -L3, 0, L3 / 2])

CASES = {
    # σ(z) = e^z / (e^z + 1): i = 3/4, f = 1/4, o = 1/2. tanh(z) = (e^2z - 1) / (e^2z + 1): g = 1/2.
    # c = 1/4 · 4 + 3/4 · 1/2 = 11/8.
    "Eqs. 1 to 3": Case(
        lstm_step, (M, np.array([4.0]), np.array([1.0]), np.array([2.0])), ([11 / 8], [math.tanh(11 / 8) / 2])
    ),
    # With c_{t-1} = 4 ½ (ln 3 - 3/4), c is (ln 3 - 3/4) / 2 + 3/8 = ½ ln 3, so that tanh(c) = 1/2 and h = 1/4.
    "Eq. 3, a fraction": Case(
        lstm_step, (BIAS_ONLY, np.array([2 * L3 - 1.5]), np.array([7.0]), np.array([5.0])), ([L3 / 2], [1 / 4])
    ),
    # Layer 1 as before: h = 1/4. Layer 2 takes g from it, 2 ln 3 · 1/4 = ½ ln 3, so g = 1/2; i = f = o = 1/2:
    # c = 1/2 · 0 + 1/2 · 1/2 = 1/4.
    "Eqs. 1 to 3, two layers": Case(
        stacked_lstm_step,
        (
            [BIAS_ONLY, affine([[0, 0, 0, 0], [0, 0, 0, 2 * L3]], np.zeros(4))],
            ((np.array([2 * L3 - 1.5]), np.array([7.0])), (np.array([0.0]), np.array([9.0]))),
            np.array([5.0]),
        ),
        (([L3 / 2], [1 / 4]), ([1 / 4], [math.tanh(1 / 4) / 2])),
    ),
    # W_iᵀh is ln 2, 2 ln 2 and 0; its exponentials are 2, 4 and 1, of 7.
    "Eq. 4": Case(
        location_softmax,
        (ln(2) * np.array([[1.0, 2.0, 0.0], [0.0, -1.0, 3.0]]), np.array([1.0, 0.0])),
        [2 / 7, 4 / 7, 1 / 7],
    ),
    # Equal scores, whatever h is.
    "Eq. 4, uniform": Case(location_softmax, (np.ones((2, 4)), np.array([5.0, -3.0])), [1 / 4] * 4),
    # 1/2 (1, 0) + 1/4 (2, 4) + 1/4 (4, 8).
    "Eq. 5": Case(
        expected_slice, (np.array([0.5, 0.25, 0.25]), np.array([[1.0, 0.0], [2.0, 4.0], [4.0, 8.0]])), [2.0, 3.0]
    ),
    # Of each frame's slices, (0, 4) and (2, 8), (4, 6) and (8, 8).
    "Eq. 6, the mean of a frame": Case(
        frame_mean, (np.array([[[0.0, 4.0], [2.0, 8.0]], [[4.0, 6.0], [8.0, 8.0]]]),), [[1.0, 6.0], [6.0, 7.0]]
    ),
    # The mean of two frames, whose means are 1 and 5, is 3.
    # c_0 = tanh(3 · ln 3 / 6) = 1/2; h_0 = tanh(3 · 0 - ½ ln 3) = -1/2.
    "Eq. 6": Case(
        first_state,
        ([([affine([[L3 / 6]], [0])], [affine([[0]], [-L3 / 2])])], np.array([[1.0], [5.0]])),
        (([1 / 2], [-1 / 2]),),
    ),
    # ReLU(1 - 3, 2·1 - 1) = (0, 1), then ½ ln 3 of the second: tanh(½ ln 3) = 1/2.
    "Eq. 6, a perceptron of two layers": Case(
        perceptron, ([affine([[1, 2]], [-3, -1]), affine([[5], [L3 / 2]], [0])], np.array([1.0])), [1 / 2]
    ),
    # Section 3.2: tanh(½ ln 3 · 1) = 1/2; 4 · 1/2 + 1 and -2 · 1/2.
    "the classifier": Case(
        classify,
        (
            {"classifier_hidden": affine([[L3 / 2]], [0]), "classifier_output": affine([[4, -2]], [1, 0])},
            np.array([1.0]),
        ),
        [3.0, -1.0],
    ),
    # Class 2 of (1/4, 3/4) and of (1/2, 1/2): ln 4/3 + ln 2.
    "Eq. 7, cross-entropy": Case(
        cross_entropy, (np.array([[0.0, L3], [5.0, 5.0]]), np.array([0.0, 1.0])), ln(4 / 3) + ln(2)
    ),
    # σ(ln 3) = 3/4 where the label is 1 and σ(0) = 1/2 where it is 0: ln 4/3 + ln 2.
    "Eq. 7, several labels": Case(
        binary_cross_entropy, (np.array([[L3, 0.0]]), np.array([1.0, 0.0])), ln(4 / 3) + ln(2)
    ),
    # Sums over t: 3/2, 1/2 and 0. (1/2)² + (1/2)² + 1.
    "Eq. 7, attention penalty": Case(attention_penalty, (np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]),), 3 / 2),
    # 1 + 4 + 9.
    "Eq. 7, weight decay": Case(weight_decay, (affine([[1, 2]], [-3]),), 14.0),
    # (1, 3) / 4.
    "ŷ_t": Case(lambda logits: predictions(logits, multi_label=False), (np.array([0.0, L3]),), [1 / 4, 3 / 4]),
    # Two blocks, T = 1, and padding. Cross-entropies ln 2 and ln 4, penalties 0 + 1 and 1/4 + 1/4, decay 4:
    # (ln 2 + ln 4) / 2 + 2 · (1 + 1/2) / 2 + 1/8 · 4.
    "Eq. 7": Case(
        lambda params, logits, attention: PaperObjective(attention_penalty=2.0, weight_decay=1 / 8)(
            params, logits, {"attention": attention}, np.array([[1.0, 0.0]] * 3), np.array([1.0, 1.0, 0.0])
        )[0],
        (
            {"bias": np.array([2.0])},
            np.array([[[0.0, 0.0]], [[0.0, L3]], [[8.0, 9.0]]]),
            np.array([[[1.0, 0.0]], [[0.5, 0.5]], [[0.3, 0.7]]]),
        ),
        1.5 * ln(2) + 3 / 2 + 1 / 2,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_values_worked_out_by_hand(x64, name):
    function, arguments, expected = CASES[name]
    found = function(*jax.tree.map(jnp.asarray, arguments))
    assert jax.tree.structure(found) == jax.tree.structure(jax.tree.map(np.asarray, expected, is_leaf=is_list))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected, is_leaf=is_list), strict=True):
        assert a.shape == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-15)


def is_list(node):
    return isinstance(node, list)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_every_argument_agree_with_differences(x64, name):
    """Forward and backward, first and second derivatives."""
    function, arguments, _ = CASES[name]
    with jax.numpy_dtype_promotion("standard"):  # check_grads divides by Python's numbers.
        check_grads(jax.jit(function), jax.tree.map(jnp.asarray, arguments), order=2, rtol=1e-5, atol=1e-6)
