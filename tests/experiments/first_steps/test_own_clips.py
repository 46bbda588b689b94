"""The quickstart on a folder of clips: what it leaves, that it resumes, and what it says of bad input."""

import json

import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.datasets.synthetic_clips import write_synthetic_clips
from data_prep.features.opening import open_features
from data_prep.networks.network import Network
from experiments.first_steps import estimate, network_choice
from experiments.first_steps import own_clips as steps
from experiments.first_steps.looking import look_at
from experiments.first_steps.own_clips import own_clips
from experiments.html_report.contents import report
from experiments.runs import trained
from experiments.runs.autosave import Stopped
from experiments.runs.evaluation import evaluate
from experiments.runs.metrics_log import read_metrics
from experiments.tables import trials


@pytest.fixture(scope="module")
def my_clips(tmp_path_factory):
    """16 synthetic clips of 9 frames: 4 classes × 4 groups, one group is test."""
    folder = tmp_path_factory.mktemp("my") / "clips"
    write_synthetic_clips(folder, num_groups=4, clips_per_group=1, num_frames=9)
    return folder


def colours(frames):
    """Features `<float16>[B, 2, 2, 4]`: the mean colour of each quarter of a frame, and 1."""
    means = frames.reshape(-1, 2, 16, 2, 16, 3).mean(axis=(2, 4), dtype=np.float32) / 255
    return np.concatenate([means, np.ones((*means.shape[:3], 1))], axis=3).astype(np.float16)


def small(patch):
    """Makes network and models small and the training short."""
    recipe = {"network": "random_googlenet", "weights_sha256": "", "random": True, "input_size": [32, 32]}
    patch.setattr(network_choice, "load_network", lambda *_: Network(recipe, colours, (2, 2, 4)))
    patch.setattr(steps, "HIDDEN_DIM", 8)
    for module in (steps, estimate):
        patch.setattr(module, "COMPARED", ("soft_attention", "softmax_regression"))
    whole = steps.choose_settings

    def chosen(*arguments):
        found = whole(*arguments)
        return type(found)(**{**vars(found), "num_steps": 4, "stride": 3, "epochs": 2, "folds": 2})

    patch.setattr(steps, "choose_settings", chosen)


@pytest.fixture(scope="module")
def run(my_clips, tmp_path_factory):
    """A run that was stopped in its third training, and resumed; and the five lines."""
    folder, begun = tmp_path_factory.mktemp("own") / "run", []

    def counted(config, workdir, notes=True, train=trials.train):
        begun.append(workdir)
        if len(begun) == 3:
            raise Stopped
        return train(config, workdir, notes)

    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        patch.setattr(trials, "train", counted)
        with pytest.raises(SystemExit):
            own_clips(folder, str(my_clips), "random")
        lines = own_clips(folder, str(my_clips), "random")
    assert len(begun) == 5 and begun[2] == begun[3]  # Two models, two folds, one of them twice.
    return folder, lines


@pytest.mark.slow
def test_the_work_folder_is_a_run_that_other_programs_take(run, my_clips):
    folder, lines = run
    model = trained.load(folder)
    assert len(model.class_names) == 4
    assert model.config.data.validation_fraction == 0 and model.config.data.folds == 0
    # Every training clip was held out once.
    assert model.temperature.num_videos == open_features(folder / "features.h5").splits.count("train")
    assert model.temperature.value != 1
    scores, _, _ = evaluate(folder)
    assert scores["num_videos"] == sum(split == "test" for split in open_features(folder / "features.h5").splits)
    assert (folder / "report.html").stat().st_size > 10_000
    assert len(lines) == 5
    for begin, line in zip(("What to expect", "What it", "Report", "Predict", "What would"), lines, strict=True):
        assert line.startswith(begin)
    told = (folder / "summary.md").read_text(encoding="utf-8")
    assert all(line in told for line in lines)
    sweep = json.loads((folder / "cross_validation" / "sweep.json").read_text())
    epochs = {point["point"]["model"]: point["epoch"] for point in sweep["points"]}
    assert len(read_metrics(folder / "metrics.jsonl")) == epochs["soft_attention"] == model.config.training.epochs
    assert not (folder / "quickstart.lock").exists() and not (folder / "compiled").exists()
    # Where there is no test part, the report is of the clips that the first fold held out.
    fold = folder / "cross_validation" / "points" / "model=soft_attention" / "fold_0" / "seed_0"
    path, _ = report(fold, split="validation", output=folder / "fold.html")
    assert path.stat().st_size > 10_000
    assert not (fold.parents[1] / "fold_1" / "seed_0" / "checkpoints").exists()


@pytest.mark.slow
def test_a_second_call_finds_everything_done_and_says_the_same(run, my_clips, monkeypatch, capsys):
    folder, lines = run
    small(monkeypatch)
    monkeypatch.setattr("experiments.first_steps.looking.verify", None)
    before = (folder / "params.npz").read_bytes()
    assert own_clips(folder, str(my_clips), "random") == lines
    assert (folder / "params.npz").read_bytes() == before
    out = capsys.readouterr().out
    assert "[1/8] extracting features; about " in out and "[8/8] writing the report; about 20 seconds left" in out
    assert "features: an untrained GoogLeNet, 2×2×4 numbers a frame" in out
    assert out.splitlines()[-5:] == lines
    assert "epoch 1/2" not in out and "epoch 1/2" in (folder / "log.txt").read_text(encoding="utf-8")


@pytest.mark.slow
def test_another_run_in_the_folder_is_refused_at_once(small_run, my_clips):
    with pytest.raises(InputError, match="holds a run that this command did not begin; name another --workdir"):
        own_clips(small_run, str(my_clips), "random")


@pytest.fixture
def folder_of(tmp_path, my_clips):
    """Writes a folder with an index; its clips are links to synthetic ones."""
    source = sorted(my_clips.rglob("*.mp4"))

    def write(rows):
        folder = tmp_path / "bad"
        folder.mkdir()
        for number, (path, *_) in enumerate(rows):
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(source[number].read_bytes())
        lines = [",".join(row) for row in rows]
        (folder / "index.csv").write_text("\n".join(["path,label,group,split", *lines]) + "\n")
        return folder

    return write


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("w/a.mp4", "w", "", ""), ("w/b.mp4", "w", "", "")], ": one class only, w: there is nothing to classify"),
        (
            [("w/a.mp4", "w", "", "train"), ("b/b.mp4", "b", "", "train")],
            ": too few clips to learn from: 2 that can be read, to train on: b 1, w 1; at least two classes need two",
        ),
        (
            [(f"{c}/{n}.mp4", c, "anna", "train") for c in "wb" for n in range(2)],
            ": all 4 training clips are of one group, anna: what to expect of others cannot be estimated",
        ),
    ],
)
def test_clips_that_teach_nothing_are_one_line(folder_of, tmp_path, rows, message):
    folder = folder_of(rows)
    with pytest.raises(InputError) as error:
        look_at(folder, tmp_path)
    assert message in str(error.value) and str(error.value).startswith(str(folder))
    assert "\n" not in str(error.value)


def test_short_clips_and_a_class_of_one_are_said(folder_of, tmp_path):
    rows = [(f"{c}/{n}.mp4", c, "", "train") for c in "ab" for n in range(3)] + [("c/1.mp4", "c", "", "train")]
    look = look_at(folder_of(rows), tmp_path)
    assert look.notes() == [
        "7 clips have fewer than 10 frames: a/0.mp4, a/1.mp4, a/2.mp4 and 4 more; their last frame is repeated",
        "classes with one training clip only: c; cross-validation cannot learn them where it tests them, and counts "
        "their clips as wrong",
    ]
    assert look.describe() == [
        "7 clips of 0.4 to 0.4 s at 25 frames per second; 7 to train on (groups unknown), 0 to test on",
        "training clips: a 3, b 3, c 1",
    ]
    assert "7 short" in look.verdict and not look.has_test
    np.testing.assert_array_equal(look.num_frames, 9)


def test_parts_of_videos_are_looked_at_through_their_videos(folder_of, tmp_path):
    folder = folder_of([(f"{c}/{n}.mp4", c, "", "train") for c in "ab" for n in range(3)])
    lines = [f"{c}/{n}.mp4,{c},{start},{end}" for c in "ab" for n in range(3) for start, end in ((0, 0.2), (0.2, ""))]
    (folder / "index.csv").write_text("\n".join(["path,label,start,end", *lines]) + "\n")
    look = look_at(folder, tmp_path)
    assert len(look.clips) == 12 and look.num_frames.tolist() == [5, 4] * 6
    assert look.verdict.startswith("6 clips: ")
    assert len({clip.group for clip in look.clips}) == 6


def test_a_look_is_kept_while_the_clips_are_the_same(folder_of, tmp_path, monkeypatch):
    folder = folder_of([(f"{c}/{n}.mp4", c, "", "train") for c in "ab" for n in range(3)])
    first = look_at(folder, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("experiments.first_steps.looking.verify", None)
        again = look_at(folder, tmp_path)
    assert (again.clips, again.verdict, again.num_frames.tolist()) == (first.clips, first.verdict, [9] * 6)
    (folder / "a" / "0.mp4").write_bytes((folder / "b" / "0.mp4").read_bytes())
    assert "duplicate" in look_at(folder, tmp_path).faults
    (tmp_path / "features.h5").touch()
    (folder / "index.csv").write_text((folder / "index.csv").read_text().replace("b/2.mp4,b", "b/2.mp4,a"))
    with pytest.raises(InputError, match=r"was made of other clips than .*; name another --workdir for these"):
        look_at(folder, tmp_path)


def test_unreadable_clips_do_not_count(folder_of, tmp_path):
    folder = folder_of([(f"{c}/{n}.mp4", c, "", "train") for c in "ab" for n in range(2)])
    (folder / "a" / "1.mp4").write_bytes(b"nothing")
    with pytest.raises(InputError, match="3 that can be read, to train on: a 1, b 2; at least two"):
        look_at(folder, tmp_path)
