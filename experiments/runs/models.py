"""The models that a run can have. A new one is a class and an entry here: every program then knows it."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import attention_ar as ar
from attention_ar.errors import InputError
from attention_ar.loss import PaperObjective
from attention_ar.released import ReleasedObjective
from experiments.runs import flops


@dataclass(frozen=True)
class Model:
    """One model.

    Attributes:
      name: as `--model` and `config.json` have it.
      title: for tables, reports and the quickstart.
      build: a function of a `RunConfig`, C and whether a clip may have several labels; returns the Flax module.
      flags: has all fields of `ModelConfig`, `ReleasedConfig` and `ObjectiveConfig` that have an effect on it.
      products: a function of a `RunConfig` and the shapes of the features, see `flops`.
      objective: the class of what it is trained for.
      sums_over_batch: whether that is a sum over the batch, as the released program's cost is, and not a mean.
      has_attention: whether it has a location softmax.
    """

    name: str
    title: str
    build: Callable
    flags: frozenset[str]
    products: Callable[..., flops.Products | None]
    objective: type = PaperObjective
    sums_over_batch: bool = False
    has_attention: bool = False


def _from_flags(module_class, **more):
    """Returns a `Model.build` for a class whose attributes are flags of the same names."""

    def build(config, num_classes: int, multi_label: bool):
        return module_class(num_classes, **_same_names(module_class, config), **more)

    return build


def _same_names(module_class, config) -> dict:
    """Returns the attributes of a class that are fields of `ModelConfig` or `RuntimeConfig`."""
    values = vars(config.model) | vars(config.runtime)
    return {f.name: values[f.name] for f in fields(module_class) if f.name in values}


def _build_released(config, num_classes: int, multi_label: bool):
    m = config.model
    if m.dropout not in (0, 0.5):
        raise InputError(f"dropout={m.dropout:g}: the released model knows 0 and 0.5 only")
    return ar.ReleasedAttentionLSTM(
        num_classes,
        n_layers_init=m.init_layers,
        use_dropout=m.dropout > 0,
        multi_label=multi_label,
        **_same_names(ar.ReleasedAttentionLSTM, config),
        **vars(config.released),
    )


def _attributes(module_class) -> frozenset[str]:
    return frozenset(f.name for f in fields(module_class))


MODELS = {
    model.name: model
    for model in (
        Model(
            "softmax_regression",
            "softmax regression",
            _from_flags(ar.SoftmaxRegression),
            _attributes(ar.SoftmaxRegression) | {"weight_decay"},
            flops.regression,
        ),
        Model(
            "average_pool",
            "average-pooled LSTM",
            _from_flags(ar.PooledLSTM, pool="mean"),
            _attributes(ar.PooledLSTM) | {"weight_decay"},
            flops.pooled,
        ),
        Model(
            "max_pool",
            "max-pooled LSTM",
            _from_flags(ar.PooledLSTM, pool="max"),
            _attributes(ar.PooledLSTM) | {"weight_decay"},
            flops.pooled,
        ),
        Model(
            "soft_attention",
            "soft attention",
            _from_flags(ar.SoftAttentionLSTM),
            _attributes(ar.SoftAttentionLSTM) | {"weight_decay", "attention_penalty"},
            flops.soft_attention,
            has_attention=True,
        ),
        Model(
            "released",
            "released",
            _build_released,
            _attributes(ar.ReleasedAttentionLSTM) | {"init_layers", "dropout", "weight_decay", "attention_penalty"},
            flops.released,
            objective=ReleasedObjective,
            sums_over_batch=True,
            has_attention=True,
        ),
    )
}
"""By name, in the order of Table 1."""

WITH_ATTENTION = " or ".join(model.name for model in MODELS.values() if model.has_attention)
