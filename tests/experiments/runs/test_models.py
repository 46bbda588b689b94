"""The registry: which model is built, which flags it heeds, and who knows it."""

import dataclasses

import jax
import numpy as np
import pytest
from absl import flags

from experiments.benchmarks.settings import Settings
from experiments.runs.build import build_model, build_objective
from experiments.runs.config import RunConfig, define_run_flags, with_flags
from experiments.runs.flag_effects import without_effect
from experiments.runs.models import MODELS
from experiments.tables.comparison import ROWS

OTHER = {
    "hidden_dim": 8,
    "num_layers": 2,
    "dropout": 0.0,
    "init_layers": 2,
    "compute_dtype": "bfloat16",
    "dim_out": 8,
    "n_layers_att": 2,
    "n_layers_out": 2,
    "ctx2out": True,
    "selector": True,
    "temperature_inverse": 2.0,
    "attention_penalty": 1.0,
    "weight_decay": 0.0,
}


def test_every_model_is_known_to_flags_tables_and_benchmarks():
    names = ["softmax_regression", "average_pool", "max_pool", "soft_attention", "released"]
    assert list(MODELS) == names == [model.name for model in MODELS.values()]
    values = flags.FlagValues()
    define_run_flags(values)
    assert values["model"].parser.enum_values == names
    assert {f.name: f for f in dataclasses.fields(Settings)}["model"].metadata["choices"] == names
    assert list(dict.fromkeys(row.model for row in ROWS.values() if row.model)) == names
    assert list(ROWS)[3:6] == ["attention_0", "attention_1", "attention_10"]
    assert [ROWS[f"attention_{penalty}"].attention_penalty for penalty in (0, 1, 10)] == [0, 1, 10]


@pytest.mark.parametrize("name", MODELS)
def test_a_flag_without_effect_changes_nothing_that_is_built(name):
    config = with_flags(RunConfig(), model=name)
    for flag, value in OTHER.items():
        other = with_flags(config, **{flag: value})
        same_module = build_model(config, 3, False) == build_model(other, 3, False)
        same_objective = build_objective(config, False) == build_objective(other, False)
        if flag in without_effect(config):
            # Without attention there is nothing that the penalty could be of.
            assert same_module and (same_objective or flag == "attention_penalty"), flag
        else:
            assert not (same_module and same_objective), flag


@pytest.mark.parametrize("name", MODELS)
def test_attention_is_there_where_the_registry_says(name):
    config = with_flags(RunConfig(), model=name, hidden_dim=4, dim_out=4)
    x = jax.ShapeDtypeStruct((1, 2, 4, 3), np.float32)
    module = build_model(config, 3, False)
    _, out = jax.eval_shape(module.apply, jax.eval_shape(module.init, jax.random.key(0), x), x)
    assert ("attention" in out) == MODELS[name].has_attention
