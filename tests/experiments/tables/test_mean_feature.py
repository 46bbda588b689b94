"""The baseline on mean features: what it sees, how C is chosen, and that test clips have no say."""

import csv
import io

import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.features.opening import open_features
from experiments.runs.config import RunConfig, with_flags
from experiments.tables.mean_feature import MeanFeatureBaseline, clip_means
from experiments.tables.paper_tables import table1

CONFIG = with_flags(RunConfig(), validation_fraction=0.25, num_steps=4, fps=10.0)


def lines_of(path):
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_the_mean_is_over_frames_and_cells(tiny_features):
    file = open_features(tiny_features)
    by_hand = [np.float64(file.features[7 * clip : 7 * clip + 7]).reshape(-1, 8).mean(axis=0) for clip in range(18)]
    np.testing.assert_allclose(clip_means(file), by_hand, rtol=1e-5)


@pytest.mark.slow
def test_it_learns_what_is_there_and_is_not_repeated(tiny_features, tmp_path, monkeypatch):
    baseline = MeanFeatureBaseline(open_features(tiny_features))
    trial = baseline.trial(tmp_path, CONFIG)
    assert trial.scores["accuracy"] == 1.0 and trial.scores["num_videos"] == 6
    assert trial.best["held_out"]["accuracy"] == 1.0
    names, predictions = trial.predictions()
    assert len(names) == 6
    np.testing.assert_allclose(predictions.sum(axis=1), 1)
    monkeypatch.setattr(MeanFeatureBaseline, "_fit", None)
    assert baseline.trial(tmp_path, with_flags(CONFIG, epochs=3, hidden_dim=8)) == trial  # What it does not use.


@pytest.mark.slow
def test_the_held_out_clips_choose_c_and_test_clips_have_no_say(write_tiny, tmp_path):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(18, 7, 3, 3, 8)).astype(np.float16)
    splits = ["train"] * 9 + ["validation"] * 3 + ["test"] * 6
    file = open_features(write_tiny(features=features.reshape(-1, 3, 3, 8), splits=splits))
    trial = MeanFeatureBaseline(file).trial(tmp_path / "a", CONFIG)
    features[12:] = rng.normal(size=(6, 7, 3, 3, 8))
    other = MeanFeatureBaseline(open_features(write_tiny(features=features.reshape(-1, 3, 3, 8), splits=splits)))
    assert other.trial(tmp_path / "b", CONFIG).best == trial.best
    everything = other.trial(tmp_path / "b", CONFIG, everything=True)
    assert everything.best == trial.best  # The same C; the fit is another one.
    assert (everything.predictions()[1] != other.trial(tmp_path / "b", CONFIG).predictions()[1]).any()


def test_classes_that_training_lacks_and_several_labels(write_tiny, tmp_path):
    splits = ["test" if n % 3 == 2 or n > 14 else "validation" if n > 9 else "train" for n in range(18)]
    groups = [""] * 18
    trial = MeanFeatureBaseline(open_features(write_tiny(splits=splits, groups=groups))).trial(tmp_path / "a", CONFIG)
    assert (trial.predictions()[1][:, 2] == 0).all()
    several = open_features(write_tiny(multi_label=True))
    trial = MeanFeatureBaseline(several).trial(tmp_path / "b", CONFIG)
    assert trial.scores["mean_average_precision"] > 0.9


def test_bad_features_and_nothing_held_out(write_tiny, tiny_features, tmp_path):
    features = open_features(tiny_features).features.copy()
    features[50] = np.nan
    broken = MeanFeatureBaseline(open_features(write_tiny(features=features)))
    with pytest.raises(InputError, match=r"mean_feature: the features of run/clip 2 \(#1\).avi are not finite"):
        broken.trial(tmp_path, CONFIG)
    whole = MeanFeatureBaseline(open_features(tiny_features))
    with pytest.raises(InputError, match="mean_feature: nothing is held out, on which to choose C"):
        whole.trial(tmp_path, with_flags(CONFIG, validation_fraction=0.0))


def test_it_is_a_row_of_table_1(tiny_features, tmp_path):
    config = with_flags(CONFIG, features=str(tiny_features), fps=30.0)  # Too high a rate for blocks of these clips.
    paths = table1(tmp_path, config, 2, rows=("mean_feature",))
    (row,) = lines_of(paths[1])
    assert row["model"] == "logistic regression on the mean feature"
    assert row["accuracy, %"] == "100.00 ± 0.00 (100.0 100.0)"
    assert row["best epoch"].startswith("C = ")
    assert row["T"] == row["epochs"] == "" and row["held out"] == "3 of 12 training clips"


@pytest.mark.slow
def test_test_folds_test_every_clip_once(tiny_features, tmp_path):
    config = with_flags(CONFIG, features=str(tiny_features), test_folds=3)
    paths = table1(tmp_path, config, 1, rows=("mean_feature",))
    assert paths[0].name == "table1_test_folds_3.md"
    (row,) = lines_of(paths[1])
    assert (row["split"], row["test clips"]) == ("folds3-of-tiny", "18")
    folder, file = tmp_path / "test_folds_3/mean_feature/seed_0", open_features(tiny_features)
    tested = [lines_of(folder / f"fold_{k}/cell_predictions.csv") for k in range(3)]
    groups = [{line["group"] for line in lines} for lines in tested]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    assert sorted(line["path"] for lines in tested for line in lines) == sorted(file.names)
    assert "by a model that never saw its group" in paths[0].read_text(encoding="utf-8")
