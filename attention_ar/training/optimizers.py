"""The paper's optimiser. (The four of the authors' program are in `attention_ar.released`.)"""

import jax
import optax


def adam(learning_rate: float) -> optax.GradientTransformation:
    """Adam (Kingma & Ba 2015) with β₁ = 0.9, β₂ = 0.999 and ε = 1e-8.

    With g the gradient of the whole loss of Eq. 7, its decay included, and α the `learning_rate`:

        m ← β₁ m + (1 − β₁) g
        v ← β₂ v + (1 − β₂) g²
        θ ← θ − α · m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + ε)

    Warning: as the decay is part of g, this is not AdamW. The authors' program corrects with other powers, which makes
    its first steps 3.5 times as long; see `attention_ar.released`.
    """
    optimizer = optax.adam(learning_rate, b1=0.9, b2=0.999, eps=1e-8)

    def update(gradients, state, params=None):
        with jax.numpy_dtype_promotion("standard"):  # optax counts its steps in int32 and raises β to that power.
            return optimizer.update(gradients, state, params)

    return optax.GradientTransformation(optimizer.init, update)
