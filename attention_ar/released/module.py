"""The released model as a Flax module, called like the paper's."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from attention_ar.attention import checked_glimpse
from attention_ar.dropout import example_keys, random_bits
from attention_ar.errors import InputError
from attention_ar.hard_attention import HardAttention, Samples
from attention_ar.levels import check_levels, check_scales
from attention_ar.loop import require_loop
from attention_ar.products import accumulator, in_compute_dtype
from attention_ar.released import evaluation, layout
from attention_ar.released.model import KEEP, dropout_masks, run_blocks


class ReleasedAttentionLSTM(nn.Module):
    """The model of the authors' released program. Its defaults are those of their UCF-11 script.

    Differs from `SoftAttentionLSTM`, which is the paper's: one LSTM layer; the location softmax is a
    perceptron over the features of the frame and h_{t-1}; dropout is not inverted and does not act on x_t. See
    `released.model` for the equations. Example:

        >>> import jax, jax.numpy as jnp
        >>> from attention_ar import ReleasedAttentionLSTM
        >>> model, x = ReleasedAttentionLSTM(num_classes=11, hidden_dim=8, dim_out=8), jnp.ones((2, 5, 49, 16))
        >>> params = model.init(jax.random.key(0), x)["params"]
        >>> logits, out = model.apply({"params": params}, x)
        >>> logits.shape, out["attention"].shape, out["prediction"].shape
        ((2, 5, 11), (2, 5, 49), (2,))

    Attributes:
      num_classes: C, the authors' `n_actions`.
      hidden_dim: d, of the LSTM's state, the authors' `dim`.
      dim_out: width of the classifier's hidden layers.
      n_layers_att: affine maps of each cell before the state's term is added, at least 1.
      n_layers_out: layers of the classifier after the tanh layer; those before the last are ReLU layers of
          width `dim_out`.
      n_layers_init: layers of the first state; those before the last are ReLU layers of width D.
      ctx2out: whether the classifier also sees the attended input x_t.
      selector: whether a gate, a function of h_{t-1}, scales x_t.
      temperature_inverse: the factor on the scores under the location softmax; above 1 sharpens it.
      use_dropout: whether half of the units is dropped in training, and all of them count half at test time.
      last_n: the steps at the block's end from which its prediction is made (30 for UCF-11, 16 for the other
          sets).
      multi_label: whether a clip may have several labels: one sigmoid a class instead of one softmax.
      compute_dtype, time_loop, hard: see `SoftAttentionLSTM`.
      levels, level_scales: see `MultiLevelAttentionLSTM`; by default there is one level, which needs no name.
    """

    per_frame: ClassVar[bool] = False
    shares_frames: ClassVar[bool] = True

    num_classes: int
    hidden_dim: int = 512
    dim_out: int = 512
    n_layers_att: int = 1
    n_layers_out: int = 1
    n_layers_init: int = 1
    ctx2out: bool = False
    selector: bool = False
    temperature_inverse: float = 1
    use_dropout: bool = True
    last_n: int = 30
    multi_label: bool = False
    compute_dtype: str | None = None
    time_loop: str = "auto"
    hard: HardAttention | None = None
    levels: tuple[str, ...] = ()
    level_scales: tuple[float, ...] = ()

    def __post_init__(self):
        require_loop(self.time_loop)
        if self.levels:
            check_scales(self.levels, self.level_scales)
        sizes = "num_classes", "hidden_dim", "dim_out", "n_layers_att", "n_layers_out", "n_layers_init", "last_n"
        for name in sizes:
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)}: must be 1 or greater")
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        x,
        train: bool = False,
        example_index=None,
        mask=None,
        dropout_masks=None,
        glimpse=None,
        samples: Samples | None = None,
    ):
        """Predicts the class at every step of every block.

        Args:
          x: feature cubes, `<float>[B, T, K², D]`, or `SharedFrames` of them.
          train: whether dropout drops; it needs `rngs={"dropout": key}` unless `dropout_masks` are given.
          example_index: the examples' indices in the global batch, `<int>[B]`, from which their dropout masks
            follow; by default 0 … B − 1. So a batch that is sharded over several devices keeps its masks.
          mask: 1, or 0 at the steps that leave the state as it is, `<float>[B, T]`; by default all 1.
          dropout_masks: dropout's factors, as `released.model.dropout_masks` makes them, every array
            with a leading B; for replaying a recorded run.
          glimpse: l_t in place of the location softmax's, see `SoftAttentionLSTM`.
          samples: what is drawn, see `SoftAttentionLSTM`, as are the outputs that come of it.

        Returns:
          Logits, `<float>[B, T, C]`, and a dict: `attention` `<float>[B, T, K²]`; the attended input `x`
          `<float>[B, T, D]`; `c` and `h` `<float>[B, T, d]`; the first state `first_c` and `first_h`
          `<float>[B, d]`; `selector` `<float>[B, T]` where there is one; and `prediction`, see
          `released.evaluation.block_predictions`.

        Raises:
          InputError: where x, the mask, the glimpse or the samples have another rank or shape.
        """
        if self.levels:
            check_levels(self.levels, x)
            x = {level: x[level] for level in self.levels}
        first = x[self.levels[0]] if self.levels else x
        if first.ndim != 4:
            raise InputError(f"features of shape {first.shape}: must be [B, T, K², D]")
        batch_size, num_steps, _, num_maps = first.shape
        dtype = accumulator(first.dtype)
        mask = jnp.ones((batch_size, num_steps), dtype) if mask is None else mask
        if mask.shape != (batch_size, num_steps):
            raise InputError(f"mask of shape {mask.shape}: must be [B, T], here {[batch_size, num_steps]}")
        glimpse = checked_glimpse(glimpse, first)
        shapes = layout.shapes(num_maps, self.hidden_dim, self.dim_out, self.num_classes, **self.structure())
        params = {
            name: self.param(name, layout.initial, name, shape, dtype)  # the key comes first
            for name, shape in shapes.items()
        }
        if self.levels:
            params["levels"] = self.param("levels", self._draw_levels, x, dtype)
        masks, masks_axis = self._masks(first, train, example_index, dropout_masks)
        params = in_compute_dtype(params, self.compute_dtype)
        hard, samples = (None, None) if self.is_initializing() else (self.hard, samples)  # Parameters are the same.
        logits, out = run_blocks(
            *(params, x, mask, masks, masks_axis, self.temperature_inverse, glimpse, self.time_loop, hard, samples),
            scales=dict(zip(self.levels[1:], self.level_scales, strict=True)),
        )
        out["prediction"] = evaluation.block_predictions(logits, self.last_n, self.multi_label)
        return logits, out

    def _draw_levels(self, key, x, dtype) -> dict:
        """Draws W_m, `<float>[d, V]`, and of each further level P_v and what the first level's location softmax has."""
        D = x[self.levels[0]].shape[3]
        named = layout.shapes(D, self.hidden_dim, self.dim_out, self.num_classes, **self.structure())
        looking = {name: shape for name, shape in named.items() if name.startswith("decoder_") and "_att" in name}
        looking["decoder_c_tt"] = named["decoder_c_tt"]

        def one(key, num_maps):
            shapes = looking | {"decoder_Wc_att": (num_maps, D), "projection": (num_maps, D)}
            keys = jax.random.split(key, len(shapes))
            return {
                name: layout.initial(k, name, shape, dtype)
                for k, (name, shape) in zip(keys, shapes.items(), strict=True)
            }

        key, *keys = jax.random.split(key, len(self.levels))
        kernel = layout.initial(key, "levels", (self.hidden_dim, len(self.levels)), dtype)
        further = zip(keys, self.levels[1:], strict=True)
        return {"kernel": kernel, **{level: one(key, x[level].shape[3]) for key, level in further}}

    def structure(self) -> dict:
        """Returns the options on which the set of parameters depends, see `layout.axes`."""
        names = ("n_layers_att", "n_layers_out", "n_layers_init", "ctx2out", "selector")
        return {name: getattr(self, name) for name in names}

    def _masks(self, x, train, example_index, given):
        """Returns the factors of dropout, and which of their axes counts the examples, None if none does."""
        batch_size, num_steps, _, num_maps = x.shape
        dtype = accumulator(x.dtype)
        sizes = (num_steps, num_maps, self.hidden_dim, self.dim_out, self.n_layers_init, self.n_layers_out)
        if given is not None:
            return given, 0
        if not (self.use_dropout and train):
            return dropout_masks(lambda _: KEEP if self.use_dropout else None, *sizes), None
        index = jnp.arange(batch_size) if example_index is None else example_index

        def draw_all(key):
            keys = iter(jax.random.split(key, self.n_layers_init + self.n_layers_out))
            return dropout_masks(lambda shape: random_bits(next(keys), KEEP, shape).astype(dtype), *sizes)

        return jax.vmap(draw_all)(example_keys(self.make_rng("dropout"), index)), 0
