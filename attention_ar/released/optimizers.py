"""The released program's four optimisers as optax.GradientTransformations. Three have a fixed learning rate."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax


class ReleasedAdamState(NamedTuple):
    """t `<int32>[]`, and m and v as trees like the parameters."""

    count: jax.Array
    mu: optax.Updates
    nu: optax.Updates


def released_adam() -> optax.GradientTransformation:
    """The Adam of the released program, whose bias corrections are not Adam's.

    With g the gradient, t = 1, 2, … the number of the update, and m and v, which start from 0, its moving averages:

        m ← 0.9 m + 0.1 g
        v ← 0.999 v + 0.001 g²
        α ← 2e-4 · √(1 − 0.001ᵗ) / (1 − 0.1ᵗ)
        θ ← θ − α · m / (√v + 1e-8)

    What is odd: Adam has 1 − 0.9ᵗ where this has 1 − 0.1ᵗ, and 1 − 0.999ᵗ where this has 1 − 0.001ᵗ. It has the
    rates in the place of the decay factors. Hence almost nothing is corrected, and while v still grows from 0 the
    updates are too long: the first is ±7.02e-4 whatever the gradient, where Adam's is ±2e-4, and the excess fades over
    some thousand updates. The learning rate is a part of the function: the program ignores the one it is given.

    `attention_ar.training.optimizers.adam`, `optax.adam` and Algorithm 1 of the paper as published do it otherwise. In
    the first version of that paper β₁ = 0.1 and β₂ = 0.001 were the rates, and the corrections those of today; the
    program mixes the two notations.

    Returns:
      The corresponding `optax.GradientTransformation`; it counts t in int32.

    Examples:
      >>> import jax, jax.numpy as jnp, optax
      >>> from attention_ar.released.optimizers import released_adam
      >>> params = jnp.array([1., 2., 3.])
      >>> solver = released_adam()
      >>> state = solver.init(params)
      >>> for _ in range(2):
      ...   grad = jax.grad(lambda p: jnp.sum(p ** 2))(params)
      ...   updates, state = solver.update(grad, state, params)
      ...   params = optax.apply_updates(params, updates)
      ...   print(', '.join(f'{u:.2e}' for u in updates))
      -7.02e-04, -7.02e-04, -7.02e-04
      -8.58e-04, -8.58e-04, -8.58e-04

    References:
      Kingma and Ba, Adam: A Method for Stochastic Optimization, 2014, https://arxiv.org/abs/1412.6980

    Warning: this reproduces the released program. It is not Adam.
    """

    def init(params):
        zeros = optax.tree.zeros_like(params)
        return ReleasedAdamState(jnp.zeros((), jnp.int32), zeros, zeros)

    def update(gradients, state, params=None):
        del params
        count = optax.safe_increment(state.count)
        mu = optax.tree.update_moment(gradients, state.mu, 0.9, 1)
        nu = optax.tree.update_moment(gradients, state.nu, 0.999, 2)

        def step(m, v):
            t = count.astype(m.dtype)
            rate = 2e-4 * jnp.sqrt(1 - 0.001**t) / (1 - 0.1**t)
            return -rate * m / (jnp.sqrt(v) + 1e-8)

        return jax.tree.map(step, mu, nu), ReleasedAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)


def released_rmsprop() -> optax.GradientTransformation:
    """Centred RMSProp with momentum (Graves 2013), the rate fixed at 1e-4.

    r ← .95 r + .05 g; s ← .95 s + .05 g²; u ← .9 u − 1e-4 · g / √(s − r² + 1e-4); the parameter moves by u.
    """
    return optax.chain(optax.scale_by_stddev(decay=0.95, eps=1e-4), optax.scale(-1e-4), optax.trace(decay=0.9))


def released_adadelta() -> optax.GradientTransformation:
    """AdaDelta (Zeiler 2012), which has no rate.

    s ← .95 s + .05 g²; u = − g √(a + 1e-6) / √(s + 1e-6); a ← .95 a + .05 u²; the parameter moves by u.
    """
    return optax.chain(optax.scale_by_adadelta(rho=0.95, eps=1e-6), optax.scale(-1.0))


def released_sgd(learning_rate: float) -> optax.GradientTransformation:
    """Gradient descent: p ← p − learning_rate · g. The scripts use 1e-5 for HMDB-51 and 1e-4 for Hollywood2."""
    return optax.sgd(learning_rate)


OPTIMIZERS = {
    "adam": lambda learning_rate: released_adam(),
    "rmsprop": lambda learning_rate: released_rmsprop(),
    "adadelta": lambda learning_rate: released_adadelta(),
    "sgd": released_sgd,
}
"""By the program's names, functions of the learning rate, which only `sgd` uses, as there."""
