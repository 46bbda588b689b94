"""Flags, the dataclasses that they fill, and the flag files."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from absl import flags

import attention_ar as ar
import experiments
from attention_ar.errors import InputError
from data_prep.common.files import write_json
from experiments.runs import config
from experiments.runs.build import build_model
from experiments.runs.quickstart import Sizes
from experiments.tables.trials import lasting_flags

CONFIGS = sorted((Path(experiments.__file__).parent / "configs").glob("*.cfg"))


def parse(*arguments) -> config.RunConfig:
    values = flags.FlagValues()
    config.define_run_flags(values)
    values(["train", "--features=f.h5", *flags.FlagValues().read_flags_from_files(arguments)])
    return config.from_flags(config.RunConfig, values)


def test_every_agreed_config_is_there():
    expected = {"ucf11", "hmdb51", "hollywood2", "ucf101", "folder", "quickstart"}
    expected |= {"released_ucf11", "released_hmdb51", "released_hollywood2"}
    assert {path.stem for path in CONFIGS} == expected


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs_are_understood_and_have_an_identity_card(path):
    parsed = parse(f"--flagfile={path}")
    model = build_model(parsed, num_classes=11, multi_label=False)
    assert isinstance(model, ar.ReleasedAttentionLSTM if "released" in path.stem else ar.SoftAttentionLSTM)
    text = path.read_text()
    assert "# Reproduces:" in text
    assert f"configs/{path.name}" in text


def test_paper_configs_have_the_papers_values():
    by_name = {path.stem: parse(f"--flagfile={path}") for path in CONFIGS}
    for name, hidden_dim in (("ucf11", 512), ("hmdb51", 1024), ("hollywood2", 512)):
        c = by_name[name]
        assert (c.model.hidden_dim, c.model.num_layers, c.model.dropout) == (hidden_dim, 3, 0.5)
        assert (c.data.num_steps, c.data.fps, c.data.stride) == (30, 30, 1)
        assert (c.objective.attention_penalty, c.objective.weight_decay, c.training.epochs) == (0, 1e-5, 15)
    assert by_name["released_hmdb51"].released.last_n == 16
    assert by_name["released_hmdb51"].training.learning_rate == 1e-5
    assert by_name["released_hollywood2"].training.learning_rate == 1e-4


def test_flags_fill_the_dataclasses_and_survive_json(tmp_path):
    parsed = parse("--attention_penalty=10", "--num_layers=2", "--selector", "--stride=7")
    assert parsed.objective.attention_penalty == 10
    assert parsed.model.num_layers == 2
    assert parsed.released.selector
    assert parsed.data == dataclasses.replace(config.DataConfig(), features="f.h5", stride=7)
    write_json(tmp_path / "config.json", dataclasses.asdict(parsed))
    assert config.read_config(tmp_path) == parsed
    assert json.loads((tmp_path / "config.json").read_text())["model"]["num_layers"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_runs_of_older_versions_are_understood(tmp_path):
    parsed = parse("--num_layers=2")
    old = dataclasses.asdict(parsed)
    for part, name in (("data", "folds"), ("data", "fold"), ("model", "compute_dtype"), ("training", "stop_at_cost")):
        del old[part][name]
    del old["runtime"]
    write_json(tmp_path / "config.json", old)
    assert config.read_config(tmp_path) == parsed
    del old["model"]["dropout"]
    write_json(tmp_path / "config.json", old)
    with pytest.raises(InputError, match=r"model has wrong or missing entries: \['dropout'\]"):
        config.read_config(tmp_path)
    # Nor is a cell of theirs another one.
    assert not {"folds", "fold", "stop_at_cost", "compute_dtype"} & set(lasting_flags(parsed))
    assert lasting_flags(parse("--folds=3", "--stop_at_cost=2"))["folds"] == 3


def test_what_is_held_out():
    class File:
        labels = np.eye(2, dtype=np.uint8)[[0, 1] * 4]
        groups = list("aabbccdd")  # noqa: RUF012
        splits = ["train"] * 4 + ["validation"] * 2 + ["test"] * 2

    def hold_out(**changes):
        return config.DataConfig(**changes).hold_out(File, seed=0)

    assert hold_out() == File.splits
    assert hold_out(validation_fraction=0) == ["train"] * 6 + ["test"] * 2
    folds = [hold_out(folds=3, fold=fold, validation_fraction=0) for fold in range(3)]
    assert sorted(cut.index("validation") for cut in folds) == [0, 2, 4]
    assert all(cut[6:] == ["test", "test"] and cut.count("validation") == 2 for cut in folds)
    with pytest.raises(InputError, match="fold=1: of how many"):
        hold_out(fold=1)


@pytest.mark.parametrize(
    "flag", ["--attention_penalty=-1", "--batch_size=0", "--dropout=1.5", "--model=hard_attention", "--stride=x"]
)
def test_values_out_of_bounds_are_refused(flag):
    with pytest.raises(flags.IllegalFlagValueError, match=flag.split("=")[0].strip("-")):
        parse(flag)


def test_released_dropout_is_all_or_nothing():
    assert not build_model(parse("--model=released", "--dropout=0"), 3, False).use_dropout
    with pytest.raises(InputError, match=r"dropout=0\.3: the released model knows 0 and 0\.5 only"):
        build_model(parse("--model=released", "--dropout=0.3"), 3, False)


def test_quickstart_config_is_what_the_quickstart_does():
    parsed = parse(f"--flagfile={next(path for path in CONFIGS if path.stem == 'quickstart')}")
    sizes = Sizes()
    assert parsed.training == sizes.training
    assert parsed.data == config.DataConfig(features="f.h5", **sizes.data)
    assert parsed.model == config.ModelConfig(**sizes.model)
