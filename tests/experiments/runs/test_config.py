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
from experiments.first_steps.synthetic_clips import Sizes
from experiments.runs import config
from experiments.runs.build import build_model
from experiments.runs.split import split_of_run

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
    for part, name in (("data", "split_seed"), ("data", "fold"), ("model", "compute_dtype"), ("model", "dropout")):
        del old[part][name]
    del old["runtime"], old["objective"]
    write_json(tmp_path / "config.json", old)
    assert config.read_config(tmp_path) == parsed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"droput": 0.5}}, r"model has unknown entries \['droput'\]; was it made by a newer version\?"),
        ({"modell": {}}, r"unknown entries \['modell'\]"),
        ({"model": {"model": "hard"}}, "model is 'hard'; must be one of softmax_regression, average_pool, max_pool,"),
        ({"model": [1]}, r"model is \[1\]; must be entries, by name"),
        ({"data": {"stride": 2.5}}, "stride is 2.5; must be of type int"),
        ({"released": {"selector": 1}}, "selector is 1; must be of type bool"),
        ({"data": {}}, "names no features file; --workdir must name a trained run"),
    ],
)
def test_configurations_that_are_none(changes, message, tmp_path):
    write_json(tmp_path / "config.json", {"data": {"features": "f.h5"}, **changes})
    with pytest.raises(InputError, match=message):
        config.read_config(tmp_path)


class File:
    """36 clips of three classes in groups of three, one of each class; the last two groups are test."""

    labels = np.eye(3, dtype=np.uint8)[np.arange(36) % 3]
    groups = [f"g{n // 3}" for n in range(36)]  # noqa: RUF012
    splits = ["test" if n >= 30 else "train" for n in range(36)]  # noqa: RUF012
    source, mirrored = np.arange(36), np.zeros(36, bool)


def held_out(**flags) -> list[int]:
    splits = split_of_run(File, config.with_flags(config.RunConfig(), validation_fraction=0.25, **flags))
    assert [n for n, split in enumerate(splits) if split == "test"] == list(range(30, 36))
    return [n for n, split in enumerate(splits) if split == "validation"]


def test_without_a_seed_of_its_own_the_held_out_share_follows_the_runs_seed():
    """As it always was: the clips are what older versions drew."""
    assert held_out(seed=0) == [12, 13, 14, 18, 19, 20]
    assert held_out(seed=1) == [12, 13, 14, 24, 25, 26]
    assert held_out(seed=2) == [0, 1, 2, 6, 7, 8]


def test_the_split_seed_alone_draws_the_held_out_share():
    assert [held_out(seed=seed, split_seed=3) for seed in range(3)] == [[18, 19, 20, 27, 28, 29]] * 3
    assert held_out(seed=3, split_seed=0) == [12, 13, 14, 18, 19, 20]


@pytest.mark.parametrize(
    "flag", ["--attention_penalty=-1", "--batch_size=0", "--dropout=1.5", "--model=hard_attention", "--stride=x"]
)
def test_values_out_of_bounds_are_refused(flag):
    with pytest.raises(flags.IllegalFlagValueError, match=flag.split("=")[0].strip("-")):
        parse(flag)


def test_released_dropout_is_all_or_nothing():
    assert not build_model(parse("--model=released", "--dropout=0"), 3, False).use_dropout
    with pytest.raises(InputError, match=r"dropout=0\.3: the released model has only 0 and 0\.5"):
        build_model(parse("--model=released", "--dropout=0.3"), 3, False)


def test_quickstart_config_is_what_the_quickstart_does():
    parsed = parse(f"--flagfile={next(path for path in CONFIGS if path.stem == 'quickstart')}")
    sizes = Sizes()
    assert parsed.training == sizes.training
    assert parsed.data == config.DataConfig(features="f.h5", **sizes.data)
    assert parsed.model == config.ModelConfig(**sizes.model)
