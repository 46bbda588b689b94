"""The models that a run can have. A new one is a class and an entry here; every program then accepts it."""

from collections.abc import Callable
from dataclasses import dataclass, fields

from flax import linen as nn

import attention_ar as ar
from attention_ar.errors import InputError
from attention_ar.hard_attention import HardAttention
from attention_ar.loss import PaperObjective
from attention_ar.released import ReleasedObjective
from experiments.runs import flops


@dataclass(frozen=True)
class Model:
    """One model.

    Attributes:
      name: as `--model` and `config.json` have it.
      title: for tables, reports and the quickstart.
      module: the class of the Flax module. Attributes that have a flag's name get that flag's value.
      products: a function of a `RunConfig` and the shapes of the features, see `flops`. Without one, `benchmark` and
        `compile_for` print no share of the product rate.
      options: a function of a `RunConfig` that returns the module's other attributes.
      translated: the flags that `options` reads.
      objective: the class of what it is trained for.
      sums_over_batch: whether that is a sum over the batch, as the released program's cost is, and not a mean.
      has_attention: whether it has a location softmax.
    """

    name: str
    title: str
    module: type[nn.Module]
    products: Callable[..., flops.Products | None] = lambda config, shapes: None
    options: Callable[..., dict] = lambda config: {}
    translated: tuple[str, ...] = ()
    objective: type = PaperObjective
    sums_over_batch: bool = False
    has_attention: bool = False

    @property
    def flags(self) -> set[str]:
        """A superset of the flags of model and objective that have an effect."""
        looking = {"attention_penalty", *OF_ATTENTION} if self.has_attention else set()
        return {f.name for f in fields(self.module)} | {*self.translated, "weight_decay", "class_weights"} | looking

    def build(self, config, num_classes: int, multi_label: bool) -> nn.Module:
        """Returns the Flax module for a `RunConfig`, C, and whether a clip may have several labels."""
        values = vars(config.model) | vars(config.released) | vars(config.runtime) | {"multi_label": multi_label}
        same = {f.name: values[f.name] for f in fields(self.module) if f.name in values}
        if self.has_attention:
            same["hard"] = hard_attention(config.attention)
        return self.module(num_classes, **same, **self.options(config))


OF_HARD_ATTENTION = ("estimator", "num_samples", "entropy_weight", "soft_probability", "glimpse_rule")
OF_ATTENTION = ("attention", "window", *OF_HARD_ATTENTION)
"""The flags of `AttentionConfig` that are about where a model looks."""


def hard_attention(attention) -> HardAttention | None:
    """Returns the models' `hard` of an `AttentionConfig`."""
    if attention.attention == "soft":
        return None
    window = attention.window if attention.attention == "window" else 0
    return HardAttention(window, attention.estimator, attention.glimpse_rule)


def describe_looking(config) -> str:
    """Returns for example "window, r = 1, glimpse rule sample"; "" for a `RunConfig` without hard attention."""
    attention = config.attention
    if not MODELS[config.model.model].has_attention or attention.attention == "soft":
        return ""
    window = f", r = {attention.window}" if attention.attention == "window" else ""
    return f"{attention.attention}{window}, glimpse rule {attention.glimpse_rule}"


def _released_options(config) -> dict:
    dropout = config.model.dropout
    if dropout not in (0, 0.5):
        raise InputError(f"dropout={dropout:g}: the released model has only 0 and 0.5")
    return {"n_layers_init": config.model.init_layers, "use_dropout": dropout > 0}


_ALL = (
    Model("softmax_regression", "softmax regression", ar.SoftmaxRegression, flops.regression),
    Model("average_pool", "average-pooled LSTM", ar.PooledLSTM, flops.pooled, lambda config: {"pool": "mean"}),
    Model("max_pool", "max-pooled LSTM", ar.PooledLSTM, flops.pooled, lambda config: {"pool": "max"}),
    Model("soft_attention", "soft attention", ar.SoftAttentionLSTM, flops.soft_attention, has_attention=True),
    Model(
        *("released", "released", ar.ReleasedAttentionLSTM, flops.released, _released_options),
        translated=("init_layers", "dropout"),
        objective=ReleasedObjective,
        sums_over_batch=True,
        has_attention=True,
    ),
)
MODELS = {model.name: model for model in _ALL}
"""By name, in the order of Table 1."""

WITH_ATTENTION = " or ".join(model.name for model in _ALL if model.has_attention)
