"""Runs with hard attention: trained, interrupted, evaluated, predicted and exported as every other run is."""

import dataclasses
import json
import math

import jax
import jax.export
import numpy as np
import pytest

from attention_ar.errors import InputError
from attention_ar.training.checkpoints import Checkpoints
from data_prep.loading.block_table import cut_blocks
from data_prep.loading.feature_stores import OnDisk
from experiments.runs import trained
from experiments.runs.autosave import Autosave
from experiments.runs.config import RunConfig, as_flags, with_flags
from experiments.runs.evaluation import evaluate
from experiments.runs.exporting import export_predictor
from experiments.runs.metrics_log import read_metrics
from experiments.runs.training import train
from experiments.runs.video_predictions import predict_blocks
from experiments.runs.visualization import watch

pytestmark = pytest.mark.slow  # Each test trains.


def config(features, **changes) -> RunConfig:
    """What `small_run` was trained with, with hard attention: 36 blocks in 6 batches an epoch."""
    values = {
        **{"features": str(features), "validation_fraction": 0.25, "num_steps": 4, "fps": 10.0, "hidden_dim": 8},
        **{"num_layers": 2, "dim_out": 8, "batch_size": 7, "epochs": 2, "learning_rate": 0.01, "parallel": "jit"},
        "attention": "hard",
    }
    return with_flags(RunConfig(), **{**values, **changes})


@pytest.fixture(scope="module")
def hard_run(tiny_features, small_run, tmp_path_factory):
    """A run with a window that begins with the parameters of `small_run`."""
    workdir = tmp_path_factory.mktemp("hard") / "run"
    flags = {"attention": "window", "window": 1, "glimpse_rule": "sample", "attention_penalty": 0.1}
    train(config(tiny_features, init_from=str(small_run), **flags), workdir)
    return workdir


def test_it_reports_the_loss_and_beside_it_the_other_terms(hard_run, small_run):
    lines = read_metrics(hard_run / "metrics.jsonl")
    for line in lines:
        parts = ("cross_entropy", "attention_penalty", "weight_decay")
        assert line["loss"] == pytest.approx(sum(line[name] for name in parts), rel=1e-5)
        assert line["score_term"] != 0
    # λ_e = 0.03 and at most 4 ln 9 a block; it falls to 0 at the last of 12 updates.
    assert -0.03 * 4 * math.log(9) < lines[0]["entropy_term"] < lines[1]["entropy_term"] < 0
    assert lines[1]["entropy_term"] == pytest.approx(lines[0]["entropy_term"] / 3, rel=0.4)
    # It began with what the other run had learnt.
    untrained = read_metrics(small_run / "metrics.jsonl")[0]
    assert lines[0]["cross_entropy"] < 0.5 * untrained["cross_entropy"]
    with Checkpoints(hard_run / "checkpoints", create=False) as checkpoints:
        assert checkpoints.metadata()["epoch"] == 2


def test_three_glimpse_rules_are_reported_and_any_can_be_asked_for(hard_run, tmp_path):
    scores, folder, _ = evaluate(hard_run)
    assert (scores["glimpse_rule"], list(scores["glimpse_rules"])) == ("sample", ["argmax", "sample", "expectation"])
    assert scores["glimpse_rules"]["sample"]["cross_entropy"] == scores["cross_entropy"]
    assert folder.name == "test"
    for rule in ("argmax", "expectation"):
        own, folder, _ = evaluate(hard_run, glimpse_rule=rule, output=tmp_path / "scores.json")
        assert folder.name == f"test_{rule}"
        assert own["cross_entropy"] == scores["glimpse_rules"][rule]["cross_entropy"]
        assert "glimpse_rules" not in own
    values = [found["cross_entropy"] for found in scores["glimpse_rules"].values()]
    assert len(set(values)) == 3


def blocks_of(model, videos, batch_size=5):
    file, data = model.open_features(), model.config.data
    blocks = cut_blocks(file, videos, data.num_steps, data.fps, data.stride)
    store = OnDisk(file, model.predictor.dtype)
    return predict_blocks(model.predictor, model.params, store, blocks, batch_size, explain="attention")


def test_the_best_epoch_is_chosen_under_its_glimpse_rule(hard_run):
    scores, *_ = evaluate(hard_run, split="validation")
    with Checkpoints(hard_run / "checkpoints", create=False) as checkpoints:
        best = checkpoints.metadata("best")["epoch"]
    held_out = read_metrics(hard_run / "metrics.jsonl")[best - 1]["held_out"]
    found = {rule: one["cross_entropy"] for rule, one in scores["glimpse_rules"].items()}
    assert found["sample"] == pytest.approx(held_out["cross_entropy"], rel=1e-5)
    assert all(abs(found[rule] - found["sample"]) > 1e-3 for rule in ("argmax", "expectation"))


def test_what_is_drawn_for_a_clip_does_not_depend_on_the_other_clips_or_the_batch(hard_run):
    model = trained.load(hard_run)
    together, alone = blocks_of(model, [12, 13, 14], 12), blocks_of(model, [13], 3)
    for name in ("predictions", "maps"):
        np.testing.assert_allclose(together[name][4:8], alone[name], atol=2e-6)
    # Ten draws of a window each; blocks that begin elsewhere are drawn anew.
    assert len({row.tobytes() for row in alone["maps"]}) == 4


def test_pictures_show_where_it_looked(hard_run):
    for rule in ("argmax", "expectation"):
        model = trained.load(hard_run, glimpse_rule=rule)
        (seen,) = watch(model, model.open_features(), [12], batch_size=2)
        num_cells = (seen.attention > 0).sum(axis=1)
        assert num_cells.min() == 9 if rule == "expectation" else set(num_cells.tolist()) <= {4, 6, 9}
    hard = dataclasses.replace(model, config=with_flags(model.config, attention="hard")).with_glimpse_rule("argmax")
    (seen,) = watch(hard, model.open_features(), [12], batch_size=2)
    assert set(np.unique(seen.attention).tolist()) == {0.0, 1.0}


def test_an_exported_predictor_draws_and_shows_the_same(hard_run, tmp_path):
    about = export_predictor(hard_run, tmp_path / "predictor")
    assert list(about["results"]) == ["predictions", "block_predictions", "attention", "glimpse"]
    exported = jax.export.deserialize((tmp_path / "predictor").read_bytes())
    x = np.random.default_rng(0).uniform(0, 2, (3, 4, 9, 8)).astype(np.float32)
    found = exported.call(x)
    model = trained.load(hard_run)
    expected = model.predictor(
        model.params, model.predictor.parallel.put({"features": np.repeat(x, 8, 0)}), ("glimpse",)
    )
    assert found["glimpse"].shape == (3, 4, 9)
    np.testing.assert_allclose(found["glimpse"].sum(axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(found["glimpse"][0], expected["glimpse"][0], atol=1e-5)


class Killed(BaseException):
    """Not an Exception: nothing catches it, as nothing catches SIGKILL."""


def test_killed_and_resumed_it_ends_with_the_same_bits(tiny_features, tmp_path, monkeypatch):
    """With the moving average, which checkpoints keep, and the weight of the entropy, which follows from the step."""
    flags = config(tiny_features, model="released", num_samples=1, save_seconds=0.0)
    train(flags, tmp_path / "whole")
    saved, waiting = Autosave.save, [2, 9]

    def save_and_die(self, state, position):
        saved(self, state, position)
        if int(state.step) in waiting:
            self._checkpoints.wait()
            waiting.remove(int(state.step))
            raise Killed

    monkeypatch.setattr(Autosave, "save", save_and_die)
    while waiting:
        with pytest.raises(Killed):
            train(flags, tmp_path / "killed")
    train(flags, tmp_path / "killed")
    whole, killed = (np.load(tmp_path / name / "params.npz", allow_pickle=False) for name in ("whole", "killed"))
    assert set(whole) == set(killed)
    for name in whole:
        np.testing.assert_array_equal(whole[name], killed[name], err_msg=name)
    logs = [read_metrics(tmp_path / name / "metrics.jsonl") for name in ("whole", "killed")]
    for a, b in zip(*logs, strict=True):
        for name in ("loss", "score_term", "entropy_term", "held_out"):
            assert a[name] == b[name]


@pytest.mark.parametrize("changes", [{"num_samples": 1, "soft_probability": 0.0}, {"estimator": "gumbel_st"}])
def test_other_ways_to_train_it(tiny_features, tmp_path, changes):
    """On eight devices, through pmap, in bfloat16."""
    own = {"batch_size": 8, "parallel": "pmap", "compute_dtype": "bfloat16", "epochs": 1}
    train(config(tiny_features, **own, **changes), tmp_path / "run")
    (line,) = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert (line["score_term"] == 0) == ("estimator" in changes)


def test_a_run_that_begins_with_another(tiny_features, write_tiny, small_run, tmp_path):
    for changes, message in (
        ({"hidden_dim": 6}, "does not fit the model: .*classifier_hidden/bias is \\[8\\], must be \\[6\\]"),
        ({"model": "released"}, "is a run of soft_attention, and not of released$"),
        (
            {"init_from": str(tmp_path / "absent")},
            "absent: is no run that is trained to its end and has its checkpoints$",
        ),
        (
            {"split_seed": 3},
            "it was trained on 3 of the 3 clips that are held out here; give both runs the same --split_seed$",
        ),
        (
            {"test_folds": 3, "validation_fraction": 0.0},
            r"it was trained on \d of the \d clips that are tested here; give both runs the same "
            "--validation_fraction, --test_folds$",
        ),
        ({"features": str(write_tiny(split_id="another"))}, "its split_id is tiny, here it is another"),
    ):
        flags = with_flags(config(tiny_features, init_from=str(small_run)), **changes)
        with pytest.raises(InputError, match=message) as error:
            train(flags, tmp_path / "refused")
        assert str(error.value).startswith("init_from=") and "\n" not in str(error.value)
        assert not (tmp_path / "refused" / "config.json").exists()


def test_a_glimpse_rule_of_a_soft_run_is_refused(small_run):
    with pytest.raises(InputError, match=r"glimpse_rule=sample: .* is a run with attention=soft; it is for"):
        evaluate(small_run, glimpse_rule="sample")


def test_soft_runs_are_what_they_were(small_run):
    """Checkpoints of soft attention have nothing new in them, and a configuration of before is read."""
    with Checkpoints(small_run / "checkpoints", create=False) as checkpoints:
        step = checkpoints.step()
        assert set(checkpoints._manager.item_metadata(step)["training"].tree) == {"step", "opt_state"}
    saved = json.loads((small_run / "config.json").read_text())
    assert saved["attention"]["attention"] == "soft"
    assert "score_term" not in read_metrics(small_run / "metrics.jsonl")[0]
    assert as_flags(trained.load(small_run).config)["init_from"] == ""
