"""Sweeps: grids, folds inside the training part, tables that follow from the runs, and the author's own protocol."""

import csv
import json
import math

import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.features.opening import open_features
from experiments.runs import trained
from experiments.runs.autosave import Stopped
from experiments.runs.config import DataConfig, ModelConfig, RunConfig, RuntimeConfig, TrainingConfig, with_flags
from experiments.runs.metrics_log import read_metrics
from experiments.runs.split import choose_videos
from experiments.runs.training import train
from experiments.tables import trials
from experiments.tables.cross_validation import t_interval
from experiments.tables.grid import parse_grid, point_name, points
from experiments.tables.retraining import Retraining, retrain_to_cost
from experiments.tables.sweep_table import sweep


def regression(features, **training) -> RunConfig:
    """The fastest of the models."""
    return RunConfig(
        DataConfig(str(features), num_steps=4, fps=10.0),
        ModelConfig("softmax_regression"),
        training=TrainingConfig(**{"batch_size": 8, "epochs": 3, "learning_rate": 0.05, **training}),
        runtime=RuntimeConfig("jit"),
    )


# --- Grids ------------------------------------------------------------------------------------------------------------


def test_a_grid_is_read_as_the_flags_are():
    grid = parse_grid(["num_layers=1,2", "attention_penalty=0,1e1", "selector=true,false", "model=released"])
    assert grid == {
        "num_layers": [1, 2],
        "attention_penalty": [0.0, 10.0],
        "selector": [True, False],
        "model": ["released"],
    }
    assert [list(point.values()) for point in points({"a": [1, 2], "b": [3, 4]})] == [[1, 3], [1, 4], [2, 3], [2, 4]]
    assert points({}) == [{}]
    assert point_name({"num_layers": 2, "attention_penalty": 10.0}) == "num_layers=2,attention_penalty=10"
    config = with_flags(RunConfig(), num_layers=2, attention_penalty=10.0, fps=6.0)
    assert (config.model.num_layers, config.objective.attention_penalty, config.data.fps) == (2, 10.0, 6.0)


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        (["layers=1"], "--grid=layers=1: must be name=value,value,… with one of attention, attention_penalty,"),
        (["num_layers"], "--grid=num_layers: must be name=value"),
        (["features=a,b"], "must be name=value"),
        (["seed=1,2"], "must be name=value"),
        (["parallel=jit"], "must be name=value"),
        (["num_layers=1,0"], "num_layers=0: 0 is not a positive integer"),
        (["num_layers=1,"], "num_layers=: "),
        (["dropout=1.5"], "dropout=1.5: 1.5 is not a number in the range"),
        (["model=hard"], "model=hard: value should be one of"),
        (["attention_penalty=1,1.0"], "attention_penalty=1.0 is given twice"),
        (["fps=6", "fps=30"], "fps is given twice"),
        (["attention_penalty=0,nan"], "attention_penalty=nan: must be a finite number"),
        (["attention_penalty=inf"], "attention_penalty=inf: must be a finite number"),
        (["fps=30,-inf"], "fps=-inf: must be a finite number"),
    ],
)
def test_grids_that_are_none(texts, complaint):
    with pytest.raises(InputError) as error:
        parse_grid(texts)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


# --- The table --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workdir(tiny_features, tmp_path_factory):
    """Work folder of a sweep over two points, two folds; stopped in its third run, and resumed."""
    folder = tmp_path_factory.mktemp("sweep")
    arguments = folder, regression(tiny_features), {"stride": [1, 2]}, 2, 1
    begun = []

    def counted(config, workdir, notes):
        begun.append(workdir.relative_to(folder).as_posix())
        if len(begun) == 3:
            raise Stopped
        return train(config, workdir, notes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "train", counted)
        with pytest.raises(SystemExit) as stopped:
            sweep(*arguments)
        assert stopped.value.code == 0
        assert "**Not done yet: 1 of the points.**" in (folder / "sweep.md").read_text()
        paths, retrained = sweep(*arguments, retrain_to_cost=True)
    runs = [f"points/stride={value}/fold_{fold}/seed_0" for value in (1, 2) for fold in (0, 1)]
    assert begun[:5] == [*runs[:3], *runs[2:]]
    assert len(begun) == 6 and begun[5].startswith("retrained/stride=")
    assert [path.name for path in paths] == ["sweep.md", "sweep.csv", "sweep.json"]
    assert len(retrained) == 1
    return folder


@pytest.mark.slow
def test_the_table_follows_from_the_runs(workdir):
    told = json.loads((workdir / "sweep.json").read_text())
    assert (told["folds"], told["fold_sizes"], told["num_groups"], told["seeds"]) == (2, [6, 6], 4, [0])
    assert (told["split_id"], told["grid"], told["score"]) == ("tiny", {"stride": [1, 2]}, "accuracy")
    with (workdir / "sweep.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["stride"] for row in rows] == ["1", "2"]
    for row, point in zip(rows, told["points"], strict=True):
        folder = workdir / "points" / f"stride={row['stride']}"
        runs = [read_metrics(folder / f"fold_{fold}" / "seed_0" / "metrics.jsonl") for fold in (0, 1)]
        scores = np.array([[line["held_out"]["accuracy"] for line in run] for run in runs])
        entropy = np.array([[line["held_out"]["cross_entropy"] for line in run] for run in runs]).mean(axis=0)
        mean = scores.mean(axis=0)
        epoch = min(range(3), key=lambda e: (-mean[e], entropy[e]))  # One for both folds.
        assert row["epoch"] == str(1 + epoch) == str(point["epoch"])
        assert point["scores"] == scores[:, epoch].tolist()
        assert row["held-out accuracy, %"] == f"{100 * mean[epoch]:.1f}"
        assert row["training cost"] == f"{np.mean([run[epoch]['loss'] for run in runs]):.4g}"
        assert row["parameters"] == str(9 * 8 * 3 + 3)
        assert (row["num_steps"], row["epochs"], row["folds"], row["groups"], row["fps"]) == ("4", "3", "2", "4", "10")
    best = max(told["points"], key=lambda point: (point["mean"], -point["cross_entropy"]))
    assert told["best"] == best["point"]
    assert [row["minus the best"] == "**best**" for row in rows] == [point is best for point in told["points"]]


@pytest.mark.slow
def test_every_run_holds_out_its_fold_and_evaluation_knows(workdir, tiny_features):
    file = open_features(tiny_features)
    held_out = []
    for fold in (0, 1):
        model = trained.load(workdir / "points" / "stride=1" / f"fold_{fold}" / "seed_0")
        training, held = choose_videos(file, model.config)
        splits = model.open_features().splits
        assert [v for v, split in enumerate(splits) if split == "validation"] == held.tolist()
        assert [v for v, split in enumerate(splits) if split == "test"] == list(range(12, 18))
        assert sorted([*training, *held]) == list(range(12))
        held_out += held.tolist()
    assert sorted(held_out) == list(range(12))


@pytest.mark.slow
def test_nothing_is_read_of_test(workdir, tiny_features, write_tiny, tmp_path):
    """Test clips of features that are no numbers, and of other labels, change no digit."""
    file = open_features(tiny_features)
    features, labels = np.array(file.features), file.labels.copy()
    features[file.first_row[12] :] = np.nan
    labels[12:] = np.roll(labels[12:], 1, axis=1)
    poisoned = write_tiny(features=features, labels=labels)
    sweep(tmp_path, regression(poisoned), {"stride": [1]}, 2, 1, keep_checkpoints=False)
    assert not list(tmp_path.rglob("checkpoints"))
    assert len(list(tmp_path.rglob("params.npz"))) == 2
    expected, found = (json.loads((folder / "sweep.json").read_text())["points"][0] for folder in (workdir, tmp_path))
    for point in (expected, found):
        del point["seconds"], point["workdirs"]
    assert found == expected

    # Without checkpoints, more epochs begin at the first one again.
    sweep(tmp_path, regression(poisoned, epochs=4), {"stride": [1]}, 2, 1, keep_checkpoints=False)
    assert not list(tmp_path.rglob("checkpoints"))
    (more,) = json.loads((tmp_path / "sweep.json").read_text())["points"]
    assert len(more["score_by_epoch"]) == 4 and more["score_by_epoch"][:3] == expected["score_by_epoch"]
    for folds in more["workdirs"]:
        assert [line["epoch"] for line in read_metrics(f"{folds[0]}/metrics.jsonl")] == [1, 2, 3, 4]


def test_intervals_by_hand():
    low, high = t_interval([1.0, 2.0, 3.0])  # s = 1, and t of 2 degrees of freedom is 4.302653.
    assert (low, high) == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)), rel=1e-6)
    assert t_interval([0.5, 0.5]) == (0.5, 0.5)
    assert t_interval([0.5]) == (-math.inf, math.inf)


def test_bad_points_are_refused_before_anything_is_trained(tiny_features, tmp_path):
    config = regression(tiny_features)
    for grid, folds, complaint in (
        ({"fps": [10.0, 40.0]}, 2, "fps=40 asks for more frames"),
        ({"model": ["average_pool", "released"], "dropout": [0.3]}, 2, r"dropout=0\.3: the released model has only"),
        ({}, 5, "folds=5: there are only 4 groups"),
        ({}, 1, "folds=1: must be at least 2"),
    ):
        with pytest.raises(InputError, match=complaint):
            sweep(tmp_path, config, grid, folds, 1)
    assert list(tmp_path.iterdir()) == []


# --- The author's own protocol ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_training_stops_at_a_cost_and_stays_stopped(workdir, tiny_features, capsys):
    told = json.loads((workdir / "sweep.json").read_text())
    (found,) = told["retrained"]
    best = next(point for point in told["points"] if point["point"] == told["best"])
    assert found["cost"] == best["training_cost"]
    lines = read_metrics(f"{found['workdir']}/metrics.jsonl")
    assert all("held_out" not in line for line in lines)
    losses = [line["loss"] for line in lines]
    reached = losses[-1] <= found["cost"]
    assert found["reached"] == reached
    assert all(loss > found["cost"] for loss in losses[:-1])
    assert reached or len(losses) == 3
    assert "trained on the whole training part" in (workdir / "sweep.md").read_text()
    config = trained.read_config(found["workdir"])
    capsys.readouterr()
    train(with_flags(config, epochs=3 + (not reached)), found["workdir"])
    out = capsys.readouterr().out
    assert "12 videos to train on" in out
    assert ("already complete" in out) == reached


@pytest.mark.slow
def test_a_run_is_trained_again_down_to_its_cost(workdir):
    folder = workdir / "points" / "stride=2" / "fold_0" / "seed_0"
    lines = {line["epoch"]: line for line in read_metrics(folder / "metrics.jsonl")}
    best = lines[trained.load(folder).epoch]
    config = trained.read_config(folder)
    found = retrain_to_cost(config, trials.Trial(folder, best, None, 1.0))
    assert found.cost == best["loss"]
    assert found.trial.folder == folder / f"retrained_to_{best['loss']:.6g}"
    assert trained.read_config(found.trial.folder).training.stop_at_cost == best["loss"]
    losses = [line["loss"] for line in read_metrics(found.trial.folder / "metrics.jsonl")]
    assert (found.epochs, found.lowest_cost) == (len(losses), min(losses))
    assert found.reached == (min(losses) <= best["loss"])
    with pytest.raises(InputError, match="held nothing out, so that no epoch was chosen"):
        retrain_to_cost(config, found.trial)


@pytest.mark.slow
def test_a_cost_that_is_not_reached_is_said(tmp_path):
    trial = trials.Trial(tmp_path, {}, None, 1.0)
    text = Retraining(trial, cost=0.5, epochs=3, lowest_cost=0.75, most_epochs=3).describe()
    assert "3 epochs, WITHOUT reaching the noted cost of 0.5: it is at 0.75 after --epochs=3" in text
    assert "down to a cost of 0.25 (noted: 0.5)" in Retraining(trial, 0.5, 2, 0.25, 3).describe()
