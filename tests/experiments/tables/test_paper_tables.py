"""Tables 1 and 2: the figures, the choice of λ, restarts."""

import csv
import dataclasses
import json
import os

import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.common.files import write_csv
from data_prep.features.opening import open_features
from experiments.runs import trained
from experiments.runs.autosave import Stopped
from experiments.runs.config import (
    DataConfig,
    ModelConfig,
    ObjectiveConfig,
    RunConfig,
    RuntimeConfig,
    TrainingConfig,
    with_flags,
)
from experiments.runs.evaluation import evaluate, read_predictions
from experiments.runs.metrics_log import read_metrics
from experiments.runs.resumption import run_to_begin_with
from experiments.runs.split import choose_videos
from experiments.tables import trials
from experiments.tables.comparison import ATTENTION, ROWS, Comparison, compare
from experiments.tables.paper_tables import table1, table2, write_table1, write_table2
from experiments.tables.published import TABLE_1, TABLE_2, dataset_of
from experiments.tables.trials import Trial

SCORES = {  # Of two seeds; how many of the six test clips are right.
    "softmax_regression": (3, 3),
    "average_pool": (4, 4),
    "max_pool": (4, 5),
    "attention_0": (6, 5),
    "attention_1": (5, 5),
    "attention_10": (4, 4),
    "released": (6, 6),
}


@pytest.fixture
def known(tmp_path, write_tiny):
    """A function that makes a comparison of some features whose trials say what SCORES does."""

    def make(split_id="tiny", **contents):
        return comparison_of(tmp_path, open_features(write_tiny(split_id=split_id, **contents)))

    return make


def comparison_of(tmp_path, file, held_out=(0.5, 0.75, 0.25)) -> Comparison:
    """Writes the predictions of all trials; the λ have these held-out scores."""
    tests = [i for i, split in enumerate(file.splits) if split == "test"]
    name = "mean_average_precision" if file.multi_label else "accuracy"
    comparison = Comparison(RunConfig(DataConfig("tiny.h5", 0.25, num_steps=4, fps=10.0)), file, 2)
    for row, right in SCORES.items():
        for seed, count in enumerate(right):
            folder = tmp_path / row / str(seed)
            folder.mkdir(parents=True)
            with (folder / "cell_predictions.csv").open("w", newline="") as out:
                writer = csv.writer(out)
                writer.writerow(["path", "label", *(f"p({name})" for name in file.class_names)])
                for n, clip in enumerate(tests):
                    p = file.labels[clip] if n < count else np.roll(file.labels[clip], 1)
                    writer.writerow([file.names[clip], "", *p])
            line = {"score_name": name, name: 0.5, "cross_entropy": 1.0}
            if row in ATTENTION:
                line[name] = held_out[ATTENTION.index(row)]
            best = {"epoch": 3 + seed, "held_out": line}
            trial = Trial(folder, best, {"score_name": name, name: count / 6}, 20.0 + 2 * seed)
            comparison.trials.setdefault(row, []).append(trial)
    return comparison


def rows_of(path):
    with path.open(encoding="utf-8") as file:
        return {row["model" if "model" in row else "method"]: row for row in csv.DictReader(file)}


@pytest.mark.slow
def test_table_1(known, tmp_path):
    paths = write_table1(tmp_path / "table1", known(), tuple(SCORES))
    rows = rows_of(paths[1])
    assert list(rows) == [ROWS[row].title for row in SCORES]
    assert rows["soft attention, λ = 0"] == {
        "model": "soft attention, λ = 0",
        "accuracy, %": "91.67 ± 11.79 (100.0 83.3)",
        "seeds together, %": "83.33",  # One clip is a tie of two classes, and the first of them is wrong.
        "mean F1, %": "91.11 ± 12.57",  # With the second seed a wave is taken for a jump: 4/5, 1 and 2/3.
        "minus average-pooled LSTM": "+25.00 (+0.00 to +50.00; 2 groups)",
        "best epoch": "3 to 4",
        "training": "21 s",
        "split": "tiny",
        "test clips": "6",
        "fps": "10",
        "stride": "1",
        "T": "4",
        "epochs": "15",
        "held out": "3 of 12 training clips",
        "seeds": "2",
    }
    assert rows["soft attention, λ = 10"]["minus average-pooled LSTM"] == "+0.00 (+0.00 to +0.00; 2 groups)"
    assert rows["released"]["minus average-pooled LSTM"] == "+33.33 (+0.00 to +66.67; 2 groups)"
    assert rows["average-pooled LSTM"]["minus average-pooled LSTM"] == ""
    text = paths[0].read_text(encoding="utf-8")
    assert text.startswith(
        "# Table 1: jump, run, wave\n\nProtocol: split tiny; test clips 6; fps 10; stride 1; T 4; epochs 15; "
        "held out 3 of 12 training clips; seeds 2.\n\n"
        "| model | accuracy, % | seeds together, % | mean F1, % | minus average-pooled LSTM | best epoch | training |\n"
    )
    assert "RANDOM" not in text
    data = json.loads(paths[2].read_text(encoding="utf-8"))
    assert data["rows"]["attention_0"]["scores"] == [1.0, 5 / 6]
    assert data["rows"]["attention_0"]["difference"]["mean"] == pytest.approx(0.25)
    assert data["rows"]["attention_0"]["classes"]["jump"] == {
        "precision": pytest.approx(5 / 6), "recall": 1.0, "f1": pytest.approx(0.9)
    }  # fmt: skip
    with (tmp_path / "table1_classes.csv").open(encoding="utf-8") as file:
        classes = [row for row in csv.DictReader(file) if row["model"] == "soft attention, λ = 0"]
    assert list(classes[2].values())[1:] == ["wave", "100.00", "75.00", "83.33"]
    assert data["flags"]["num_steps"] == 4 and "seed" not in data["flags"]


def test_seeds_together_are_scored_by_their_mean_probabilities(known, tmp_path):
    """Two seeds that are each right in half of the clips, and each surer where it is right."""
    comparison = known()
    for seed, trial in enumerate(comparison.trials["max_pool"]):
        names, p = trial.predictions()
        labels = comparison.file.labels[[comparison.file.names.index(name) for name in names]]
        right = (np.arange(len(names)) % 2 == seed)[:, None]
        p = np.where(right, 0.9 * labels, 0.6 * np.roll(labels, 1, axis=1) + 0.4 * labels)
        columns = [f"p({name})" for name in comparison.file.class_names]
        write_csv(
            trial.folder / "cell_predictions.csv",
            ["path", *columns],
            [[n, *row] for n, row in zip(names, p, strict=True)],
        )
    assert comparison.score_together("max_pool") == 1.0
    comparison.trials["max_pool"].pop()
    assert comparison.score_together("max_pool") is None


@pytest.mark.slow
def test_the_papers_figures_stand_beside_its_own_data_sets_only(known, tmp_path):
    paths = write_table1(tmp_path / "table1", known("hmdb51-official1-0123"), tuple(SCORES))
    figures = [row["paper"] for row in rows_of(paths[1]).values()]
    assert figures == ["33.46", "40.52", "37.58", "41.31", "40.98", "39.87", "–"]
    assert list(TABLE_1["ucf11"].values()) == [82.37, 82.56, 81.60, 84.96, 83.52, 81.44]
    assert list(TABLE_1["hollywood2"].values()) == [34.62, 43.19, 43.22, 43.91, 43.18, 42.92]
    assert dataset_of("ucf11-groups-0123") == "ucf11"
    assert dataset_of("hollywood2-official-0123") == "hollywood2"
    for other in (
        "hmdb51-official2-0123",
        "ucf11-groups-0123-without3-4567",
        "ucf101-official1-0123",
        "folder-index-1",
    ):
        assert dataset_of(other) is None


@pytest.mark.slow
def test_trials_that_are_not_done_are_said(known, tmp_path):
    comparison = known()
    comparison.trials["average_pool"].pop()
    del comparison.trials["released"]
    paths = write_table1(tmp_path / "table1", comparison, tuple(SCORES))
    assert "| best epoch | training | seeds |\n" in paths[0].read_text(encoding="utf-8")
    rows = rows_of(paths[1])
    assert rows["average-pooled LSTM"]["seeds"] == "1 of 2"
    assert rows["average-pooled LSTM"]["accuracy, %"] == "66.67"
    assert rows["released"]["accuracy, %"] == "not done" and rows["released"]["seeds"] == "0 of 2"
    assert rows["soft attention, λ = 0"]["minus average-pooled LSTM"] == ""


@pytest.mark.slow
def test_a_random_network_is_said(known, tmp_path):
    recipe = {"network": "none", "random": True, "weights_sha256": "00"}
    comparison = known(recipe=recipe)
    for path in (write_table1(tmp_path / "t1", comparison, tuple(SCORES)), write_table2(tmp_path / "t2", comparison)):
        assert "RANDOM" in path[0].read_text(encoding="utf-8")


def test_hard_attention_is_said(known, tmp_path):
    comparison = known()
    comparison.config = with_flags(comparison.config, attention="window", window=2, glimpse_rule="sample")
    path, *_ = write_table1(tmp_path / "t1", comparison, tuple(SCORES))
    assert "The rows with attention have --attention: window, r = 2, glimpse rule sample." in path.read_text("utf-8")


def test_table_2_has_the_published_figures_and_a_held_out_lambda(known, tmp_path):
    paths = write_table2(tmp_path / "table2", known("hmdb51-official1-0123"))
    rows = rows_of(paths[1])
    ours = rows["**ours, soft attention, λ = 1**"]  # λ = 0 is better on test, which has no say.
    assert ours["HMDB-51, accuracy %"] == "83.33 ± 0.00 (83.3 83.3)"
    assert ours["Hollywood2, mAP %"] == "–"
    assert rows["ours, soft attention, λ = 0"]["HMDB-51, accuracy %"] == "91.67 ± 11.79 (100.0 83.3)"
    published = {
        "spatial-stream ConvNet": ("40.5", "–"),
        "soft attention, the paper's": ("41.3", "43.9"),
        "composite LSTM": ("44.0", "–"),
        "DL-SFA": ("–", "48.1"),
        "two-stream ConvNet": ("59.4", "–"),
        "VideoDarwin": ("63.7", "73.7"),
        "multi-skip feature stacking": ("65.1", "68.0"),
        "traditional + stacked Fisher vectors": ("66.8", "–"),
        "objects + traditional + stacked Fisher vectors": ("71.3", "66.4"),
    }
    found = {name: (rows[name]["HMDB-51, accuracy %"], rows[name]["Hollywood2, mAP %"]) for name in published}
    assert found == published
    order = [row["what it sees"] for row in rows.values()]
    assert order == ["RGB only"] * 7 + ["with optical flow"] * 4 + ["with object responses"]
    assert json.loads(paths[2].read_text(encoding="utf-8"))["chosen"] == "attention_1"


def test_table_2_of_other_clips_says_that_they_are_others(known, tmp_path):
    paths = write_table2(tmp_path / "table2", known())
    assert "published numbers are of other clips" in paths[0].read_text(encoding="utf-8")
    row = rows_of(paths[1])["**ours, soft attention, λ = 1**"]
    assert row["jump, run, wave: accuracy, %"] == "83.33 ± 0.00 (83.3 83.3)" and row["HMDB-51, accuracy %"] == "–"
    assert len(TABLE_2) == 9


@pytest.mark.slow
def test_several_labels_are_scored_by_mean_average_precision(known, tmp_path):
    rows = rows_of(write_table1(tmp_path / "t", known("hollywood2-official-0", multi_label=True), tuple(SCORES))[1])
    assert rows["soft attention, λ = 0"]["mAP, %"].startswith("91.67")
    assert rows["soft attention, λ = 0"]["paper"] == "43.91"


@pytest.fixture(scope="module")
def config(tiny_features):
    """As that of `small_run`, and shorter: what is compiled there need not be compiled again."""
    return RunConfig(
        DataConfig(str(tiny_features), 0.25, num_steps=4, fps=10.0),
        ModelConfig(hidden_dim=8, num_layers=2),
        objective=ObjectiveConfig(attention_penalty=3.0),  # Not looked at.
        training=TrainingConfig(batch_size=7, epochs=2, learning_rate=0.02, seed=5),  # Nor is the seed.
        runtime=RuntimeConfig("jit"),
    )


@pytest.mark.slow
def test_a_table_that_is_stopped_resumes_and_runs_nothing_twice(config, tmp_path, monkeypatch):
    trained = []

    def train(config, workdir, notes, really=trials.train):
        trained.append((config.model.model, config.objective.attention_penalty, config.training.seed))
        if len(trained) == 2:
            raise Stopped
        return really(config, workdir, notes)

    monkeypatch.setattr(trials, "train", train)
    rows = ("softmax_regression", "attention_0")
    with pytest.raises(Stopped):
        table1(tmp_path, config, 1, rows=rows)
    assert rows_of(tmp_path / "table1.csv")["soft attention, λ = 0"]["seeds"] == "0 of 1"
    paths = table1(tmp_path, config, 1, rows=rows)
    assert trained == [("softmax_regression", 0.0, 0), ("soft_attention", 0.0, 0), ("soft_attention", 0.0, 0)]
    written = [path.read_bytes() for path in paths]
    table1(tmp_path, config, 1, rows=rows)
    assert len(trained) == 3 and [path.read_bytes() for path in paths] == written
    evaluate(tmp_path / "cells/attention_0/seed_0", stride=3, checkpoint="latest")  # The table keeps its own.
    table1(tmp_path, config, 1, rows=rows)
    assert len(trained) == 3 and [path.read_bytes() for path in paths] == written
    evaluate(tmp_path / "cells/attention_0/seed_0")
    scores = json.loads((tmp_path / "cells/attention_0/seed_0/evaluation/test/scores.json").read_text())
    assert json.loads(paths[2].read_text())["rows"]["attention_0"]["scores"] == [scores["accuracy"]]
    names, predictions = read_predictions(tmp_path / "cells/attention_0/seed_0/evaluation/test/predictions.csv")
    assert len(names) == 6
    np.testing.assert_allclose(predictions.sum(axis=1), 1, atol=1e-6)

    other = dataclasses.replace(config, training=dataclasses.replace(config.training, batch_size=9))
    with pytest.raises(InputError, match=r"holds a run with batch_size=7 \(now 9\)"):
        table1(tmp_path, other, 1, rows=rows)


def test_a_table_needs_test_clips(config, write_tiny, tmp_path):
    path = write_tiny(splits=["train"] * 18)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, features=str(path)))
    for table in (table1, table2):
        with pytest.raises(InputError, match="no video in its test part"):
            table(tmp_path, config, 1)


@pytest.mark.slow
def test_retraining_evaluates_the_model_that_was_trained_on_everything(config, tmp_path):
    rows = ("softmax_regression",)
    for epochs in (1, 2):  # More epochs resume, to another cost.
        config = dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=epochs))
        paths = table1(tmp_path, config, 1, retrain=True, rows=rows)
    cell = tmp_path / "cells/softmax_regression/seed_0"
    row = json.loads(paths[2].read_text())["rows"]["softmax_regression"]
    best = read_metrics(cell / "metrics.jsonl")[row["best_epochs"][0] - 1]
    again = cell / f"retrained_to_{best['loss']:.6g}"
    assert row["workdirs"] == [str(again)]
    about = json.loads((again / "config.json").read_text())
    assert about["training"]["stop_at_cost"] == best["loss"] and about["data"]["validation_fraction"] == 0
    scores = json.loads((again / "evaluation/test/scores.json").read_text())
    assert row["scores"] == [scores["accuracy"]]
    assert paths[0].name == "table1_retrained.md"
    assert "trained on the whole training part, down to the training cost" in paths[0].read_text(encoding="utf-8")


OLD_FLAGS = {
    **{"validation_fraction": 0.25, "num_steps": 4, "fps": 10.0, "stride": 1, "block_rule": "paper"},
    **{"model": "soft_attention", "hidden_dim": 8, "num_layers": 2, "dropout": 0.5, "init_layers": 1, "dim_out": 512},
    **{"n_layers_att": 1, "n_layers_out": 1, "ctx2out": False, "selector": False, "temperature_inverse": 1.0},
    **{"last_n": 30, "attention_penalty": 0.0, "weight_decay": 1e-05, "batch_size": 7, "epochs": 2},
    **{"optimizer": "adam", "learning_rate": 0.02, "seed": 0},
}
"""Of a cell.json of the first versions, which wrote down all the flags that they had."""


def test_a_trial_of_an_older_version_is_known(config, tiny_features, tmp_path, monkeypatch):
    file = open_features(tiny_features)
    found = {"identity": {"flags": OLD_FLAGS, "features": trials.feature_metadata(file)}, "best": {"epoch": 2}}
    (tmp_path / "cell.json").write_text(json.dumps({**found, "seconds": 1.5}))
    begun = []
    monkeypatch.setattr(trials, "train", lambda config, folder, notes: begun.append(config) or {"epoch": 1})
    monkeypatch.setattr(trials, "read_metrics", lambda path: [])
    old = with_flags(config, attention_penalty=0.0, seed=0)
    assert trials.run_trial(tmp_path, old, file, split=None) == Trial(tmp_path, {"epoch": 2}, None, 1.5)
    assert begun == []
    for other in ({"seed": 1}, {"hidden_dim": 512}, {"split_seed": 0}, {"folds": 2}):  # 512 is a default.
        assert trials.run_trial(tmp_path, with_flags(old, **other), file, split=None).best == {"epoch": 1}
    assert len(begun) == 4
    (tmp_path / "cell.json").write_text('{"identity": [1], "best": 2}')
    assert trials.read_trial(tmp_path / "cell.json") == {}


def test_a_fixed_split_seed_holds_the_same_clips_out_for_all_seeds(config, tiny_features):
    file = open_features(tiny_features)

    def held_out(**flags):
        runs = [ROWS["attention_0"].configure(with_flags(config, **flags), seed) for seed in range(3)]
        return [choose_videos(file, run)[1].tolist() for run in runs]

    assert held_out() == [[6, 7, 8], [0, 1, 2], [9, 10, 11]]
    assert held_out(split_seed=1) == [[0, 1, 2]] * 3


@pytest.mark.slow
def test_on_test_folds_every_clip_is_tested_once_by_a_run_that_never_saw_its_group(config, tiny_features, tmp_path):
    config = with_flags(config, test_folds=3, epochs=1)
    paths = table1(tmp_path, config, 1, rows=("softmax_regression", "mean_feature"))
    assert paths[0].name == "table1_test_folds_3.md"
    file, tested = open_features(tiny_features), []
    for fold in range(3):
        folder = tmp_path / f"test_folds_3/softmax_regression/seed_0/fold_{fold}"
        model = trained.load(folder)
        splits = model.open_features().splits
        seen = {file.groups[n] for n in range(18) if splits[n] != "test"}
        names, _ = read_predictions(folder / "evaluation/test/predictions.csv")  # Other programs know the fold.
        assert names == [file.names[n] for n in range(18) if splits[n] == "test"]
        assert not seen & {file.groups[file.names.index(name)] for name in names}
        assert splits.count("validation") == 3  # A quarter of the other folds, by group.
        tested += names
    assert sorted(tested) == sorted(file.names)
    data = json.loads(paths[2].read_text(encoding="utf-8"))
    row, names = (
        data["rows"]["softmax_regression"],
        read_predictions(tmp_path / "test_folds_3/softmax_regression/seed_0/cell_predictions.csv"),
    )
    right = np.argmax(names[1], axis=1) == [np.argmax(file.labels[file.names.index(name)]) for name in names[0]]
    assert row["scores"] == [right.mean()] and row["by_fold"][0] == pytest.approx(right.reshape(3, 6).mean(axis=1))
    assert row["best_epochs"] == [1, 1, 1]
    (pair,) = data["pairs"]
    assert (pair["row"], pair["minus"], pair["num_groups"]) == ("mean_feature", "softmax_regression", 6)
    assert pair["mean"] == pytest.approx(data["rows"]["mean_feature"]["mean"] - row["mean"])
    assert {part: counts["padded"] for part, counts in data["num_blocks"].items()} == dict.fromkeys(
        ("train", "validation", "test"), 0
    )


def test_every_two_rows_are_compared_and_padded_blocks_counted(known, tmp_path):
    num_frames = np.array([3] * 3 + [11] * 3 + [7] * 12)
    comparison = known(num_frames=num_frames, first_row=np.cumsum(num_frames) - num_frames)
    paths = write_table1(tmp_path / "table1", comparison, ("average_pool", "attention_0", "released"))
    data = json.loads(paths[2].read_text(encoding="utf-8"))
    found = {(pair["row"], pair["minus"]): pair for pair in data["pairs"]}
    assert list(found) == [("attention_0", "average_pool"), ("released", "average_pool"), ("released", "attention_0")]
    assert found["released", "attention_0"]["mean"] == pytest.approx(1 / 12)
    for pair in found.values():
        assert pair["p_value"] <= pair["p_value_holm"] <= min(1, 3 * pair["p_value"])
    assert data["pairs_table"] == {  # Two groups are too few for anything bold.
        "header": ["minus", "average_pool", "attention_0"],
        "rows": [["attention_0", "+25.00", ""], ["released", "+33.33", "+8.33"]],
    }
    training, held_out = data["num_blocks"]["train"], data["num_blocks"]["validation"]
    assert training["padded"] + held_out["padded"] == 3
    assert training["all"] + held_out["all"] == 3 + 3 * 8 + 6 * 4
    assert data["num_blocks"]["test"] == {"all": 24, "padded": 0}
    assert "Padded, as their clip is shorter than a block: " in paths[0].read_text(encoding="utf-8")


def test_only_rows_that_look_begin_with_another_run(config):
    config = with_flags(config, attention="hard", init_from="soft/cells/{row}/seed_{seed}")
    begins_with = {name: run_to_begin_with(row.configure(config, 10**6)) for name, row in ROWS.items()}
    look = ("attention_0", "attention_1", "attention_10", "released")
    assert begins_with == {
        name: os.path.abspath(f"soft/cells/{name}/seed_1000000") if name in look else "" for name in ROWS
    }
    with pytest.raises(InputError, match="cells/attention_0/seed_0: is no run that is trained to its end"):
        next(compare("nowhere", config, ("average_pool", "attention_0"), 1))
