"""Runs of a model that attends to two levels: from a features file to scores, pictures, a report and predictions."""

import base64
import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from attention_ar.errors import InputError
from data_prep.datasets.clip_list import Clip, ClipList
from data_prep.features.contents import FeaturesFile
from data_prep.features.extraction import extract
from data_prep.features.hdf5_file import write_features
from data_prep.features.opening import open_features
from data_prep.features.record_export import export_records
from data_prep.networks.network import Network
from experiments.html_report.contents import report
from experiments.prediction.predict_clips import predict
from experiments.runs import trained
from experiments.runs.config import RunConfig, read_config, with_flags
from experiments.runs.evaluation import evaluate, read_predictions
from experiments.runs.exporting import export_predictor
from experiments.runs.split import choose_videos
from experiments.runs.training import train
from experiments.runs.visualization import glimpse_clip, visualize, watch
from experiments.tables.cross_validation import cross_validate
from experiments.tables.localisation_clip import draw_clip
from experiments.tables.sweep_table import sweep

LEVELS = ["inception_5b", "inception_4e"]
COARSE, FINE = (3, 3, 8), (6, 6, 5)
COUNT, FRAMES = 12, 6


def contents(data_dir="/nowhere") -> FeaturesFile:
    """12 clips of two classes, which only one fine cell tells apart; groups 4 and 5 are test."""
    random = np.random.default_rng(0)
    fine = random.uniform(0, 0.1, (COUNT, FRAMES, *FINE))
    for clip in range(COUNT):
        fine[clip, :, 2, 3, clip % 2] += 9
    return FeaturesFile(
        features=random.uniform(0, 0.3, (COUNT * FRAMES, *COARSE)).astype(np.float16),
        names=[f"{('run', 'wave')[n % 2]}/{n}.avi" for n in range(COUNT)],
        first_row=FRAMES * np.arange(COUNT),
        num_frames=np.full(COUNT, FRAMES),
        native_fps=np.full(COUNT, 10.0),
        fps=np.full(COUNT, 10.0),
        labels=np.eye(2, dtype=np.uint8)[np.arange(COUNT) % 2],
        groups=[f"g{n // 2}" for n in range(COUNT)],
        splits=["test" if n >= 8 else "train" for n in range(COUNT)],
        truncated=np.zeros(COUNT, bool),
        class_names=["run", "wave"],
        multi_label=False,
        recipe={"network": "none", "random": False, "weights_sha256": "00", "levels": LEVELS},
        split_id="tiny",
        data_dir=data_dir,
        levels={"inception_4e": fine.reshape(-1, *FINE).astype(np.float16)},
    )


def config_of(features, **flags) -> RunConfig:
    small = {"num_steps": 3, "fps": 10.0, "validation_fraction": 0.25, "hidden_dim": 6, "num_layers": 1}
    small |= {"batch_size": 8, "epochs": 4, "learning_rate": 0.03, "parallel": "jit", "levels": ",".join(LEVELS)}
    return with_flags(RunConfig(), features=str(features), **{**small, **flags})


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    path = tmp_path_factory.mktemp("features") / "two.h5"
    write_features(path, contents())
    return path


@pytest.fixture(scope="module")
def workdir(features, tmp_path_factory):
    """Four epochs of training on two levels."""
    folder = tmp_path_factory.mktemp("run") / "two"
    train(config_of(features), folder)
    return folder


def params_of(workdir) -> dict:
    with np.load(workdir / "params.npz") as file:
        return dict(file)


@pytest.mark.slow
def test_sigma_is_the_root_mean_square_of_the_training_part_and_kept(features, workdir):
    file, model = open_features(features), trained.load(workdir)
    videos, held_out = choose_videos(file, config_of(features))
    rows = np.concatenate([np.arange(FRAMES * v, FRAMES * v + FRAMES) for v in videos])
    expected = np.sqrt(np.mean(np.float64(file.levels["inception_4e"][rows]) ** 2))
    assert len(held_out) and model.config.model.level_scales == f"{expected:.9g}"
    assert model.levels == tuple(LEVELS) and model.input_shapes == [list(COARSE), list(FINE)]
    assert params_of(workdir)["levels/inception_4e/projection"].shape == (5, 8)


@pytest.mark.slow
def test_resumed_from_another_store_it_ends_with_the_same_bits(features, workdir, tmp_path):
    for store, epochs in (("host", 2), ("disk", 4)):
        train(config_of(features, epochs=epochs, features_on=store), tmp_path / "again")
    expected = params_of(workdir)
    for name, array in params_of(tmp_path / "again").items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    with pytest.raises(InputError, match=r"holds a run with levels=inception_5b,inception_4e \(now inception_5b\)"):
        train(config_of(features, levels="inception_5b"), tmp_path / "again")


@pytest.mark.slow
def test_one_level_of_the_file_trains_as_if_there_were_no_other(features, tmp_path):
    made = contents()
    alone = dataclasses.replace(made, levels={}, recipe={k: v for k, v in made.recipe.items() if k != "levels"})
    write_features(tmp_path / "one.h5", alone)
    for path, name in ((features, "of two"), (tmp_path / "one.h5", "of one")):
        train(config_of(path, levels="inception_5b", epochs=1), tmp_path / name)
    expected = params_of(tmp_path / "of one")
    found = params_of(tmp_path / "of two")
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


@pytest.mark.slow
def test_all_devices_and_pmap_give_the_same(features, workdir, tmp_path):
    """A batch of 8 blocks over 8 devices, with tables of both levels on them."""
    expected = params_of(workdir)
    for way in ("auto", "pmap"):
        train(config_of(features, parallel=way, features_on="device"), tmp_path / way)
        for name, array in params_of(tmp_path / way).items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [{"attention": "hard", "num_samples": 2}, {"model": "released", "dim_out": 6}])
def test_hard_attention_and_the_released_model_have_levels_too(features, tmp_path, flags):
    """Both levels have learnt."""
    train(config_of(features, entropy_weight=0.0, validation_fraction=0.0, **flags), tmp_path / "whole")
    whole = params_of(tmp_path / "whole")
    assert np.abs(whole["levels/inception_4e/projection"]).max() > 0.03  # It began as N(0, 0.01²).
    model = trained.load(tmp_path / "whole")
    file = model.open_features()
    (seen,) = watch(model, file, [9], batch_size=2)
    np.testing.assert_allclose(seen.attention.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(seen.levels.sum(axis=1), 1, atol=1e-6)
    if "attention" in flags:
        assert set(np.unique(seen.attention)) == {0, 1}  # One location of one level.


@pytest.mark.slow
def test_evaluation_is_the_same_from_a_tfds_data_set(features, workdir, tmp_path, capsys):
    scores, folder, _ = evaluate(workdir, output=tmp_path / "scores.json")
    assert scores["num_cells"] == 9 and 0 <= scores["attention"]["entropy"] <= np.log(9) + 1e-6
    _, expected = read_predictions(folder / "predictions.csv")
    done = export_records(open_features(features), tmp_path, "two_levels")
    evaluate(workdir, features=done.folder, output=tmp_path / "again.json")
    np.testing.assert_array_equal(read_predictions(folder / "predictions.csv")[1], expected)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (
            "inception_5b,inception_3b",
            "has inception_5b, inception_4e, and not inception_3b; data_prep.extract_features",
        ),
        ("inception_4e,inception_5b", r"must begin with inception_5b, which gives the first state \(Eq. 6\)"),
        ("inception_4e", r"must begin with inception_5b, which gives the first state \(Eq. 6\)"),
        ("inception_5b,inception_4e,inception_4e", "names inception_4e twice; must be names by commas, each once"),
        ("inception_5b,", "an empty name; must be names by commas, each once"),
    ],
)
def test_levels_that_the_file_does_not_have_are_one_line(features, tmp_path, levels, message):
    with pytest.raises(InputError, match=f"levels={levels}: .*{message}"):
        train(config_of(features, levels=levels), tmp_path / "refused")


def test_a_file_of_one_level_names_what_would_be_right(write_tiny, tmp_path):
    with pytest.raises(
        InputError, match=r"has inception_5b, and not inception_4e; .* --levels=inception_5b,inception_4e"
    ):
        train(config_of(write_tiny()), tmp_path / "refused")


@pytest.mark.parametrize("scales", ["a", "0", "1,2", "inf", "-1"])
def test_scales_that_cannot_be_are_one_line(features, tmp_path, scales):
    with pytest.raises(InputError, match=f"level_scales={scales}: must be a number above 0 for each of inception_4e"):
        train(config_of(features, level_scales=scales), tmp_path / "refused")


@pytest.mark.slow
def test_given_scales_are_taken_as_they_are(features, tmp_path):
    train(config_of(features, level_scales="2.5", epochs=1), tmp_path / "run")
    assert read_config(tmp_path / "run").model.level_scales == "2.5"


def test_features_that_are_all_zero_have_no_scale(tmp_path):
    write_features(
        tmp_path / "zero.h5", dataclasses.replace(contents(), levels={"inception_4e": np.zeros((72, *FINE), "<f2")})
    )
    with pytest.raises(InputError, match="the features of a level are all 0 or not finite; extract them again"):
        train(config_of(tmp_path / "zero.h5"), tmp_path / "run")


@pytest.mark.slow
def test_nan_at_a_further_level_names_its_clip(features, tmp_path):
    made = contents()
    made.levels["inception_4e"][FRAMES * 9 + 2, 0, 0, 0] = np.nan  # Of a test clip.
    write_features(tmp_path / "nan.h5", made)
    shutil.copytree(train_of_an_epoch(features, tmp_path), tmp_path / "copy")
    with pytest.raises(InputError, match=r"the features of wave/9.avi are not finite; extract them again"):
        evaluate(tmp_path / "copy", features=tmp_path / "nan.h5")


def train_of_an_epoch(features, folder):
    train(config_of(features, epochs=1), folder / "run")
    return folder / "run"


def test_what_is_for_one_level_says_so(workdir, tmp_path):
    model = trained.load(workdir)
    with pytest.raises(
        InputError, match=r"evidence: is for models of one level; this one reads inception_5b, inception_4e$"
    ):
        watch(model, model.open_features(), [9], batch_size=2, explain="evidence")
    with pytest.raises(
        InputError, match="levels=inception_5b,inception_4e: an exported predictor is for models of one"
    ):
        export_predictor(workdir, tmp_path / "predictor.jaxexport")


@pytest.mark.slow
def test_each_run_of_a_sweep_over_levels_begins_with_the_soft_run_of_its_fold(features, tmp_path):
    soft = config_of(features, epochs=1, level_scales="2.5")
    (found,) = cross_validate(tmp_path / "soft", soft, {}, folds=2, num_seeds=1)
    of_fold = found.results[0].trials[0][0].folder.parent.parent / "fold_{fold}/seed_{seed}"
    drawn = config_of(features, epochs=1, init_from=str(of_fold), num_samples=2)
    list(cross_validate(tmp_path / "drawn", drawn, {"attention": ["hard"]}, folds=2, num_seeds=1))
    for fold in (0, 1):
        config = read_config(tmp_path / f"drawn/points/attention=hard/fold_{fold}/seed_0")
        assert config.attention.init_from == str(of_fold).format(fold=fold, seed=0)
        assert config.model.level_scales == "2.5"
    with pytest.raises(
        InputError, match=r"fold_0/seed_1: is no run that is trained to its end and has its checkpoints$"
    ):
        next(cross_validate(tmp_path / "more", drawn, {"attention": ["hard"]}, folds=2, num_seeds=2))
    with pytest.raises(InputError, match=r"has \{fold\}, which a run without --folds does not have$"):
        sweep(tmp_path / "again", drawn, {"attention": ["hard"]}, 2, 1, retrain_to_cost=True)
    with pytest.raises(InputError, match="has inception_5b, inception_4e, and not inception_3b"):
        next(cross_validate(tmp_path / "absent", drawn, {"levels": ["inception_5b,inception_3b"]}, 2, 1))
    shutil.move(tmp_path / "soft", tmp_path / "elsewhere")  # Runs that have begun do not need it any more.
    (again,) = cross_validate(tmp_path / "drawn", drawn, {"attention": ["hard"]}, folds=2, num_seeds=1)
    assert len(again.results[0].trials) == 2
    assert not (tmp_path / "more").exists() and not (tmp_path / "again").exists() and not (tmp_path / "absent").exists()


# --- From videos ------------------------------------------------------------------------------------------------------


def levels_of_a_frame(frames) -> np.ndarray:
    """Colours of 3×3 and of 6×6 places, spread over 8 and 5 channels."""
    random = np.random.default_rng(0)
    parts = []
    for side, _, num_maps in (COARSE, FINE):
        places = np.linspace(10, 213, side).astype(int)
        colours = frames[:, places][:, :, places].astype(np.float32)
        parts.append((np.abs(colours @ random.normal(0, 0.02, (3, num_maps)))).reshape(len(frames), -1))
    return np.concatenate(parts, axis=1).astype(np.float16)


@pytest.fixture(scope="module")
def network():
    recipe = {"network": "fake", "weights_sha256": "00", "random": False, "input_size": [224, 224], "levels": LEVELS}
    return Network(recipe, levels_of_a_frame, COARSE, levels={"inception_4e": FINE})


@pytest.fixture(scope="module")
def run_of_videos(network, clips, tmp_path_factory):
    """Trained on features of the clips' videos; a clip is of one colour, which is its class. Places are drawn."""
    folder = tmp_path_factory.mktemp("videos")
    names = sorted(str(path.relative_to(clips)) for path in clips.rglob("*.avi"))
    listed = tuple(
        Clip(name, (name.split("/")[0],), f"g{n}", "train" if "clip 4" in name else "test")
        for n, name in enumerate(names)
    )
    extract(
        ClipList("folder", str(clips), listed, ("jump", "run", "wave"), False, "x"), network, folder / "features.h5"
    )
    drawn = {"attention": "hard", "glimpse_rule": "sample", "num_samples": 2}
    train(config_of(folder / "features.h5", validation_fraction=0.0, epochs=1, **drawn), folder / "run")
    return folder / "run"


@pytest.mark.slow
def test_a_videos_prediction_is_that_of_its_features(run_of_videos, network, clips, capsys, monkeypatch):
    """From frames to ŷ in one pass, at both levels, with the run's σ; block by block, the same places are drawn."""
    monkeypatch.setattr("experiments.runs.matching_network.load_again", lambda recipe, name, options: network)
    _, folder, _ = evaluate(run_of_videos)
    names, expected = read_predictions(folder / "predictions.csv")
    capsys.readouterr()
    assert predict(run_of_videos, [str(clips / name) for name in names], as_json=True, stride=1) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = [list(line["probabilities"].values()) for line in lines if line["type"] == "clip"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_m_t_is_kept_for_every_frame(run_of_videos):
    model = trained.load(run_of_videos)
    file = model.open_features()
    (seen,) = watch(model, file, [1], batch_size=2)
    assert seen.levels.shape == (7, 2) and seen.attention.shape == (7, 9)
    np.testing.assert_allclose(seen.levels.sum(axis=1), 1, atol=1e-6)
    glimpses = glimpse_clip(model, file, 1, np.array([0.9, 0.1, 0.0]))
    np.testing.assert_array_equal(glimpses.levels, seen.levels)
    percent = [round(100 * m) for m in seen.levels[0].tolist()]
    assert glimpses.captions()[0] == f"inception_5b {percent[0]} %, inception_4e {percent[1]} %; {glimpses.caption()}"


@pytest.mark.slow
def test_filmstrip_report_and_overlay_of_videos(run_of_videos, network, clips, tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.runs.matching_network.load_again", lambda recipe, name, options: network)
    (picture,) = visualize(run_of_videos, clips=["run/clip 5 (#1).avi"], output=tmp_path)
    with Image.open(picture) as image:
        height = image.height
    assert height > 3 * 60  # Frames, attention and m_t, of at least this height each.
    path, missing = report(run_of_videos, output=tmp_path / "report.html")
    text = path.read_text(encoding="utf-8")
    assert missing == []
    assert json.dumps("fake, 3 × 3 × 8 and 6 × 6 × 5").strip('"') in text
    clip = json.loads(re.search(r'id="contents">(.*?)</script>', text)[1])["clips"][0]
    model = trained.load(run_of_videos)
    file = model.open_features()
    (seen,) = watch(model, file, [file.names.index(clip["name"])], batch_size=2)
    shares = np.frombuffer(base64.b64decode(clip["levels"]), np.uint8).reshape(-1, 2)
    np.testing.assert_allclose(shares / 255, seen.levels, atol=0.51 / 255)
    draw_clip(tmp_path / "clip.png", clip["name"], [("drawn", run_of_videos, "argmax")])
    with Image.open(tmp_path / "clip.png") as image:
        assert image.width > 300
    assert predict(run_of_videos, [str(clips / "run/clip 5 (#1).avi")], overlay=str(tmp_path / "overlay.mp4")) == 0
    assert (tmp_path / "overlay.mp4").stat().st_size > 1000
