"""From a configuration to what it names: model, objective, optimiser."""

import dataclasses

import ml_dtypes
import numpy as np

import attention_ar as ar
from attention_ar import released
from attention_ar.errors import InputError
from attention_ar.loss import PaperObjective
from attention_ar.training.optimizers import adam
from experiments.runs.config import ModelConfig, RunConfig, TrainingConfig


def build_model(config: RunConfig, num_classes: int, multi_label: bool):
    """Returns the Flax module that the configuration names."""
    m, r = config.model, config.released
    if m.model == "softmax_regression":
        return ar.SoftmaxRegression(num_classes, compute_dtype=m.compute_dtype)
    if m.model == "released":
        if m.dropout not in (0, 0.5):
            raise InputError(f"dropout={m.dropout:g}: the released model knows 0 and 0.5 only")
        return ar.ReleasedAttentionLSTM(
            num_classes,
            hidden_dim=m.hidden_dim,
            n_layers_init=m.init_layers,
            use_dropout=m.dropout > 0,
            multi_label=multi_label,
            compute_dtype=m.compute_dtype,
            time_loop=config.runtime.time_loop,
            **dataclasses.asdict(r),
        )
    sizes = dataclasses.asdict(m) | {"time_loop": config.runtime.time_loop}
    name = sizes.pop("model")
    if name == "soft_attention":
        return ar.SoftAttentionLSTM(num_classes, **sizes)
    return ar.PooledLSTM(num_classes, **sizes, pool={"average_pool": "mean", "max_pool": "max"}[name])


def feature_dtype(config: ModelConfig) -> np.dtype:
    """Returns the type in which a model wants its features."""
    return np.dtype(ml_dtypes.bfloat16 if config.compute_dtype == "bfloat16" else np.float32)


def build_objective(config: RunConfig, multi_label: bool):
    """Returns what the configured model is trained for: Eq. 7, or the released program's cost."""
    objective = released.ReleasedObjective if config.model.model == "released" else PaperObjective
    return objective(config.objective.attention_penalty, config.objective.weight_decay, multi_label)


def build_optimizer(config: TrainingConfig):
    """Returns the optax.GradientTransformation that the configuration names."""
    if config.optimizer == "adam":
        return adam(config.learning_rate)
    return released.OPTIMIZERS[config.optimizer.removeprefix("released_")](config.learning_rate)
