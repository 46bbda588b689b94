"""The paper's model (section 3.2), and its form for several resolutions, as Flax modules.

The mathematics is written for one block, so that no line has an index that the paper lacks. `jax.vmap`, and
`loop.time_loop` over the steps, run it for a batch of blocks.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from attention_ar import initializers
from attention_ar.attention import checked_glimpse, location_softmax
from attention_ar.dropout import drop, example_keys, recurrent_masks
from attention_ar.errors import InputError
from attention_ar.first_state import first_state, frame_mean
from attention_ar.hard_attention import HardAttention, Samples, looking
from attention_ar.levels import attend_levels, check_levels, check_scales, looking_at_levels, on_first_level
from attention_ar.loop import InPlace, require_loop, time_loop
from attention_ar.lstm import stacked_lstm_step
from attention_ar.products import accumulator, in_compute_dtype, product
from attention_ar.shared_frames import of_each_frame, whole


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


def recurrent_blocks(params, X, inputs, look, masks=None, loop="auto"):
    """Runs a batch of blocks of T frames through first state, LSTM and classifier.

    Args:
      params: `f_init`, `lstm`, `classifier_hidden`, `classifier_output`, and `location_softmax` and `levels` if `look`
        needs them.
      X: the blocks' feature cubes, `<float>[B, T, K², D]` or `SharedFrames` of them, for the first state.
      inputs: the input of `look` at each step, a tree of arrays `[B, T, ...]`.
      look: a function, for one block, of the parameters, of h_{t-1} of the top layer and of the block's inputs at t.
        It returns x_t and a dict of further outputs.
      masks: see `recurrent_masks`, with a leading B; None at test time.
      loop: see `attention_ar.loop.time_loop`.

    Returns:
      Logits `<float>[B, T, C]`, and a dict: `x` `<float>[B, T, D]`, `c` and `h` `<float>[B, T, num_layers, d]`, and
      the further outputs of `look`.
    """

    def step(weights, states, now):
        inputs_t, masks_t = now
        _, top_h = states[-1]
        x, kept = look(weights, top_h, inputs_t)
        states = stacked_lstm_step(weights["lstm"], states, x, masks_t)
        c, h = zip(*states, strict=True)
        return states, {"x": x, "c": c, "h": h, **kept}

    frame_means = whole(of_each_frame(frame_mean, X))
    states = jax.vmap(first_state, in_axes=(None, 0, 0))(params["f_init"], frame_means, masks and masks["first_state"])
    weights = {name: params[name] for name in ("lstm", "location_softmax", "levels") if name in params}
    out = time_loop(step, weights, states, (inputs, masks and masks["inputs"]), loop)
    logits = classify(params, out["h"][-1], masks)
    return logits, out | {name: jnp.stack(out[name], axis=2) for name in ("c", "h")}


def soft_attention_blocks(
    params, X, attend, visible, masks=None, glimpse=None, loop="auto", hard: HardAttention | None = None, samples=None
):
    """Eqs. 1 to 6 over a batch of blocks; `params` also has `location_softmax`. See `recurrent_blocks`.

    Args:
      params, X, masks, loop: see `recurrent_blocks`.
      attend: Eq. 4, see `SoftAttentionLSTM.attend`.
      visible: the input of `attend` for each frame, `<float>[B, T, ...]`.
      glimpse: l_t, `<float>[B, T, K²]`. If given, it replaces Eq. 4, and `attend` and `visible` are not called.
      hard, samples: what takes the place of Eq. 5 if anything does, see `hard_attention.looking`.

    Returns:
      What `recurrent_blocks` does; the dict also has `attention`, l_t, `<float>[B, T, K²]`, and where places are drawn
      the outputs of `hard_attention.sampled_weights`.
    """
    dtype = params["lstm"][0]["kernel"].dtype
    slice_of, samples = looking(hard, X, samples, glimpse)

    def look(weights, top_h, inputs_t):
        X_t, visible_t, l, samples_t = inputs_t
        if l is None:
            l = attend(weights["location_softmax"], top_h, visible_t)
        x, named = slice_of(l, X_t.astype(dtype), samples_t)
        return x, {"attention": l, **named}

    if glimpse is not None:
        params = {name: value for name, value in params.items() if name != "location_softmax"}
        return recurrent_blocks(params, X, (InPlace(X), None, glimpse, samples), look, masks, loop)
    return recurrent_blocks(params, X, (InPlace(X), visible, None, samples), look, masks, loop)


def multi_level_blocks(
    params, X, scales, masks=None, glimpse=None, loop="auto", hard: HardAttention | None = None, samples=None
):
    """Eqs. 1 to 6 over a batch of blocks, with attention over several levels. See `recurrent_blocks`, `levels`.

    Args:
      params: see `recurrent_blocks`. `location_softmax` and `levels` are as in `MultiLevelAttentionLSTM`.
      X: the blocks' feature cubes by level, the coarsest first, `<float>[B, T, K_v², D_v]`. Eq. 6 is of the first.
      scales: σ_v of each further level, by its name.
      masks, loop: see `recurrent_blocks`.
      glimpse: l_t on the cells of the first level, `<float>[B, T, K²]`. If given, the model reads that level alone.
      hard, samples: what is drawn, see `levels.drawn_weights`; the noise is `<float>[B, T, n]` for n locations in all.

    Returns:
      What `recurrent_blocks` does; the dict also has `attention`, l_t summed down to the first level's cells
      `<float>[B, T, K²]`, `levels`, m_t `<float>[B, T, V]`, and `locations`, l_t of each level `<float>[B, T, K_v²]`.
      Where places are drawn it has the outputs of `hard_attention.sampled_weights`, `glimpse` summed down, too.
    """
    dtype, first = params["lstm"][0]["kernel"].dtype, next(iter(X))
    slice_of, samples = looking_at_levels(hard, X, samples, glimpse)

    def look(weights, top_h, inputs_t):
        X_t, l_t, samples_t = inputs_t
        if l_t is None:
            of_levels = {level: weights["levels"][level] for level in scales}
            W = {first: weights["location_softmax"]["kernel"]}
            W |= {level: of_level["location_softmax"] for level, of_level in of_levels.items()}
            m, l = attend_levels(weights["levels"]["kernel"], W, top_h)
            P = {level: of_level["projection"] for level, of_level in of_levels.items()}
        else:
            m, l, P = jnp.zeros(1 + len(scales), l_t.dtype).at[0].set(1), {first: l_t}, {}
        x, named = slice_of(l, {level: X_t[level].astype(dtype) for level in l}, P, scales, samples_t)
        return x, {"levels": m, "locations": l, **named}

    if glimpse is not None:
        params = {name: value for name, value in params.items() if name not in ("location_softmax", "levels")}
    inputs = {level: InPlace(cubes) for level, cubes in X.items()}, glimpse, samples
    logits, out = recurrent_blocks(params, X[first], inputs, look, masks, loop)
    return logits, on_first_level(out, X)


class RecurrentClassifier(nn.Module):
    """Base of the attention model and the pooled baselines: parameters, dropout and batching.

    Attributes:
      num_classes: C.
      hidden_dim: d, of the LSTM's state and of the classifier's hidden layer.
      num_layers: LSTM layers, 1 to 5 in the paper's experiments.
      dropout: the rate on the non-recurrent connections.
      init_layers: layers of each perceptron of Eq. 6; those before the last are ReLU layers of width D.
      compute_dtype: "bfloat16" for matrix products and features in bfloat16, summed in float32; by default, and with
        "float32", products are in the type of the parameters. Parameters, softmaxes, states and results are float32
        (float64 for features in float64) in any case.
      time_loop: "auto", "plain" or "fast", see `attention_ar.loop`. The numbers are the same up to rounding.
    """

    per_frame: ClassVar[bool] = False
    """Whether the prediction at a step depends on that step's frame alone. It is then made once for blocks that share
    the frame, in training, too."""
    shares_frames: ClassVar[bool] = False
    """Whether it takes `SharedFrames` where it is evaluated. A subclass with `blocks` of its own must say so again, and
    gets arrays otherwise."""

    num_classes: int
    hidden_dim: int = 512
    num_layers: int = 3
    dropout: float = 0.5
    init_layers: int = 1
    compute_dtype: str | None = None
    time_loop: str = "auto"

    def __init_subclass__(cls, **options):
        if "blocks" in vars(cls) and "shares_frames" not in vars(cls):
            cls.shares_frames = False
        super().__init_subclass__(**options)

    def __post_init__(self):
        require_loop(self.time_loop)
        super().__post_init__()

    def blocks(self, params, X, masks, glimpse, samples):
        """Runs a batch of blocks, see `recurrent_blocks` and, for glimpse and samples, `soft_attention_blocks`."""
        raise NotImplementedError

    def first_level(self, x):
        """The feature cubes of which Eq. 6 takes the mean. Here they are all that there are, x."""
        return x

    def level_params(self, x, dtype) -> dict:
        """The parameters of further levels. Here there are none."""
        return {}

    @nn.compact
    def __call__(self, x, train: bool = False, example_index=None, glimpse=None, samples: Samples | None = None):
        """Predicts the class at every step of every block.

        Args:
          x: feature cubes, `<float>[B, T, K², D]`, of any float type; or `SharedFrames` of them, for a model that
            `shares_frames`.
          train: whether dropout acts; it needs `rngs={"dropout": key}`.
          example_index: the examples' indices in the global batch, `<int>[B]`, from which their dropout masks follow;
            by default 0 … B − 1. So a batch that is sharded over several devices keeps its masks.
          glimpse: for the attention model, l_t that takes the place of Eq. 4's, `<float>[B, T, K²]`, each row a
            distribution over the cells; by default Eq. 4 gives it.
          samples: for a `hard` attention model, what is drawn; by default its `glimpse_rule` says where it looks.

        Returns:
          Logits, `<float>[B, T, C]`, and a dict: `x` `<float>[B, T, D]`, `c` and `h` `<float>[B, T, num_layers, d]`,
          and for the attention model `attention` `<float>[B, T, K²]`. Where places are drawn it also has the outputs of
          `hard_attention.sampled_weights`: `glimpse` `<float>[B, T, K²]`, the share of each cell in x_t, and
          `log_probability` and `entropy` `<float>[B, T]`.

        Raises:
          InputError: where x has another rank, or glimpse or samples another shape, or the model does not take them.
        """
        first = self.first_level(x)
        if first.ndim != 4:
            raise InputError(f"features of shape {first.shape}: must be [B, T, K², D]")
        batch_size, num_steps, num_cells, input_dim = first.shape
        glimpse, dtype = checked_glimpse(glimpse, first), accumulator(first.dtype)
        params = self._params(num_cells, input_dim, dtype) | self.level_params(x, dtype)
        masks = None
        if train and self.dropout:
            index = jnp.arange(batch_size) if example_index is None else example_index
            keys = example_keys(self.make_rng("dropout"), index)
            masks = jax.vmap(
                lambda key: recurrent_masks(
                    key, self.dropout, num_steps, input_dim, self.hidden_dim, self.num_layers, self.init_layers
                )
            )(keys)
        return self.blocks(in_compute_dtype(params, self.compute_dtype), x, masks, glimpse, samples)

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
        }


class SoftAttentionLSTM(RecurrentClassifier):
    """The model of the paper, equations 1 to 6: a stacked LSTM that chooses at every step where to look.

    x_t is the expectation of the frame's feature slices under the location softmax, which the top layer's state of the
    step before gives. "Change an equation" in `attention_ar/README.md` shows how to try another location softmax.
    Example, two blocks of five frames of 7×7 cells:

        >>> import jax, jax.numpy as jnp
        >>> from attention_ar import SoftAttentionLSTM
        >>> model = SoftAttentionLSTM(num_classes=11, hidden_dim=8)
        >>> x = jnp.ones((2, 5, 49, 16))
        >>> params = model.init(jax.random.key(0), x)["params"]
        >>> logits, out = model.apply({"params": params}, x)
        >>> logits.shape, out["attention"].shape
        ((2, 5, 11), (2, 5, 49))

    Attributes:
      hard: what takes the place of Eq. 5, see `attention_ar.hard_attention`; None is Eq. 5, soft attention.
    """

    shares_frames: ClassVar[bool] = True

    hard: HardAttention | None = None

    def location_params(self, key, num_cells, input_dim, dtype):
        """Draws the parameters of `attend`: W of Eq. 4, `<float>[d, K²]`."""
        return {"kernel": initializers.matrix(key, self.hidden_dim, num_cells, dtype)}

    def visible(self, params, X):
        """The input of `attend` for all frames, computed at once before the loop. Here it is the features, X.

        Args:
          params: see `location_params`.
          X: feature cubes, `<float>[B, T, K², D]`.

        Returns:
          `<float>[B, T, ...]`.
        """
        return X

    def attend(self, params, h, X):
        """l_t for one block and one step. Eq. 4 does not use the features.

        Args:
          params: see `location_params`.
          h: h_{t-1} of the top layer, `<float>[d]`.
          X: `visible` of frame t, `<float>[K², D]`.

        Returns:
          `<float>[K²]`, which sums to 1.
        """
        return location_softmax(params["kernel"], h)

    def blocks(self, params, X, masks, glimpse, samples):
        # A subclass may mix frames there. Where nothing uses it, as in Eq. 4, XLA does not compute it.
        visible = self.visible(params["location_softmax"], whole(X)) if glimpse is None else None
        hard, samples = (None, None) if self.is_initializing() else (self.hard, samples)  # Parameters are the same.
        return soft_attention_blocks(params, X, self.attend, visible, masks, glimpse, self.time_loop, hard, samples)

    def _params(self, num_cells, input_dim, dtype):
        params = super()._params(num_cells, input_dim, dtype)
        location = self.param("location_softmax", self.location_params, num_cells, input_dim, dtype)
        return params | {"location_softmax": location}


class MultiLevelAttentionLSTM(SoftAttentionLSTM):
    """The paper's model with attention over feature cubes of several resolutions, see `attention_ar.levels`.

    With one level, or with m_t one-hot on the first, it is `SoftAttentionLSTM`. It is called with a dict of feature
    cubes, and its dict of results also has `levels`, m_t `<float>[B, T, V]`, and `locations`, l_t of each level
    `<float>[B, T, K_v²]`; `attention` is l_t summed down to the cells of the first level. A glimpse is on the cells of
    the first level, which is then all that the model reads. Example, 2×2 and 4×4 cells:

        >>> import jax, jax.numpy as jnp
        >>> from attention_ar import MultiLevelAttentionLSTM
        >>> levels = ("inception_5b", "inception_4e")
        >>> model = MultiLevelAttentionLSTM(num_classes=11, hidden_dim=8, levels=levels, level_scales=(0.5,))
        >>> x = {"inception_5b": jnp.ones((2, 5, 4, 16)), "inception_4e": jnp.ones((2, 5, 16, 6))}
        >>> params = model.init(jax.random.key(0), x)["params"]
        >>> logits, out = model.apply({"params": params}, x)
        >>> logits.shape, out["attention"].shape, out["levels"].shape, out["locations"]["inception_4e"].shape
        ((2, 5, 11), (2, 5, 4), (2, 5, 2), (2, 5, 16))

    Attributes:
      levels: names of the levels, the coarsest first.
      level_scales: σ_v of each level but the first.
    """

    shares_frames: ClassVar[bool] = True

    levels: tuple[str, ...] = ("inception_5b",)
    level_scales: tuple[float, ...] = ()

    def __post_init__(self):
        check_scales(self.levels, self.level_scales)
        super().__post_init__()

    def first_level(self, x):
        check_levels(self.levels, x)
        return x[self.levels[0]]

    def level_params(self, x, dtype) -> dict:
        """W_m, `<float>[d, V]`, and of each further level W_v, `<float>[d, K_v²]`, and P_v, `<float>[D_v, D]`."""
        input_dim = x[self.levels[0]].shape[3]

        def draw(key):
            key, *keys = jax.random.split(key, len(self.levels))
            kernel = initializers.matrix(key, self.hidden_dim, len(self.levels), dtype)
            return {"kernel": kernel} | {
                level: self._one_level(key, *x[level].shape[2:], input_dim, dtype)
                for key, level in zip(keys, self.levels[1:], strict=True)
            }

        return {"levels": self.param("levels", draw)}

    def _one_level(self, key, num_cells, num_maps, input_dim, dtype):
        W_key, P_key = jax.random.split(key)
        return {
            "location_softmax": initializers.matrix(W_key, self.hidden_dim, num_cells, dtype),
            "projection": initializers.matrix(P_key, num_maps, input_dim, dtype),
        }

    def blocks(self, params, X, masks, glimpse, samples):
        X = {level: X[level] for level in self.levels}
        scales = dict(zip(self.levels[1:], self.level_scales, strict=True))
        hard, samples = (None, None) if self.is_initializing() else (self.hard, samples)  # Parameters are the same.
        return multi_level_blocks(params, X, scales, masks, glimpse, self.time_loop, hard, samples)
