"""Names, shapes and initial values of the released model's parameters: one flat dict, as in the authors' files.

Sizes: D channels (their `ctx_dim`), d LSTM state (`dim`), O hidden layer of the classifier (`dim_out`), C classes
(`n_actions`). `4d` stands for the four gates side by side.
"""

import jax
import jax.numpy as jnp

from attention_ar import initializers


def axes(n_layers_att=1, n_layers_out=1, n_layers_init=1, ctx2out=False, selector=False) -> dict[str, tuple[str, ...]]:
    """Returns which size each axis of each parameter has, in the order of the authors' program.

    Args:
      n_layers_att, n_layers_out, n_layers_init, ctx2out, selector: see `ReleasedAttentionLSTM`.
    """

    def affine(name, num_in, num_out):
        return {f"{name}_W": (num_in, num_out), f"{name}_b": (num_out,)}

    parameters = {}
    for n in range(1, n_layers_init):
        parameters |= affine(f"ff_init_{n}", "D", "D")
    parameters |= affine("ff_state", "D", "d") | affine("ff_memory", "D", "d")
    parameters |= {"decoder_W": ("D", "4d"), "decoder_U": ("d", "4d"), "decoder_b": ("4d",)}
    parameters |= {"decoder_Wc_att": ("D", "D"), "decoder_Wd_att": ("d", "D"), "decoder_b_att": ("D",)}
    for n in range(1, n_layers_att):
        parameters |= {f"decoder_W_att_{n}": ("D", "D"), f"decoder_b_att_{n}": ("D",)}
    parameters |= {"decoder_U_att": ("D", "1"), "decoder_c_tt": ("1",)}
    if selector:
        parameters |= {"decoder_W_sel": ("d", "1"), "decoder_b_sel": ()}
    parameters |= affine("ff_logit_lstm", "d", "O")
    if ctx2out:
        parameters |= affine("ff_logit_ctx", "D", "O")
    for n in range(1, n_layers_out):
        parameters |= affine(f"ff_logit_h{n}", "O", "O")
    return parameters | affine("ff_logit", "O", "C")


def shapes(num_maps, hidden_dim, dim_out, num_classes, **options) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of all parameters by name.

    Args:
      num_maps, hidden_dim, dim_out, num_classes: D, d, O, C.
      **options: see `axes`.
    """
    sizes = {"D": num_maps, "d": hidden_dim, "4d": 4 * hidden_dim, "O": dim_out, "C": num_classes, "1": 1}
    return {name: tuple(sizes[axis] for axis in wanted) for name, wanted in axes(**options).items()}


def initial(key, name: str, shape: tuple[int, ...], dtype) -> jax.Array:
    """Draws one parameter as the authors do.

    Square matrices are orthogonal and all others N(0, 0.01²), each gate's block being a matrix of its own.
    `decoder_Wc_att` is Gaussian although it is square. Everything that is not a matrix is 0.
    """
    if len(shape) < 2:
        return jnp.zeros(shape, dtype)
    num_in, num_out = shape
    if name == "decoder_Wc_att":
        return 0.01 * jax.random.normal(key, shape, dtype)
    if name in ("decoder_W", "decoder_U"):
        gates = [initializers.matrix(gate, num_in, num_out // 4, dtype) for gate in jax.random.split(key, 4)]
        return jnp.concatenate(gates, axis=1)
    return initializers.matrix(key, num_in, num_out, dtype)
