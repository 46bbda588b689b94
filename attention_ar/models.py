"""The paper's model and its recurrent baselines (sections 3.2 and 4.2.1) as Flax modules.

The mathematics is written for one block, so that no line carries an index that the paper lacks; `jax.vmap`, and through
the time `time_loop`, run it for a batch of blocks.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from attention_ar import initializers
from attention_ar.attention import checked_glimpse, expected_slice, location_softmax
from attention_ar.dropout import drop, example_keys, recurrent_masks
from attention_ar.errors import InputError
from attention_ar.first_state import first_state
from attention_ar.loop.fast import InPlace, time_loop
from attention_ar.lstm import stacked_lstm_step
from attention_ar.products import accumulator, in_compute_dtype, product


def classify(params, h, masks=None):
    """The class scores V·tanh(U h_t + a) + b of section 3.2, before the softmax.

    Args:
      params: `classifier_hidden` (U, a) and `classifier_output` (V, b), dicts of `kernel` and `bias`.
      h: hidden states of the top layer, `<float>[..., d]`.
      masks: dropout's `top` and `hidden` masks, each a `Mask` of `[..., d]`, or None.

    Returns:
      Logits, `<float>[..., C]`.
    """
    hidden, output = params["classifier_hidden"], params["classifier_output"]
    masks = masks or {"top": None, "hidden": None}
    lead = (None,) * (h.ndim - 1)
    tanh_layer = jnp.tanh(product(hidden["kernel"], drop(h, masks["top"])) + hidden["bias"][lead])
    return product(output["kernel"], drop(tanh_layer, masks["hidden"])) + output["bias"][lead]


def recurrent_blocks(params, X, inputs, look, masks=None):
    """Runs a batch of blocks of T frames through first state, LSTM and classifier.

    Args:
      params: `f_init`, `lstm`, `classifier_hidden`, `classifier_output`, and `location_softmax` if `look` needs it.
      X: the blocks' feature cubes, `<float>[B, T, K², D]`, for the first state.
      inputs: what `look` is given at step t, an array `[B, T, ...]`.
      look: a function, for one block, of the parameters, of h_{t-1} of the top layer and of the block's inputs at t,
        that returns x_t and a dict of what else to keep.
      masks: see `recurrent_masks`, with a leading B; None at test time.

    Returns:
      Logits `<float>[B, T, C]`, and a dict: `x` `<float>[B, T, D]`, `c` and `h` `<float>[B, T, num_layers, d]`, and
      what `look` kept.
    """

    def step(weights, states, now):
        inputs_t, masks_t = now
        _, top_h = states[-1]
        x, kept = look(weights, top_h, inputs_t)
        states = stacked_lstm_step(weights["lstm"], states, x, masks_t)
        c, h = zip(*states, strict=True)
        return states, {"x": x, "c": c, "h": h, **kept}

    states = jax.vmap(first_state, in_axes=(None, 0, 0))(params["f_init"], X, masks and masks["first_state"])
    weights = {name: params[name] for name in ("lstm", "location_softmax") if name in params}
    out = time_loop(step, weights, states, (inputs, masks and masks["inputs"]))
    logits = classify(params, out["h"][-1], masks)
    return logits, out | {name: jnp.stack(out[name], axis=2) for name in ("c", "h")}


def soft_attention_blocks(params, X, masks=None, glimpse=None):
    """Eqs. 1 to 6 over a batch of blocks; `params` also has `location_softmax` (W). See `recurrent_blocks`.

    Where a `glimpse` `<float>[B, T, K²]` is given, it is l_t, and Eq. 4 has no part in it; all else is as ever.

    The dict returned also has `attention`, l_t, `<float>[B, T, K²]`.
    """
    params = dict(params)
    dtype = params["location_softmax"]["kernel"].dtype

    def attend(l, X_t):
        return expected_slice(l, X_t.astype(dtype)), {"attention": l}

    def look(weights, top_h, X_t):
        return attend(location_softmax(weights["location_softmax"]["kernel"], top_h), X_t)

    def look_there(weights, top_h, inputs_t):
        return attend(*inputs_t)

    if glimpse is None:
        return recurrent_blocks(params, X, InPlace(X), look, masks)
    del params["location_softmax"]
    return recurrent_blocks(params, X, (glimpse, InPlace(X)), look_there, masks)


def pooled_blocks(params, X, pool, masks=None):
    """A baseline of section 4.2.1 over a batch of blocks: x_t is the `pool` (jnp.mean, jnp.max) over the locations."""
    pooled = pool(X.astype(accumulator(X.dtype)), axis=2)
    return recurrent_blocks(params, X, pooled, lambda weights, top_h, x_t: (x_t, {}), masks)


class _RecurrentClassifier(nn.Module):
    """What the attention model and the pooled baselines have in common: parameters, dropout and batching.

    Attributes:
      num_classes: C.
      hidden_dim: d, of the LSTM's state and of the classifier's hidden layer.
      num_layers: LSTM layers, 1 to 5 in the paper's experiments.
      dropout: the rate on the non-recurrent connections.
      init_layers: layers of each perceptron of Eq. 6; those before the last are ReLU layers of width D.
      compute_dtype: "bfloat16" for matrix products and features in bfloat16, summed in float32; by default, and with
        "float32", products are in the type of the parameters. Parameters, softmaxes, states and results are float32
        (float64 for features in float64) in any case.
    """

    per_frame: ClassVar[bool] = False
    """Whether the prediction at a step depends on that step's frame alone."""

    num_classes: int
    hidden_dim: int = 512
    num_layers: int = 3
    dropout: float = 0.5
    init_layers: int = 1
    compute_dtype: str | None = None

    def blocks(self, params, X, masks, glimpse):
        """Runs a batch of blocks, see `recurrent_blocks` and, for the glimpse, `soft_attention_blocks`."""
        raise NotImplementedError

    def location_params(self, num_cells, dtype):
        """Returns the parameters of the location softmax, none in a model that has none."""
        return {}

    @nn.compact
    def __call__(self, x, train: bool = False, example_index=None, glimpse=None):
        """Predicts the class at every step of every block.

        Args:
          x: feature cubes, `<float>[B, T, K², D]`, of any float type.
          train: whether dropout acts; it needs `rngs={"dropout": key}`.
          example_index: the examples' indices in the global batch, `<int>[B]`, from which their dropout masks follow;
            by default 0 … B − 1. A batch cut over several devices thus keeps its masks.
          glimpse: for the attention model, l_t that takes the place of Eq. 4's, `<float>[B, T, K²]`, each row a
            distribution over the cells; by default the model looks where it wants.

        Returns:
          Logits, `<float>[B, T, C]`, and a dict: `x` `<float>[B, T, D]`, `c` and `h` `<float>[B, T, num_layers, d]`,
          and for the attention model `attention` `<float>[B, T, K²]`.

        Raises:
          InputError: where x has another rank, or the glimpse another shape, or the model has no attention.
        """
        if x.ndim != 4:
            raise InputError(f"features of shape {x.shape}: must be [B, T, K², D]")
        batch_size, num_steps, num_cells, input_dim = x.shape
        glimpse = checked_glimpse(glimpse, x)
        params = self._params(num_cells, input_dim, accumulator(x.dtype))
        masks = None
        if train and self.dropout:
            index = jnp.arange(batch_size) if example_index is None else example_index
            keys = example_keys(self.make_rng("dropout"), index)
            masks = jax.vmap(
                lambda key: recurrent_masks(
                    key, self.dropout, num_steps, input_dim, self.hidden_dim, self.num_layers, self.init_layers
                )
            )(keys)
        return self.blocks(in_compute_dtype(params, self.compute_dtype), x, masks, glimpse)

    def _params(self, num_cells, input_dim, dtype):
        d = self.hidden_dim

        def f_init(name):
            widths = [input_dim] * self.init_layers + [d]
            return [
                self.param(f"{name}_{k + 1}", initializers.affine, widths[k], widths[k + 1], dtype)
                for k in range(self.init_layers)
            ]

        layers = range(1, self.num_layers + 1)
        return {
            "f_init": [(f_init(f"f_init_c_{n}"), f_init(f"f_init_h_{n}")) for n in layers],
            "lstm": [self.param(f"lstm_{n}", initializers.lstm, input_dim if n == 1 else d, d, dtype) for n in layers],
            "classifier_hidden": self.param("classifier_hidden", initializers.affine, d, d, dtype),
            "classifier_output": self.param("classifier_output", initializers.affine, d, self.num_classes, dtype),
            **self.location_params(num_cells, dtype),
        }


class SoftAttentionLSTM(_RecurrentClassifier):
    """The model of the paper, equations 1 to 6: a stacked LSTM that chooses at every step where to look.

    x_t is the expectation of the frame's feature slices under the location softmax, which the top layer's state of the
    step before gives. Example:

        model = SoftAttentionLSTM(num_classes=11)
        params = model.init(key, x)["params"]
        logits, out = model.apply({"params": params}, x)
        out["attention"]  # <float32>[B, T, K²]
    """

    def location_params(self, num_cells, dtype):
        def W(key):
            return {"kernel": initializers.matrix(key, self.hidden_dim, num_cells, dtype)}

        return {"location_softmax": self.param("location_softmax", W)}

    def blocks(self, params, X, masks, glimpse):
        return soft_attention_blocks(params, X, masks, glimpse)


class PooledLSTM(_RecurrentClassifier):
    """The baselines of section 4.2.1: the same model, but x_t is the mean or the maximum over the locations.

    Attributes:
      pool: "mean" or "max".
    """

    pool: str = "mean"

    def blocks(self, params, X, masks, glimpse):
        if glimpse is not None:
            raise InputError(f"a glimpse for a model of pool={self.pool!r}: it pools, and looks nowhere in particular")
        if self.pool not in ("mean", "max"):
            raise InputError(f"pool={self.pool!r}: must be 'mean' or 'max'")
        return pooled_blocks(params, X, {"mean": jnp.mean, "max": jnp.max}[self.pool], masks)


class SoftmaxRegression(nn.Module):
    """The baseline of section 4.2.1 that sees the complete feature cube of each frame and has no memory and no dropout.

    Attributes:
      num_classes: C.
      compute_dtype: see `SoftAttentionLSTM`.
    """

    per_frame: ClassVar[bool] = True

    num_classes: int
    compute_dtype: str | None = None

    @nn.compact
    def __call__(self, x, train: bool = False, example_index=None):
        """Predicts the class at every step from its K²·D features. See `SoftAttentionLSTM`; the dict is empty."""
        if x.ndim != 4:
            raise InputError(f"features of shape {x.shape}: must be [B, T, K², D]")
        batch_size, num_steps, num_cells, input_dim = x.shape
        sizes = num_cells * input_dim, self.num_classes
        params = self.param("regression", initializers.affine, *sizes, accumulator(x.dtype))
        params = in_compute_dtype(params, self.compute_dtype)
        return product(params["kernel"], x.reshape(batch_size, num_steps, -1)) + params["bias"][None, None], {}
