"""From the authors' files to a score: their data sets and checkpoints, recorded with the scores that they got."""

import csv
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.features.hdf5_file import write_features
from data_prep.features.opening import open_features
from data_prep.loading.block_table import cut_blocks
from data_prep.loading.feature_stores import OnDisk
from data_prep.released.conversion import from_released
from experiments.runs import trained
from experiments.runs.config import DataConfig, ModelConfig, ReleasedConfig, RunConfig, read_config
from experiments.runs.evaluation import evaluate
from experiments.runs.released_checkpoints import export_checkpoint, import_checkpoint
from experiments.runs.training import train
from experiments.runs.video_predictions import predict_blocks
from experiments.runs.visualization import visualize

T191 = Path(__file__).parents[2] / "golden/t191_ucf11_adam"
PARTS = {"train": "TestTrainProto", "validation": "TestValidProto", "test": "TestTestProto"}


def checkpoint_of(recording: Path) -> Path:
    return next((recording / "run").glob("model_*.npz"))


def make_run(recording: Path, folder: Path) -> Path:
    """Converts the data set of a recording, imports its checkpoint under its recorded options, returns the workdir."""
    recorded = json.loads((recording / "trace.json").read_text())["options"]
    names = {"num_steps": "maxlen", "stride": "testing_stride"}
    options = {
        name: recorded[names.get(name, name)][0]
        for name in ("num_steps", "fps", "stride", "last_n", "temperature_inverse", "use_dropout")
    }
    data = next((recording / "data").rglob("test_features.h5")).parent
    from_released(data, folder / "features.h5")
    import_checkpoint(checkpoint_of(recording), folder / "run", folder / "features.h5", **options)
    return folder / "run"


@pytest.fixture(scope="module")
def t191(tmp_path_factory):
    """The workdir of the recording that the repository has a copy of."""
    return make_run(T191, tmp_path_factory.mktemp("t191"))


def window_predictions(recording: Path, part: str, num_classes: int) -> np.ndarray:
    """Returns the recorded predictions of each video's blocks, averaged: shares of the votes, or probabilities."""
    with np.load(recording / "trace.npz", allow_pickle=False) as trace:
        windows = trace[f"final_{PARTS[part]}_window_preds"]
        video = trace[f"final_{PARTS[part]}_window_video"]
    votes = windows if windows.ndim == 2 else np.eye(num_classes)[windows.astype(int)]
    return np.stack([votes[video == v].mean(axis=0) for v in range(video.max() + 1)])


def require_recorded_scores(recording: Path, workdir: Path, *parts) -> dict:
    """Scores and predictions of these parts are the recorded ones. Returns the scores of the last.

    None of the listed faults of the authors' program touches them: its evaluation reads short videos as ours does
    (repeating the last frame), its lists of labels end with a newline, and every class has a video.
    """
    expected = dict(zip(PARTS, json.loads((recording / "trace.json").read_text())["train_returned"], strict=True))
    for part in parts:
        scores, folder, _ = evaluate(workdir, split=part, protocol="released")
        assert scores[scores["score_name"]] == pytest.approx(expected[part], abs=1e-9), part
        with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        found = np.array([[float(value) for name, value in row.items() if name.startswith("p(")] for row in rows])
        # Six digits are written, and float16 features move probabilities by less.
        np.testing.assert_allclose(found, window_predictions(recording, part, found.shape[1]), atol=2e-6)
    return scores


@pytest.mark.slow
def test_the_recorded_scores_on_ucf11(t191):
    require_recorded_scores(T191, t191, "train", "test")


@pytest.mark.slow
def test_the_recorded_scores_on_hollywood2(shared, tmp_path):
    """Several labels: every class's average precision too."""
    recording = shared("golden/t192_h2mAP_sgd")
    workdir = make_run(recording, tmp_path)
    scores = require_recorded_scores(recording, workdir, "train", "test")
    assert scores["mean_average_precision"] == pytest.approx(0.625, abs=1e-9)
    with np.load(recording / "trace.npz", allow_pickle=False) as trace:
        np.testing.assert_allclose(scores["average_precisions"], trace["final_TestTestProto_AP"], atol=1e-12)


@pytest.mark.slow
def test_the_recorded_scores_of_a_model_that_has_learnt(shared, tmp_path):
    """It tells all videos apart; and the attention is that of the notebook, where that is right.

    The notebook is fed zeros for the one test video that is shorter than a block (5 frames of 6), and so takes it for
    class 3. Ours repeats its last frame, looks elsewhere and sees class 0, which it is.
    """
    recording = shared("golden/t193_ucf11_adam_learns")
    workdir = make_run(recording, tmp_path)
    assert require_recorded_scores(recording, workdir, "test")["accuracy"] == 1
    model = trained.load(workdir)
    file = model.open_features()
    test = np.flatnonzero(np.array(file.splits) == "test")
    data = model.config.data
    blocks = cut_blocks(file, test, data.num_steps, data.fps, 100, data.block_rule)
    store = OnDisk(file, model.predictor.dtype)
    found = predict_blocks(model.predictor, model.params, store, blocks, batch_size=4, explain="attention")
    with np.load(recording / "notebook_single_examples.npz", allow_pickle=False) as notebook:
        alphas, is_right, classes = notebook["alphas"][:, :, 0], notebook["nonzero_input"], notebook["preds"][:, 0]
    assert file.num_frames[test].tolist() == [5, 10, 7, 12] and is_right.tolist() == [False, True, True, True]
    np.testing.assert_allclose(found["maps"][is_right], alphas[is_right], atol=2e-4)
    assert np.abs(found["maps"][0] - alphas[0]).max() > 0.1
    assert classes.tolist() == [3, 1, 2, 3]
    assert np.argmax(found["predictions"], axis=1).tolist() == [0, 1, 2, 3]


@pytest.mark.slow
def test_what_the_run_says_of_itself(t191):
    config = read_config(t191)
    features = t191.parent / "features.h5"
    assert config == RunConfig(
        data=DataConfig(str(features), num_steps=6, stride=2, block_rule="released"),
        model=ModelConfig("released", hidden_dim=16, num_layers=1, dropout=0.0),
        released=ReleasedConfig(dim_out=12, last_n=6),
    )
    model = trained.load(t191)
    with np.load(checkpoint_of(T191)) as theirs, np.load(t191 / "params.npz") as ours:
        assert set(ours.files) == set(model.params) and len(ours.files) == 16
        for name in ours.files:
            np.testing.assert_array_equal(ours[name], theirs[name])
            np.testing.assert_array_equal(model.params[name], theirs[name])
    assert model.recipe == open_features(features).recipe and model.feature_shape == [7, 7, 32]
    assert model.class_names == ["class00", "class01", "class02", "class03"] and model.epoch == 0


def test_the_options_are_read_off_the_checkpoint(shared, tmp_path):
    """t193 has the classifier see the attended input too, and as many hidden units as state."""
    workdir = make_run(shared("golden/t193_ucf11_adam_learns"), tmp_path)
    assert read_config(workdir).released == ReleasedConfig(dim_out=16, ctx2out=True, last_n=3)


@pytest.mark.slow
def test_filmstrips_of_an_imported_run(t191, tmp_path):
    path = tmp_path / "class0/video_test_00.avi"
    path.parent.mkdir()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for index in range(14):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * index, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    pictures = visualize(t191, data_dir=tmp_path, clips=["video_test_00.avi"], output=tmp_path / "figures")
    assert [picture.name for picture in pictures] == ["class0_video_test_00_avi.png"]
    assert pictures[0].stat().st_size > 0


def test_there_and_back_again(t191, tmp_path):
    """Export gives the authors' parameters to the bit, and can be imported."""
    config = export_checkpoint(t191, tmp_path / "model.npz")
    assert config.released.last_n == 6
    with np.load(checkpoint_of(T191)) as theirs, np.load(tmp_path / "model.npz", allow_pickle=False) as ours:
        assert set(ours.files) == set(theirs.files) - {
            *("zipped_params", "history_errs", "train_err", "valid_err", "test_err")
        }
        for name in ours.files:
            assert ours[name].dtype == np.float32
            np.testing.assert_array_equal(ours[name], theirs[name])
    features = t191.parent / "features.h5"
    import_checkpoint(tmp_path / "model.npz", tmp_path / "run", features, temperature_inverse=2.0)
    assert read_config(tmp_path / "run").model.dropout == 0.5
    assert read_config(tmp_path / "run").released.temperature_inverse == 2.0


@pytest.mark.slow
def test_training_goes_on_from_an_imported_checkpoint(tmp_path):
    """One batch, hence one step of Adam, which moves a parameter by the learning rate."""
    workdir = make_run(T191, tmp_path)
    before = dict(np.load(workdir / "params.npz"))
    config = read_config(workdir)
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=1))
    assert train(config, workdir)["epoch"] == 1
    after = dict(np.load(workdir / "params.npz"))
    moved = max(float(np.abs(after[name] - before[name]).max()) for name in before)
    assert moved == pytest.approx(config.training.learning_rate, rel=1e-2)


@pytest.fixture(scope="module")
def other_features(t191, tmp_path_factory):
    """A function that writes a features file like that of t191 with some of its contents changed."""
    contents = open_features(t191.parent / "features.h5")

    def change(**changes):
        path = tmp_path_factory.mktemp("other") / "features.h5"
        write_features(path, type(contents)(**{**vars(contents), **changes}))
        return path

    return change


def test_features_that_do_not_fit(t191, other_features, tmp_path):
    file = open_features(t191.parent / "features.h5")
    three_classes = np.eye(3, dtype=np.uint8)[np.argmax(file.labels, axis=1) % 3]
    for changes, message in (
        (
            {"features": file.features[..., :8]},
            r"has 32 channels a cell \(the features file 8\); must be the features it",
        ),
        (
            {"labels": three_classes, "class_names": ["a", "b", "c"]},
            r"model_t191.npz: has 4 classes \(the features file 3\); must .* --class_names can name classes that no",
        ),
        ({"features": file.features[:, :5, :5]}, r"features.h5: has 5×5 cells a frame; the released program has 7×7"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            import_checkpoint(checkpoint_of(T191), tmp_path / "run", other_features(**changes))
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_imports_that_are_refused(t191, tmp_path):
    model, features = checkpoint_of(T191), t191.parent / "features.h5"
    before = {path: path.stat().st_mtime_ns for path in t191.rglob("*")}
    for arguments, message in (
        ((model, t191, features), r"holds a run already \(config.json, checkpoints, params.npz\); name another"),
        ((tmp_path / "none.npz", tmp_path / "run", features), "none.npz: not a readable .npz file"),
        ((T191 / "trace.npz", tmp_path / "run", features), "trace.npz: no checkpoint of the released program"),
        ((model, tmp_path / "run", tmp_path / "none.h5"), "none.h5: no such file"),
        ((model, features, features), "features.h5: cannot be written"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            import_checkpoint(*arguments)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="fps=60: must be above 0 and at most 30"):
        import_checkpoint(model, tmp_path / "run", features, fps=60.0)
    assert list(tmp_path.iterdir()) == []
    assert {path: path.stat().st_mtime_ns for path in t191.rglob("*")} == before


def test_exports_that_are_refused(t191, tmp_path):
    (tmp_path / "there.npz").touch()
    config = json.loads((t191 / "config.json").read_text())
    config["model"]["model"] = "soft_attention"
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper/config.json").write_text(json.dumps(config))
    for workdir, target, message in (
        (t191, "there.npz", "there.npz: exists already; name another file"),
        (tmp_path / "paper", "new.npz", "paper: holds a run of model=soft_attention; only model=released can"),
        (tmp_path / "none", "new.npz", "config.json: No such file or directory"),
        (t191, "none/new.npz", "none/new.npz: cannot be written"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            export_checkpoint(workdir, tmp_path / target)
        assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"there.npz", "paper"}


@pytest.mark.slow
def test_as_a_user_types_it(t191, tmp_path):
    def say(program, *arguments):
        command = [sys.executable, "-m", program, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)

    named = [f"--model={checkpoint_of(T191)}", f"--features={t191.parent / 'features.h5'}", "--workdir=run"]
    options = ["--num_steps=6", "--stride=2", "--last_n=6", "--nouse_dropout"]
    imported = say("experiments.import_released", *named, *options)
    assert imported.returncode == 0, imported.stderr
    assert "hidden_dim=16, init_layers=1, dim_out=12, n_layers_att=1, n_layers_out=1" in imported.stdout
    assert "num_steps=6, fps=30.0, stride=2, last_n=6, temperature_inverse=1.0, use_dropout=False" in imported.stdout
    evaluated = say("experiments.evaluate", "--workdir=run", "--protocol=released")
    assert "test: 4 videos, 13 blocks: accuracy 25.0 %" in evaluated.stdout, evaluated.stderr
    exported = say("experiments.import_released", "--workdir=run", "--export=model.npz")
    assert "model.npz: tell their program maxlen=6, fps=30.0, last_n=6" in exported.stdout, exported.stderr
    wrong = say("experiments.import_released", "--workdir=run", "--export=b.npz", "--last_n=6")
    assert wrong.returncode == 1 and wrong.stderr.startswith("error: give either --workdir --model --features")
