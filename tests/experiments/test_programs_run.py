"""Programs run in one process: to their end on the tiny features, and with flags that have no effect."""

import json
import re
import subprocess
import sys

import pytest

from attention_ar.errors import InputError
from experiments.tables.comparison import ROWS

SMALL = ["--num_steps=4", "--fps=10", "--batch_size=8", "--epochs=1", "--parallel=jit"]
CLIP = "wave/clip 4 (#1).avi"


@pytest.mark.slow
def test_a_sweep_leads_to_the_test_score(run_program, tiny_features, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("experiments.runs.training.notes_on", lambda *_: ["known clips"])
    grid = ["--grid=stride=1,2", "--folds=2", "--retrain_to_cost", "--nokeep_checkpoints"]
    where = [f"--features={tiny_features}", f"--workdir={tmp_path}"]
    run_program("experiments.sweep", *where, *grid, *SMALL, "--model=softmax_regression")
    printed = capsys.readouterr().out
    assert printed.count("NOTE: known clips") == 1
    found = json.loads((tmp_path / "sweep.json").read_text())
    assert [len(found[part]) for part in ("points", "retrained")] == [2, 1]
    (command,) = re.findall(r"^its test score: python -m (\S+) (.*)$", printed, re.MULTILINE)
    run_program(*command)
    assert "accuracy" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "rows", "flags"),
    [
        # A row that is named twice is trained once.
        ("table1", ["softmax_regression"], ["--rows=softmax_regression,softmax_regression"]),
        ("table2", ["attention_0", "attention_1", "attention_10"], ["--hidden_dim=8"]),
    ],
)
def test_tables(run_program, program, rows, flags, tiny_features, tmp_path):
    where = [f"--features={tiny_features}", f"--workdir={tmp_path}", "--seeds=1", "--validation_fraction=0.25"]
    run_program(f"experiments.{program}", *where, *flags, *SMALL)
    found = json.loads((tmp_path / f"{program}.json").read_text())["rows"]
    assert list(found) == rows
    assert [len(row["scores"]) for row in found.values()] == [1] * len(rows)


def test_help_names_the_rows_that_there_are():
    found = subprocess.run(
        [sys.executable, "-m", "experiments.table1", "--help"], capture_output=True, text=True, check=False
    )
    assert f"by default all: {', '.join(ROWS)}." in " ".join(found.stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "arguments", "left"),
    [
        ("visualize", [CLIP], {"wave_clip_4_1_avi.png", "wave_clip_4_1_avi.mp4", "wave_clip_4_1_avi.gif"}),
        (
            "visualize",
            ["--explain=evidence", CLIP],
            {f"wave_clip_4_1_avi_evidence.{ending}" for ending in ("png", "mp4", "gif")},
        ),
        ("figures", ["--figure=10", CLIP], {"figure10.png"}),
        ("report", ["--max_clips=1"], {"report.html"}),
    ],
)
def test_pictures(run_program, small_run, clips, tmp_path, program, arguments, left):
    output = tmp_path / "report.html" if program == "report" else tmp_path
    where = [f"--workdir={small_run}", f"--data_dir={clips}", f"--output={output}"]
    run_program(f"experiments.{program}", *where, *arguments)
    assert {path.name for path in tmp_path.iterdir()} == left


@pytest.mark.slow
def test_export(run_program, small_run, tmp_path):
    run_program("experiments.export_predictor", f"--workdir={small_run}", f"--output={tmp_path / 'x'}")
    assert {path.name for path in tmp_path.iterdir()} == {"x", "x.json"}


@pytest.mark.slow
def test_export_as_onnx(run_program, small_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("os.sched_setaffinity", lambda *_: None)  # The other tests want all cores.
    monkeypatch.setattr("experiments.onnx_export.check._SECONDS", 0.0)
    path = tmp_path / "x.onnx"
    run_program(
        "experiments.export_predictor", f"--workdir={small_run}", f"--output={path}", "--format=onnx", "--check"
    )
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith("3 classes: features [B, 4, 9, 8] to predictions, block_predictions, attention")
    assert out[1].startswith(f"predictor: {path}, 0.0 MB") and out[2].startswith("| batch | largest error |")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("program", "arguments", "message"),
    [
        ("experiments.predict", ["--workdir=run", "--json", "--top=2", "a.mp4"], "top=2: has no effect with --json"),
        ("experiments.predict", ["--workdir=run", "--json", "--print_seconds=2", "a.mp4"], "print_seconds=2.0: has no"),
        ("experiments.visualize", ["--workdir=run", "--count=2", "a.mp4"], "count=2: has no effect where clips are"),
        (
            "experiments.figures",
            ["--workdir=run", "--figure=1", "--split=train", "a.mp4"],
            "split=train: has no effect",
        ),
        (
            "experiments.train",
            ["--features=a", "--workdir=b", "--connect_seconds=9"],
            "has no effect without --multihost",
        ),
        (
            "experiments.evaluate",
            ["--workdir=run", "--data_dir=clips"],
            "data_dir=clips: has no effect without --boxes",
        ),
        (
            "experiments.evaluate",
            ["--workdir=run", "--explain=evidence"],
            "explain=evidence: has no effect without --boxes",
        ),
        (
            "experiments.predict",
            ["--workdir=run", "--explain=evidence", "a.mp4"],
            "explain=evidence: has no effect without --overlay",
        ),
        (
            "experiments.export_predictor",
            ["--workdir=run", "--with_network"],
            "with_network=True: has no effect without --format=onnx",
        ),
        (
            "experiments.export_predictor",
            ["--workdir=run", "--format=onnx", "--googlenet=x.onnx"],
            "googlenet=x.onnx: has no effect without --with_network",
        ),
        ("experiments.benchmark", ["--only=memory", "--timm=x"], "timm=x: has no effect without --only=extraction"),
        ("experiments.benchmark", ["--only=memory", "--num_videos=7"], "has no effect without --only=loading"),
        ("data_prep.verify_videos", ["--dataset=ucf11", "clips"], "dataset=ucf11: has no effect without --data_dir"),
        (
            "data_prep.check_splits",
            ["--dataset=ucf101", "--data_dir=clips", "--seed=1"],
            "seed=1: has no effect with --dataset=ucf101, whose split is published",
        ),
    ],
)
def test_flags_without_effect_are_refused(run_program, program, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        run_program(program, *arguments)
