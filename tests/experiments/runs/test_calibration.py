"""A run's temperature, and the scores, files and lines that follow from it; precision, recall and F1 beside them."""

import csv
import json

import numpy as np
import pytest

from attention_ar import metrics
from attention_ar.calibration import at_temperature, fit_temperature
from attention_ar.errors import InputError
from data_prep.loading.block_table import cut_blocks
from data_prep.loading.feature_stores import OnDisk
from experiments.runs import trained
from experiments.runs.calibration import NONE_OF_THESE, Temperature, calibration_scores, rejection
from experiments.runs.class_scores import by_name, describe_classes, write_classes, write_curves
from experiments.runs.evaluation import evaluate, read_predictions
from experiments.runs.metrics_log import read_metrics
from experiments.runs.protocol import PAPER, Protocol
from experiments.runs.video_predictions import VideoPredictions, predict_videos, videos_of

LABELS = np.eye(2, dtype=np.uint8)[[0, 0, 1, 1]]
PREDICTIONS = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.45, 0.55]])


def read_table(path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def predictions(values, protocol=PAPER):
    return VideoPredictions(np.arange(len(values)), values, np.ones(len(values), int), 1.0, {}, protocol)


def test_every_epoch_has_the_temperature_of_its_held_out_clips(small_run):
    lines = read_metrics(small_run / "metrics.jsonl")
    for checkpoint in ("best", "latest"):
        model = trained.load(small_run, checkpoint)
        line = next(line for line in lines if line["epoch"] == model.epoch)
        assert model.temperature == Temperature(line["held_out"]["temperature"], 3)
        assert model.temperature.describe().endswith(", fitted on 3 held-out clips")
    file = model.open_features()
    blocks = cut_blocks(file, videos_of(file, "validation"), 4, 10.0, 1, "paper")
    found = predict_videos(model.predictor, model.params, OnDisk(file, model.predictor.dtype), blocks, 7)
    again = fit_temperature(found.predictions, file.labels[found.video])
    assert again == pytest.approx(model.temperature.value, rel=1e-4)


def test_an_evaluation_says_what_its_probabilities_and_classes_are_worth(small_run):
    scores, folder, output = evaluate(small_run, reject_below=0.5)
    assert json.loads(output.read_text()) == scores
    temperature = trained.load(small_run).temperature
    _, found = read_predictions(folder / "predictions.csv")
    rows = read_table(folder / "predictions.csv")
    calibrated = at_temperature(found, temperature.value)
    np.testing.assert_allclose([float(row["confidence"]) for row in rows], calibrated.max(axis=1), rtol=1e-4)
    calibration = scores["calibration"]
    assert (calibration["temperature"], calibration["fitted_on"]) == (temperature.value, 3)
    for name, p in (("before", found), ("after", calibrated)):  # All are right.
        entry = calibration[name]
        assert entry["negative_log_likelihood"] == pytest.approx(-np.log(p.max(axis=1)).mean(), rel=1e-3)
        assert entry["expected_calibration_error"] == pytest.approx((1 - p.max(axis=1)).mean(), rel=1e-3)
        assert sum(point["count"] for point in entry["reliability"]) == 6
    assert calibration["coverage"][0] == {"reject_below": 0.0, "num_answered": 6, "coverage": 1.0, "accuracy": 1.0}
    assert scores["rejection"]["num_answered"] == np.sum(calibrated.max(axis=1) >= 0.5)
    assert scores["mean_f1"] == 1.0
    assert scores["classes"]["run"] == {"num_videos": 2, "precision": 1.0, "recall": 1.0, "f1": 1.0}
    assert read_table(folder / "classes.csv")[1] == {
        "class": "run", "num_videos": "2", "precision": "1", "recall": "1", "f1": "1"
    }  # fmt: skip


def test_less_sure_clips_are_none_of_these(small_run):
    scores, folder, _ = evaluate(small_run, reject_below=1.0)
    rows = read_table(folder / "predictions.csv")
    assert {(row["predicted"], row["correct"]) for row in rows} == {(NONE_OF_THESE, "")}
    assert scores["rejection"] == {"reject_below": 1.0, "num_answered": 0, "coverage": 0.0, "accuracy": None}
    assert scores["accuracy"] == 1.0
    _, folder, _ = evaluate(small_run)
    assert NONE_OF_THESE not in (folder / "predictions.csv").read_text()


def test_the_console_says_it_all(small_run, run_program, capsys):
    run_program("experiments.evaluate", f"--workdir={small_run}", "--reject_below=0.2")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "mean class accuracy 100.0 %, mean F1 100.0 %"
    assert lines[2:4] == ["class  clips  precision   recall       F1", "jump       2    100.0 %  100.0 %  100.0 %"]
    assert lines[6].startswith("expected calibration error ") and "fitted on 3 held-out clips" in lines[6]
    assert lines[7] == (
        "reject_below=0.2: 100.0 % of the clips are answered, 100.0 % of them right; the others are none of these"
    )


def test_a_run_that_holds_nothing_out_has_the_temperature_that_cross_validation_has_found(tmp_path):
    Temperature(1.75, 40).write(tmp_path)
    assert Temperature.of_run(tmp_path, {"metrics": {"training_part": {}}}) == Temperature(1.75, 40)
    held_out = {"metrics": {"held_out": {"temperature": 1.2, "num_videos": 8}}}
    assert Temperature.of_run(tmp_path, held_out) == Temperature(1.2, 8)
    for text in ("[1]", '{"temperature": 0, "num_videos": 3}', '{"temperature": NaN, "num_videos": 3}', "{"):
        (tmp_path / "temperature.json").write_text(text)
        with pytest.raises(InputError, match=r"temperature.json: (not a run's temperature|the temperature is)"):
            Temperature.of_run(tmp_path, {})


def test_without_held_out_clips_there_is_no_temperature_and_that_is_said(tmp_path):
    for metadata in (
        {},
        {"metrics": {"training_part": {"num_videos": 9}}},
        {"metrics": {"held_out": {"num_videos": 9}}},
    ):
        temperature = Temperature.of_run(tmp_path, metadata)
        assert temperature == Temperature(1.0, 0)
        assert temperature(PREDICTIONS, PAPER, False) is PREDICTIONS
        assert temperature.describe() == "temperature 1: this checkpoint has no held-out clips to fit it on"
    scores = calibration_scores(temperature, predictions(PREDICTIONS), LABELS, False)
    assert scores["fitted_on"] == 0 and scores["before"] == scores["after"]


def test_votes_are_no_probabilities():
    votes = np.array([[1.0, 0.0], [0.5, 0.5]])
    assert Temperature(3.0, 9)(votes, Protocol("released"), False) is votes
    assert not np.allclose(Temperature(3.0, 9)(votes, PAPER, False), votes)
    scores = calibration_scores(Temperature(3.0, 9), predictions(votes, Protocol("released")), np.eye(2), False)
    assert scores["temperature"] == 1 and scores["before"] == scores["after"]


def test_scores_by_hand():
    scores = calibration_scores(Temperature(2.0, 9), predictions(PREDICTIONS), LABELS, False)
    assert scores["before"]["expected_calibration_error"] == pytest.approx((0.1 + 0.6 + 0.2 + (1 - 0.55)) / 4)
    first = at_temperature(PREDICTIONS, 2.0)[0].max()
    assert first == pytest.approx(0.75)
    assert rejection(PREDICTIONS, LABELS, 0.58) == {
        "reject_below": 0.58,
        "num_answered": 3,
        "coverage": 0.75,
        "accuracy": pytest.approx(2 / 3),
    }
    assert Protocol().class_scores(PREDICTIONS, LABELS, False) == [
        {"num_videos": 2, "precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3)},
        {"num_videos": 2, "precision": pytest.approx(2 / 3), "recall": 1.0, "f1": pytest.approx(0.8)},
    ]


def test_several_labels_have_curves_and_areas(tmp_path):
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]])
    p = np.array([[0.9, 0.2, 0.1], [0.6, 0.7, 0.2], [0.7, 0.4, 0.3], [0.1, 0.3, 0.6]])
    by_class = Protocol().class_scores(p, labels, True)
    assert by_class[0] == {
        "num_videos": 2,
        "precision": pytest.approx(2 / 3),
        "recall": 1.0,
        "f1": pytest.approx(0.8),
        "average_precision": pytest.approx((1 + 2 / 3) / 2),
        "roc_area": 0.75,
    }
    assert by_class[2]["recall"] is None and by_class[2]["roc_area"] is None and by_class[2]["precision"] == 0.0
    classes = by_name(["a", "b", "c"], by_class)
    write_classes(tmp_path / "classes.csv", classes)
    assert list(read_table(tmp_path / "classes.csv")[2].values()) == ["c", "0", "0", "", "0", "", ""]
    write_curves(tmp_path / "curves.csv", ["a", "b", "c"], p, labels)
    rows = read_table(tmp_path / "curves.csv")
    assert [row["class"] for row in rows] == ["a"] * 4 + ["b"] * 4
    curve = metrics.threshold_curves(p[:, 0], labels[:, 0])
    for name in ("threshold", "false_positive_rate", "recall", "precision"):
        np.testing.assert_allclose([float(row[name]) for row in rows[:4]], curve[name], rtol=1e-5)
    scores = calibration_scores(Temperature(), predictions(p), labels, True)
    assert sum(point["count"] for point in scores["before"]["reliability"]) == 12
    assert scores["coverage"][0]["accuracy"] == 0.5


def test_of_many_classes_the_worst_are_shown():
    classes = {
        f"c{n}": {"num_videos": n, "precision": None, "recall": 0.5, "f1": None if n == 3 else 1 - n / 100}
        for n in range(30)
    }
    lines = describe_classes(classes).splitlines()
    assert len(lines) == 22 and lines[-1] == "and 10 classes with a higher F1"
    assert lines[1].split() == ["c29", "29", "–", "50.0", "%", "71.0", "%"]
    some = {name: classes[name] for name in list(classes)[:21]}
    assert describe_classes(some).splitlines()[-1] == "and 1 class with a higher F1"
