"""What helps with few clips and unequal classes: class weights, mirrored clips, early stopping."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from attention_ar.errors import InputError
from data_prep.features.opening import open_features
from experiments.runs.autosave import Autosave
from experiments.runs.build import build_objective
from experiments.runs.config import (
    DataConfig,
    ModelConfig,
    ObjectiveConfig,
    RunConfig,
    RuntimeConfig,
    TrainingConfig,
    with_flags,
)
from experiments.runs.evaluation import evaluate
from experiments.runs.metrics_log import read_metrics
from experiments.runs.resumption import Best, is_over
from experiments.runs.split import UNUSED, choose_videos, split_of_run
from experiments.runs.training import train
from experiments.runs.video_predictions import videos_of
from experiments.runs.visualization import original_frames


def config(features, **flags) -> RunConfig:
    """The fastest model on the tiny features."""
    base = RunConfig(
        DataConfig(str(features), 0.25, num_steps=4, fps=10.0),
        ModelConfig("softmax_regression"),
        training=TrainingConfig(batch_size=8, epochs=3, learning_rate=0.05),
        runtime=RuntimeConfig("jit"),
    )
    return with_flags(base, **flags)


# --- Class weights ----------------------------------------------------------------------------------------------------


def test_balanced_weights_are_those_of_the_training_blocks():
    labels = np.eye(2)[[0, 0, 0, 1]]
    balanced = RunConfig(objective=ObjectiveConfig(class_weights="balanced"))
    assert build_objective(balanced, False, labels).class_weights == (4 / 6, 2.0)
    assert build_objective(balanced, False).class_weights == ()  # Evaluation needs none.
    assert build_objective(RunConfig(), False, labels).class_weights == ()
    with pytest.raises(InputError, match=r"^class_weights=balanced: needs clips with one label each"):
        build_objective(balanced, True, labels)


@pytest.fixture(scope="module")
def unequal(write_tiny, tiny_features):
    """The tiny features without most clips of one class."""
    file = open_features(tiny_features)
    classes = file.labels.argmax(axis=1)
    kept = np.array([not (classes[v] == 2 and file.groups[v] in ("g0", "g1", "g2")) for v in range(18)])
    rows = np.repeat(kept, file.num_frames)
    count = int(kept.sum())
    some = {
        name: [v for v, keep in zip(getattr(file, name), kept, strict=True) if keep]
        for name in ("names", "groups", "splits")
    }
    arrays = {name: getattr(file, name)[kept] for name in ("num_frames", "native_fps", "fps", "labels", "truncated")}
    return write_tiny(features=file.features[rows], first_row=7 * np.arange(count), **some, **arrays)


@pytest.mark.slow
def test_a_run_with_balanced_weights_trains_and_says_so(unequal, tmp_path):
    plain = train(config(unequal, validation_fraction=0.0, epochs=1), tmp_path / "plain")
    weighted = train(config(unequal, validation_fraction=0.0, epochs=1, class_weights="balanced"), tmp_path / "run")
    assert weighted["loss"] != plain["loss"]
    # The first epoch's loss is near 4 ln 3 in both: the weights keep its scale.
    assert weighted["cross_entropy"] == pytest.approx(plain["cross_entropy"], rel=0.5)
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert saved["objective"]["class_weights"] == "balanced"
    scores, _, _ = evaluate(tmp_path / "run")
    assert scores["num_videos"] == 6
    with pytest.raises(InputError, match=r"class_weights=balanced \(now none\); name another --workdir"):
        train(config(unequal, validation_fraction=0.0, epochs=1), tmp_path / "run")


# --- Mirrored clips ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mirrored(write_tiny, tiny_features):
    """The tiny features, and those of the training clips a second time, as mirrored; "jump" and "run" swap."""
    file = open_features(tiny_features)
    train_part = np.flatnonzero(np.array(file.splits) == "train")
    again = np.concatenate([np.arange(18), train_part])
    features = file.features.reshape(18, 7, *file.features.shape[1:])[again]
    features[18:] = features[18:, :, :, ::-1]
    labels = file.labels[again]
    labels[18:] = labels[18:][:, [1, 0, 2]]
    return write_tiny(
        features=features.reshape(-1, *file.features.shape[1:]),
        names=file.names + [f"{file.names[v]}#mirrored" for v in train_part],
        groups=[file.groups[v] for v in again],
        splits=[file.splits[v] for v in again],
        labels=labels,
        first_row=7 * np.arange(len(again)),
        recipe={**file.recipe, "mirror": "training clips; jump:run"},
        **{name: getattr(file, name)[again] for name in ("num_frames", "native_fps", "fps", "truncated")},
    )


@pytest.mark.parametrize(
    "flags",
    [{"validation_fraction": 0.25}, {"folds": 3, "fold": 1}, {"validation_fraction": 0.25, "split_seed": 5}],
)
def test_mirrored_clips_follow_their_source_and_change_nothing_else(tiny_features, mirrored, flags):
    plain, file = open_features(tiny_features), open_features(mirrored)
    before, after = split_of_run(plain, config(tiny_features, **flags)), split_of_run(file, config(mirrored, **flags))
    assert after[:18] == before
    assert {before[source] for source in file.source[18:]} == {"train", "validation"}
    for video in range(18, 30):
        assert after[video] == ("train" if before[file.source[video]] == "train" else UNUSED)
    training, held_out = choose_videos(file, config(mirrored, **flags))
    assert not file.mirrored[held_out].any()
    assert not set(file.source[training]) & set(held_out)


def test_with_nothing_held_out_all_mirrored_clips_are_trained_on(mirrored):
    training, held_out = choose_videos(open_features(mirrored), config(mirrored, validation_fraction=0.0))
    assert len(training) == 24 and not len(held_out)


@pytest.mark.slow
def test_no_part_evaluates_a_mirrored_clip(mirrored, tiny_features, tmp_path, capsys):
    file = open_features(mirrored)
    assert [len(videos_of(file, split)) for split in ("train", "test")] == [12, 6]
    train(config(mirrored), tmp_path / "run")
    assert " of the videos to train on are mirror images of others" in capsys.readouterr().out
    scores = {split: evaluate(tmp_path / "run", split=split)[0] for split in ("train", "validation", "test")}
    assert [scores[split]["num_videos"] for split in ("train", "validation", "test")] == [9, 3, 6]
    # The model serves features without mirrored clips, too.
    plain, _, _ = evaluate(tmp_path / "run", features=tiny_features)
    assert plain["cross_entropy"] == pytest.approx(scores["test"]["cross_entropy"], rel=1e-6)


def test_pictures_of_a_mirrored_clip_are_mirrored(tmp_path):
    class File:
        names, recipe = ["a/x.png", "a/x.png#mirrored"], {"mirror": "training clips"}
        fps = native_fps = np.array([10.0, 10.0])
        mirrored = np.array([False, True])

        def clip_path(self, video, data_dir):
            return tmp_path / "x"

        def clip_frames(self, video):
            return np.arange(2)

    (tmp_path / "x").mkdir()
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:, :4] = 255
    for number in range(2):
        Image.fromarray(picture).save(tmp_path / "x" / f"{number:03d}.png")
    plain, flipped = (original_frames(File(), video, np.arange(2)) for video in (0, 1))
    np.testing.assert_array_equal(flipped, plain[:, :, ::-1])
    assert plain[0, 0, 0, 0] > 200 > flipped[0, 0, 0, 0]


# --- Patience ---------------------------------------------------------------------------------------------------------


def line(epoch, score, cross_entropy) -> dict:
    return {
        "epoch": epoch,
        "loss": 1.0,
        "held_out": {"score_name": "accuracy", "accuracy": score, "cross_entropy": cross_entropy},
    }


def test_training_ends_after_so_many_epochs_without_a_better_one():
    lines = [line(1, 0.5, 9.0), line(2, 0.7, 8.0), line(3, 0.7, 8.5), line(4, 0.6, 1.0), line(5, 0.7, 7.9)]
    best = max(Best.of(one) for one in lines[:4])
    assert best.epoch == 2
    training = TrainingConfig(epochs=99, patience=2)
    assert [is_over(epoch, {}, training, best) for epoch in (2, 3, 4)] == [False, False, True]
    assert max(Best.of(one) for one in lines).epoch == 5  # The score is the same, the cross-entropy is lower.
    assert not is_over(50, {}, TrainingConfig(epochs=99), best)
    assert not is_over(50, {}, training, None)  # Nothing is held out.
    assert max([Best.of(line(1, float("nan"), 1.0)), Best.of(line(2, 0.0, 2.0))]).epoch == 2


def impatient(features, patience=1, **flags) -> RunConfig:
    """A learning rate that is too high: soon an epoch is no better than the best one."""
    return config(features, patience=patience, epochs=12, learning_rate=2.0, **flags)


@pytest.fixture(scope="module")
def patient_run(tiny_features, tmp_path_factory):
    """A run that ends early."""
    folder = tmp_path_factory.mktemp("patience") / "run"
    train(impatient(tiny_features), folder)
    return folder


@pytest.mark.slow
def test_a_run_ends_early_and_is_then_complete(tiny_features, patient_run, capsys):
    lines = read_metrics(patient_run / "metrics.jsonl")
    assert 2 <= len(lines) < 12
    best = max(Best.of(one) for one in lines)
    assert lines[-1]["epoch"] == best.epoch + 1
    found = train(impatient(tiny_features), patient_run)
    assert found["epoch"] == best.epoch
    assert f"already complete after epoch {len(lines)}" in capsys.readouterr().out


@pytest.mark.slow
def test_more_patience_resumes_and_ends_with_the_same_bits(tiny_features, patient_run, tmp_path):
    """Interrupted after every step, and begun with less patience, it is the run of the greater patience."""

    class Killed(BaseException):
        pass

    train(impatient(tiny_features, patience=3), tmp_path / "whole")
    expected = read_metrics(tmp_path / "whole" / "metrics.jsonl")
    train(impatient(tiny_features), tmp_path / "run")
    saved = Autosave.save

    def save_and_die(self, state, position):
        saved(self, state, position)
        self._checkpoints.wait()
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Autosave, "save", save_and_die)
        for _ in range(3):
            with pytest.raises(Killed):
                train(impatient(tiny_features, patience=3, save_seconds=0.0), tmp_path / "run")
    train(impatient(tiny_features, patience=3), tmp_path / "run")
    found = read_metrics(tmp_path / "run" / "metrics.jsonl")
    kept = ("epoch", "step", "loss", "held_out")
    assert [{k: one[k] for k in kept} for one in found] == [{k: one[k] for k in kept} for one in expected]
    with np.load(tmp_path / "whole" / "params.npz") as whole, np.load(tmp_path / "run" / "params.npz") as run:
        for name in whole:
            np.testing.assert_array_equal(run[name], whole[name])


@pytest.mark.slow
def test_patience_without_anything_held_out_is_said_and_has_no_effect(tiny_features, tmp_path, capsys):
    train(impatient(tiny_features, validation_fraction=0.0, patience=1), tmp_path / "run")
    assert "NOTE: nothing is held out, so patience has no effect" in capsys.readouterr().out
    assert len(read_metrics(tmp_path / "run" / "metrics.jsonl")) == 12


def test_configurations_keep_their_defaults():
    assert dataclasses.asdict(RunConfig())["objective"]["class_weights"] == "none"
    assert TrainingConfig().patience == 0
