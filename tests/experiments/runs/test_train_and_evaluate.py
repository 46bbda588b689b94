"""From a features file to scores: training, resuming, evaluating, and what is refused on the way."""

import csv
import dataclasses
import json
import math

import numpy as np
import pytest

from attention_ar import released
from attention_ar.errors import InputError
from data_prep.features.opening import open_features
from data_prep.features.record_export import export_records
from experiments.runs import trained
from experiments.runs.config import (
    DataConfig,
    ModelConfig,
    ObjectiveConfig,
    ReleasedConfig,
    RunConfig,
    RuntimeConfig,
    TrainingConfig,
    read_config,
)
from experiments.runs.evaluation import evaluate
from experiments.runs.metrics_log import read_metrics
from experiments.runs.protocol import Protocol
from experiments.runs.training import train

HEALTH = {"entropy", "movement", "largest_mass"}
PARTS = (DataConfig, ModelConfig, ReleasedConfig, ObjectiveConfig, TrainingConfig, RuntimeConfig)


def tiny_config(features, model="soft_attention", **changes) -> RunConfig:
    """4 blocks of 4 frames a clip; a model of a few hundred parameters."""
    values = {
        "features": str(features),
        "validation_fraction": 0.25,
        "num_steps": 4,
        "fps": 10.0,
        "model": model,
        "hidden_dim": 8,
        "num_layers": 2,
        "dim_out": 8,
        "batch_size": 7,
        "epochs": 3,
        "learning_rate": 0.02,
        "parallel": "jit",
        **changes,
    }

    def fill(part):
        names = {f.name for f in dataclasses.fields(part)}
        return part(**{name: values.pop(name) for name in list(values) if name in names})

    config = RunConfig(*(fill(p) for p in PARTS))
    assert not values
    return config


def read_table(path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def soft_attention_run(small_run):
    """What `tiny_config(tiny_features, epochs=8)` gives."""
    return small_run


def test_a_run_learns_and_says_how(soft_attention_run):
    lines = read_metrics(soft_attention_run / "metrics.jsonl")
    assert [line["epoch"] for line in lines] == list(range(1, 9))
    for line in lines:
        parts = ("cross_entropy", "attention_penalty", "weight_decay")
        assert line["loss"] == pytest.approx(sum(line[name] for name in parts), rel=1e-5)
        assert line["attention_penalty"] == 0  # λ = 0.
        assert set(line["held_out"]["attention"]) == HEALTH
        assert 0 < line["held_out"]["attention"]["entropy"] <= math.log(9) + 1e-6
        assert line["held_out"]["num_videos"] == 3  # One group of four.
    assert lines[0]["cross_entropy"] == pytest.approx(4 * math.log(3), rel=0.5)
    assert lines[-1]["cross_entropy"] < 0.5 * lines[0]["cross_entropy"]
    assert lines[-1]["step"] == 8 * math.ceil(9 * 4 / 7)
    assert {"config.json", "metrics.jsonl", "checkpoints", "params.npz"} <= {
        path.name for path in soft_attention_run.iterdir()
    }


def test_evaluation_of_the_best_epoch(soft_attention_run, tiny_features):
    scores, folder, output = evaluate(soft_attention_run)
    assert scores["accuracy"] == 1.0
    assert (scores["num_videos"], scores["num_blocks"], scores["num_cells"]) == (6, 24, 9)
    assert json.loads(output.read_text()) == scores
    lines = read_metrics(soft_attention_run / "metrics.jsonl")
    assert scores["epoch"] in [line["epoch"] for line in lines]
    best = max(line["held_out"]["accuracy"] for line in lines)
    assert next(line for line in lines if line["epoch"] == scores["epoch"])["held_out"]["accuracy"] == best

    rows = read_table(folder / "predictions.csv")
    assert [row["path"] for row in rows[:3]] == [f"{c}/clip 4 (#1).avi" for c in ("jump", "run", "wave")]
    for row in rows:
        assert row["path"].startswith(row["label"])
        assert row["group"] in ("g4", "g5")
        p = [float(row[f"p({name})"]) for name in ("jump", "run", "wave")]
        assert sum(p) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == ("jump", "run", "wave")[int(np.argmax(p))]
    confusion = [list(row.values()) for row in read_table(folder / "confusion.csv")]
    assert confusion == [["jump", "2", "0", "0"], ["run", "0", "2", "0"], ["wave", "0", "0", "2"]]
    assert (folder / "confusion.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_batch_size_of_an_evaluation_changes_nothing(soft_attention_run, tmp_path):
    by_size = []
    for size in (5, 24):
        scores, folder, _ = evaluate(soft_attention_run, batch_size=size, output=tmp_path / f"{size}.json")
        rows = read_table(folder / "predictions.csv")
        by_size.append((np.array([list(row.values())[6:] for row in rows], float), scores["cross_entropy"]))
    np.testing.assert_allclose(by_size[0][0], by_size[1][0], atol=2e-6)
    assert by_size[0][1] == pytest.approx(by_size[1][1], rel=1e-5)


@pytest.mark.slow
def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(tiny_features, tmp_path):
    train(tiny_config(tiny_features, epochs=4), tmp_path / "whole")
    train(tiny_config(tiny_features, epochs=2), tmp_path / "stopped")
    # A crash in epoch 3 may leave a line without a checkpoint.
    with (tmp_path / "stopped" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "loss": 0.1}\n{"epoch": 4, "lo')
    train(tiny_config(tiny_features, epochs=4), tmp_path / "stopped")
    whole, stopped = (trained.load(tmp_path / name, "latest").params for name in ("whole", "stopped"))
    for name in whole:
        np.testing.assert_array_equal(whole[name]["kernel"], stopped[name]["kernel"])
    lines = [read_metrics(tmp_path / name / "metrics.jsonl") for name in ("whole", "stopped")]
    assert [line["loss"] for line in lines[0]] == [line["loss"] for line in lines[1]]
    assert read_config(tmp_path / "stopped").training.epochs == 4


@pytest.mark.slow
@pytest.mark.parametrize("model", ["average_pool", "max_pool", "softmax_regression", "released"])
def test_every_model_takes_the_same_way(tiny_features, tmp_path, model):
    learning_rate = 0.002 if model == "softmax_regression" else 0.02
    train(tiny_config(tiny_features, model, epochs=6, learning_rate=learning_rate), tmp_path / "run")
    scores, _, _ = evaluate(tmp_path / "run")
    assert scores["accuracy"] >= 2 / 3
    assert ("attention" in scores) == (model == "released")
    assert trained.load(tmp_path / "run").has_attention == (model == "released")


@pytest.mark.slow
def test_several_labels(write_tiny, tmp_path):
    features = write_tiny(multi_label=True)
    train(tiny_config(features, epochs=6), tmp_path / "run")
    for protocol in ("paper", "released"):
        scores, folder, _ = evaluate(tmp_path / "run", protocol=protocol)
        assert scores["score_name"] == "mean_average_precision"
        assert scores["mean_average_precision"] > 0.8
        assert not (folder / "confusion.csv").exists()
    rows = read_table(folder / "predictions.csv")
    assert rows[0]["label"] == "jump|wave"


def test_protocols_by_hand():
    steps = np.array([[[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]]])
    results = {"predictions": steps, "logits": np.log(steps)}
    np.testing.assert_allclose(Protocol().block_predictions(results, False), [[1.7 / 3, 1.3 / 3]])
    assert Protocol("released", last_n=2).block_predictions(results, False).tolist() == [[0, 1]]
    assert Protocol("released", last_n=3).block_predictions(results, False).tolist() == [[1, 0]]
    several = {"logits": np.log(steps / (1 - steps)), "predictions": steps}
    np.testing.assert_allclose(Protocol("released", last_n=2).block_predictions(several, True), [[0.4, 0.6]], rtol=1e-6)


def test_shares_of_votes_are_the_released_vote():
    random = np.random.default_rng(0)
    said, video = random.integers(4, size=60), np.sort(np.concatenate([np.arange(12), random.integers(12, size=48)]))
    shares = Protocol("released").video_predictions(np.eye(4)[said], video, 12)
    np.testing.assert_array_equal(np.argmax(shares, axis=1), released.evaluation.vote(said, video, 12))


def test_tied_scores_share_a_rank_in_the_papers_protocol_only():
    labels, tied = np.array([[1], [0], [0], [0]]), np.ones((4, 1))
    assert Protocol("paper").scores(tied, labels, True)["mean_average_precision"] == pytest.approx(0.25)
    assert Protocol("released").scores(tied, labels, True)["mean_average_precision"] == pytest.approx(1.0)
    assert Protocol("released").scores(tied, labels, True)["average_precisions"] == [1.0]


@pytest.mark.slow
def test_released_protocol_votes(soft_attention_run):
    scores, folder, _ = evaluate(soft_attention_run, protocol="released")
    assert scores["protocol"] == "released"
    rows = read_table(folder / "predictions.csv")
    # skip = int(30 / 10) = 3 and T = 4: one block a clip, its vote is whole.
    assert {row["num_blocks"] for row in rows} == {"1"}
    assert {float(row["p(jump)"]) for row in rows} <= {0.0, 1.0}


# --- What is refused --------------------------------------------------------------------------------------------------


def refused(call, *parts):
    with pytest.raises(InputError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message


def test_another_run_in_the_same_folder_is_refused(soft_attention_run, tiny_features):
    config = tiny_config(tiny_features, epochs=8, hidden_dim=9)
    refused(lambda: train(config, soft_attention_run), "hidden_dim=8 (now 9)", "name another --workdir")


def test_groups_on_both_sides_are_refused(write_tiny, tmp_path):
    features = write_tiny(groups=["g0"] * 18)
    refused(lambda: train(tiny_config(features), tmp_path / "run"), "g0 (test and train)")
    assert not (tmp_path / "run").exists()


def test_too_high_a_rate_is_refused(tiny_features, tmp_path):
    config = tiny_config(tiny_features, fps=30.0)
    refused(lambda: train(config, tmp_path / "run"), "clip 0 (#1).avi", "fps=30 asks for more frames than the 10")
    assert not (tmp_path / "run").exists()


def test_features_of_another_recipe_are_refused(soft_attention_run, write_tiny):
    other = write_tiny(recipe={"network": "none", "random": False, "weights_sha256": "11"})
    refused(lambda: evaluate(soft_attention_run, features=other), "weights_sha256", "'11'", "'00'")


def test_features_of_another_shape_are_refused(soft_attention_run, write_tiny):
    for shape in ((2, 2, 8), (3, 3, 5)):
        other = write_tiny(features=np.zeros((18 * 7, *shape), np.float16))
        refused(lambda other=other: evaluate(soft_attention_run, features=other), str(list(shape)), "[3, 3, 8]")


@pytest.mark.slow
def test_unknown_labels_are_refused_and_fewer_classes_are_not(soft_attention_run, write_tiny):
    other = write_tiny(class_names=["jump", "run", "yodel"])
    refused(lambda: evaluate(soft_attention_run, features=other), "unknown classes yodel", "jump, run, wave")
    fewer = write_tiny(
        class_names=["run", "wave"],
        labels=np.eye(2, dtype=np.uint8)[(np.arange(18) % 3 == 2).astype(int)],
        splits=["test"] * 18,
    )
    scores, _, _ = evaluate(soft_attention_run, features=fewer)
    assert scores["num_videos"] == 18
    assert scores["accuracy"] == pytest.approx(2 / 3)  # "jump" is called "run" here, the others are themselves.


def test_folders_without_a_run_are_refused(soft_attention_run, tmp_path):
    refused(lambda: evaluate(tmp_path), "config.json: No such file or directory", "--workdir")
    (tmp_path / "config.json").write_text((soft_attention_run / "config.json").read_text())
    refused(lambda: evaluate(tmp_path), "no checkpoints here; train first")
    saved = json.loads((tmp_path / "config.json").read_text())
    saved["data"]["strride"] = 2
    (tmp_path / "config.json").write_text(json.dumps(saved))
    refused(lambda: evaluate(tmp_path), "strride")
    del saved["data"]["strride"]
    saved["model"]["hidden_dim"] = "x"
    (tmp_path / "config.json").write_text(json.dumps(saved))
    refused(lambda: evaluate(tmp_path), "hidden_dim is 'x'; must be of type int")
    (tmp_path / "config.json").write_text("[1]")
    refused(lambda: evaluate(tmp_path), "not a run's configuration")


def test_an_empty_part_is_refused(soft_attention_run, write_tiny):
    others = write_tiny(splits=["train"] * 18, split_id="other")
    refused(lambda: evaluate(soft_attention_run, features=others), "split=test", "['train']")


@pytest.mark.slow
def test_what_was_held_out_can_be_evaluated_and_is_not_training_part(soft_attention_run):
    counts = {
        split: evaluate(soft_attention_run, split=split)[0]["num_videos"] for split in ("train", "validation", "test")
    }
    assert counts == {"train": 9, "validation": 3, "test": 6}
    lines = read_metrics(soft_attention_run / "metrics.jsonl")
    scores, _, _ = evaluate(soft_attention_run, split="validation")
    best = next(line["held_out"] for line in lines if line["epoch"] == scores["epoch"])
    assert scores["accuracy"] == best["accuracy"]
    assert scores["cross_entropy"] == pytest.approx(best["cross_entropy"], rel=1e-5)


def test_another_split_is_said(soft_attention_run, write_tiny, capsys):
    scores, _, _ = evaluate(soft_attention_run, features=write_tiny(split_id="other"))
    assert scores["split_id"] == "other"
    assert "NOTE: these features have another split" in capsys.readouterr().out


def test_one_label_and_several_are_not_mixed(soft_attention_run, write_tiny):
    features = write_tiny(multi_label=True)
    refused(lambda: evaluate(soft_attention_run, features=features), "several labels each", "trained for one label")


@pytest.mark.slow
def test_a_refused_run_leaves_the_folder_as_it_was(tiny_features, write_tiny, tmp_path):
    train(tiny_config(tiny_features, epochs=1), tmp_path / "run")
    before = (tmp_path / "run" / "config.json").read_text()
    other = write_tiny(split_id="other")
    refused(lambda: train(tiny_config(other, epochs=2), tmp_path / "run"), "split_id tiny", "has other")
    assert (tmp_path / "run" / "config.json").read_text() == before


@pytest.mark.slow
def test_attention_is_watched_when_nothing_is_held_out(tiny_features, tmp_path, capsys):
    train(tiny_config(tiny_features, epochs=1, validation_fraction=0.0), tmp_path / "run")
    (line,) = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert "held_out" not in line
    assert set(line["training_part"]["attention"]) == HEALTH
    assert "attention: entropy" in capsys.readouterr().out


@pytest.mark.slow
def test_short_clips_are_said(tiny_features, tmp_path, capsys):
    train(tiny_config(tiny_features, epochs=1, num_steps=9), tmp_path / "run")
    assert "9 of these 9 videos are shorter than a block" in capsys.readouterr().out


@pytest.mark.slow
def test_features_that_are_no_numbers_stop_training_with_names(write_tiny, tmp_path, tiny_features):
    contents = np.array(np.ones((18 * 7, 3, 3, 8)), np.float16)
    contents[7 * 4 + 2, 1, 1, 3] = np.nan  # Clip 4 is run/clip 1, in the training part.
    features = write_tiny(features=contents)
    train(tiny_config(tiny_features, epochs=1, validation_fraction=0.0), tmp_path / "run")
    before = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    config = tiny_config(features, epochs=3, validation_fraction=0.0)
    message = refused(
        lambda: train(config, tmp_path / "run"),
        "is not a finite number",
        "the features of run/clip 1 (#1).avi are not finite",
        f"last good checkpoint: {tmp_path / 'run' / 'checkpoints'}",
    )
    assert message.startswith("step ")
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == before


@pytest.mark.slow
def test_held_out_features_that_are_nan_stop_training_with_the_step(write_tiny, tmp_path):
    features = np.array(np.ones((18 * 7, 3, 3, 8)), np.float16)
    features[7 * 4 + 2, 1, 1, 3] = np.nan
    splits = ["train"] * 4 + ["validation"] + ["test"] * 13
    config = tiny_config(write_tiny(features=features, splits=splits, groups=[""] * 18), epochs=1)
    message = refused(
        lambda: train(config, tmp_path / "run"), "run/clip 1 (#1).avi", "last good checkpoint: none was saved"
    )
    assert message.startswith("step 3: ")


@pytest.mark.slow
def test_a_loss_that_is_no_number_names_the_batch(tiny_features, tmp_path):
    config = tiny_config(tiny_features, epochs=4, learning_rate=1e30)
    refused(lambda: train(config, tmp_path / "run"), "not a finite number", "videos in the batch: ", "none was saved")


@pytest.mark.slow
def test_a_tfds_data_set_gives_the_same_run_and_the_same_scores(soft_attention_run, tiny_features, tmp_path):
    """Losses, held-out scores, the choice of the epoch and the predictions, bit by bit."""
    folder = export_records(open_features(tiny_features), tmp_path, "tiny_googlenet", shard_bytes=5000).folder
    train(tiny_config(folder, epochs=8), tmp_path / "run")
    found = []
    for workdir in (soft_attention_run, tmp_path / "run"):
        lines = read_metrics(workdir / "metrics.jsonl")
        lines = [{key: value for key, value in line.items() if "second" not in key} for line in lines]
        evaluate(workdir)
        found.append((lines, (workdir / "evaluation" / "test" / "predictions.csv").read_text()))
    assert len(found[0][0]) == 8
    assert found[0] == found[1]
