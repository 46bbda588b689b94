"""Builds the model, objective and optimiser that a configuration names."""

import math

import ml_dtypes
import numpy as np

from attention_ar import released
from attention_ar.errors import InputError
from attention_ar.loss import balanced_class_weights
from attention_ar.training.optimizers import adam
from attention_ar.training.sampling import Sampling, first_baseline
from experiments.runs.config import ModelConfig, RunConfig, TrainingConfig
from experiments.runs.models import MODELS


def build_model(config: RunConfig, num_classes: int, multi_label: bool):
    """Returns the Flax module that the configuration names."""
    return MODELS[config.model.model].build(config, num_classes, multi_label)


def feature_dtype(config: ModelConfig) -> np.dtype:
    """Returns the dtype of a model's input features."""
    return np.dtype(ml_dtypes.bfloat16 if config.compute_dtype == "bfloat16" else np.float32)


def build_objective(config: RunConfig, multi_label: bool, labels=None):
    """Returns the objective of the configured model: Eq. 7, or the released program's cost.

    Args:
      config: of the run.
      multi_label: whether a clip may have several labels.
      labels: of all training blocks, `[N, C]`, for balanced class weights; without them, every class has weight 1.
        The weights are of the training loss alone: evaluation needs none.

    Raises:
      InputError: for class weights where clips may have several labels.
    """
    objective = MODELS[config.model.model].objective
    weights = ()
    if labels is not None and config.objective.class_weights == "balanced":
        if multi_label:
            raise InputError(
                "class_weights=balanced: needs clips with one label each, and these may have several; leave it out"
            )
        weights = balanced_class_weights(labels)
    return objective(config.objective.attention_penalty, config.objective.weight_decay, multi_label, weights)


def build_sampling(config: RunConfig, num_blocks: int) -> Sampling | None:
    """Returns how a model with hard attention is trained on a number of blocks; None for other models."""
    attention = config.attention
    if not MODELS[config.model.model].has_attention or attention.attention == "soft":
        return None
    return Sampling(
        attention.num_samples,
        attention.entropy_weight,
        attention.soft_probability,
        num_updates=config.training.epochs * math.ceil(num_blocks / config.training.batch_size),
    )


def build_baseline(model, objective, sampling: Sampling | None, num_steps: int):
    """Returns the `baseline` of the first `TrainState`."""
    if sampling is None or not sampling.has_baseline(model):
        return None
    return first_baseline(objective, num_steps, model.num_classes)


def build_optimizer(config: TrainingConfig):
    """Returns the optax.GradientTransformation that the configuration names."""
    if config.optimizer == "adam":
        return adam(config.learning_rate)
    return released.OPTIMIZERS[config.optimizer.removeprefix("released_")](config.learning_rate)
