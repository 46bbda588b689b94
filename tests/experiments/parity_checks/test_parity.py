"""The parity table: all ok on recordings of the authors' code, and not ok where a recording is changed."""

import functools
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from attention_ar.errors import InputError
from experiments.parity_checks import whole_runs
from experiments.parity_checks.cases import find_cases, rows_of
from experiments.parity_checks.table import Row, compare, errors, grouped, render, same, summarize

GOLDEN = Path(__file__).parents[2] / "golden"


CASES = {case.name: case for case in find_cases(GOLDEN)}


@functools.cache
def rows(name) -> list:
    """All comparisons with one of the recordings that the repository has."""
    return rows_of(CASES[name])


def compiles(*values):
    """A parameter set about a case: slow where ours is compiled for it, as for models, optimisers and whole runs."""
    return pytest.param(*values, marks=pytest.mark.slow if values[0][0] in "mot" else ())


def copied(tmp_path, name, new_name=None):
    """A folder with a copy of one case, which may have another name."""
    for path in GOLDEN.glob(f"{name}*.*"):
        shutil.copy(path, tmp_path / path.name.replace(name, new_name or name))
    about = json.loads((tmp_path / f"{new_name or name}.json").read_text())
    if "data" in about:
        shutil.copytree(GOLDEN / about["data"], tmp_path / about["data"])
    return tmp_path


def changed(folder, file, array, change):
    """Changes one array of an .npz file."""
    with np.load(folder / file) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays[array] = change(arrays[array])
    np.savez(folder / file, **arrays)


def one_more(value=1):
    """Adds to the first number of an array."""

    def change(array):
        array = array.copy()
        array.reshape(-1)[0] += value
        return array

    return change


def failed(folder):
    (case,) = find_cases(folder)
    return {row.quantity for row in rows_of(case) if not row.ok}


@pytest.mark.parametrize("name", [compiles(name) for name in CASES])
def test_all_ok(name):
    bad = [row for row in rows(name) if not row.ok]
    assert not bad, render(bad)


def test_no_case_is_passed_over():
    assert len(CASES) == 14


@pytest.mark.slow
def test_every_quantity_is_compared():
    everything = [row for name in CASES for row in rows(name)]
    found = {row.quantity for row in everything}
    wanted = {
        "initial parameters: names",
        "initial parameters: shapes",
        "initial parameters: zero, orthogonal or Gaussian",
        "initial parameters: values from the seed, orthogonal ones up to signs",
        "attention",
        "attended input",
        "state h",
        "memory c",
        "selector",
        "probabilities of each step",
        "classes or scores",
        "cost before regularisers",
        "cost after regularisers",
        "attention penalty",
        "weight decay",
        "gradient",
        "parameters after each update of adam",
        "block starts",
        "batches: numbers at some cells and channels",
        "single examples: sums",
        "votes",
        "accuracy",
        "average precision",
        "mean average precision",
        "training: cost of each update",
        "training: parameters after the last update",
        "training: scores",
        "checkpoint: options",
        "evaluation: votes",
        "notebook: attention",
    }
    assert wanted <= found
    gradients = {r.array for r in rows("m115_all_dropout") if r.quantity == "gradient" and r.precision == "float64"}
    assert len(gradients) == 32 and {"decoder_W_att_2", "decoder_b_sel", "ff_init_2_W", "ff_logit_h2_b"} <= gradients
    for precision, tolerance in (("float32", 2e-5), ("float64", 1e-9)):
        forward = [r for r in rows("m115_all_dropout") if r.precision == precision and r.quantity == "attention"]
        assert [row.tolerance for row in forward] == [tolerance]


@pytest.mark.parametrize(
    ("name", "deviation"),
    [
        compiles("d169_fps60_crash", "the original crashes at fps 60; ours: clear error"),
        compiles(
            "d171_train_shuffled_bs8",
            "the original reads shuffled blocks by another video's length; ours by their own",
        ),
        compiles(
            "d163_stride1_fps6",
            "the original returns zeros where a single example is short; ours repeats the last frame",
        ),
        compiles(
            "e174_acc_labels_no_final_newline_2digits",
            "accuracy: the original misreads the last of the labels without a final newline; compared with its label",
        ),
        compiles(
            "e176_acc_video_with_0_frames",
            "the original gives a video of 0 frames the first block of the next; ours: clear error",
        ),
        compiles(
            "e179_mAP_class_without_positives",
            "the original's mean is NaN where a class has no video; ours leaves it out and warns",
        ),
        compiles("e17c_mAP_ties_many_videos", "the original orders ties by accident above 16 videos; ours by number"),
        compiles(
            "m136_mAP_saturated_NaN",
            "gradient: the original's is NaN for logits above 15; ours is finite, as in float64",
        ),
        compiles(
            "t191_ucf11_adam",
            "the original keeps the end of its first epoch, whatever its score; our training keeps the best",
        ),
    ],
)
def test_what_the_original_does_wrong_is_named(name, deviation):
    assert deviation in {row.quantity for row in rows(name) if row.is_deviation}


@pytest.mark.parametrize("name", [compiles("m115_all_dropout"), compiles("e172_acc_ties")])
def test_where_it_is_right_no_deviation_is_named(name):
    assert not [row for row in rows(name) if row.is_deviation]


@pytest.mark.parametrize(
    ("case", "file", "array", "change", "quantity"),
    [
        compiles("m115_all_dropout", ".npz", "alphas", one_more(1e-3), "attention"),
        compiles("m115_all_dropout", ".npz", "grad__decoder_b_sel", one_more(1e-3), "gradient"),
        compiles("m115_all_dropout", ".npz", "preds", one_more(), "classes or scores"),
        compiles("m115_all_dropout", ".npz", "cost_total", one_more(0.01), "cost after regularisers"),
        compiles(
            "m115_all_dropout", ".npz", "init__ff_state_W", one_more(1e-3), "initial parameters: values from the seed, "
        ),
        compiles("m115_all_dropout", "_f64.npz", "h", one_more(1e-7), "state h"),
        compiles("m115_all_dropout", "_f64.npz", "grad__ff_init_2_W", one_more(1e-7), "gradient"),
        compiles("m136_mAP_saturated_NaN", "_f64.npz", "cost_nll", one_more(1e-3), "cost before regularisers"),
        compiles("m136_mAP_saturated_NaN", ".npz", "grad__ff_logit_b", one_more(1.0), "gradient"),
        compiles("o151_adam", ".npz", "trace__ff_logit_W", one_more(1e-3), "parameters after each update of adam"),
        compiles("o151_adam", "_f64.npz", "costs", one_more(1e-3), "cost along adam"),
        compiles("d163_stride1_fps6", ".npz", "frame_indices", one_more(), "block starts"),
        compiles(
            "d163_stride1_fps6", ".npz", "batch_probes", one_more(), "batches: numbers at some cells and channels"
        ),
        compiles("d163_stride1_fps6", ".npz", "single_fresh_off0_y", one_more(), "single examples: labels"),
        compiles("d171_train_shuffled_bs8", ".npz", "batch_y", one_more(), "batches: labels"),
        compiles("d171_train_shuffled_bs8", ".npz", "labels", one_more(), "labels of the blocks"),
        compiles("e172_acc_ties", ".npz", "locals_pred", one_more(), "votes"),
        compiles("e172_acc_ties", ".npz", "result", one_more(0.01), "accuracy"),
        compiles("e17b_mAP_ties_14videos", ".npz", "locals_AP", one_more(0.01), "average precision"),
        compiles("e17b_mAP_ties_14videos", ".npz", "window_video", one_more(), "videos of the blocks"),
        compiles(
            "e17c_mAP_ties_many_videos", ".npz", "locals_AP", one_more(0.9), "the original orders ties by accident"
        ),
    ],
)
def test_a_changed_number_is_found(tmp_path, case, file, array, change, quantity):
    """The recorded difference between float32 and float64 must not excuse a wrong number, either."""
    folder = copied(tmp_path, case)
    assert not failed(folder)
    changed(folder, f"{case}{file}", array, change)
    assert any(name.startswith(quantity) for name in failed(folder))


@pytest.fixture(scope="module")
def recorded_run():
    return whole_runs.Run(CASES["t191_ucf11_adam"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scores", "kept_after"),
    [
        ((0.5, 0.25, 0.4, 0.25), 7),  # The end of the first epoch is kept although update 5 scored more …
        ((0.5, 0.25, 0.5, 0.25), 10),  # … until a score comes up to the best of all.
        ((0.5, 0.5, 0.25, 0.75), 14),
    ],
)
def test_the_end_of_the_first_epoch_is_kept_whatever_its_score(recorded_run, monkeypatch, scores, kept_after):
    """A recorded run of two epochs of 7 updates, evaluated after updates 5, 7, 10 and 14."""
    case = CASES["t191_ucf11_adam"]
    left = iter(scores)
    monkeypatch.setattr(
        whole_runs, "score", lambda run, split, predictions: next(left, 0.0) if split == "valid" else 0.0
    )
    initial = {name: case.arrays[f"init__{name}"] for name in case.about["param_order"]}
    replay = whole_runs.Replay(case, recorded_run, initial, np.float32)
    sums = [[np.sum(replay.best[name]), np.sum(np.abs(replay.best[name]))] for name in case.about["param_order"]]
    distances = np.max(np.abs(replay.sums - sums), axis=(1, 2))
    assert np.argmin(distances) + 1 == kept_after
    assert distances[kept_after - 1] < 1e-4 * np.max(np.delete(distances, kept_after - 1))


def test_options_are_read_from_the_files(tmp_path):
    folder = copied(tmp_path, "e172_acc_ties", "zebra")
    path = folder / "zebra.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"stride": 3}))
    assert "block starts" in failed(folder)


def test_incomplete_and_unreadable_cases(tmp_path):
    folder = copied(tmp_path, "e172_acc_ties")
    whole = (folder / "e172_acc_ties.npz").read_bytes()
    (folder / "e172_acc_ties.npz").write_bytes(whole[:300])
    assert any("not a readable .npz file" in quantity for quantity in failed(folder))
    with np.load(GOLDEN / "e172_acc_ties.npz") as archive:
        np.savez(folder / "e172_acc_ties.npz", **{name: archive[name] for name in archive.files if name != "result"})
    assert "recorded arrays as listed" in failed(folder)
    (folder / "e172_acc_ties.json").write_text("{}")
    assert any("of no known kind" in quantity or "not in the format" in quantity for quantity in failed(folder))
    (folder / "e172_acc_ties.json").write_text("no json")
    assert any("not a JSON file" in quantity for quantity in failed(folder))
    with pytest.raises(InputError, match="no such folder"):
        find_cases(folder / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no recorded cases here"):
        find_cases(tmp_path / "empty")


def test_no_path_leaves_the_folder(tmp_path):
    folder = copied(tmp_path, "d163_stride1_fps6")
    path = folder / "d163_stride1_fps6.json"
    about = json.loads(path.read_text())
    for wrong in ({"data": "../data_handler_set"}, {"data": "/"}, {"split": "../data_handler_set/test"}):
        path.write_text(json.dumps(about | wrong))
        assert any("must be" in quantity and "cannot be compared" in quantity for quantity in failed(folder))


def run(*arguments):
    command = [sys.executable, "-m", "experiments.parity", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=GOLDEN.parents[1])


@pytest.mark.slow
def test_the_command(tmp_path):
    """Status 0 and a table; 1 where a number is changed; one line where there is nothing to compare."""
    folder = copied(tmp_path, "e172_acc_ties", "zebra")
    done = run(f"--golden_dir={folder}", f"--output={tmp_path / 'table.json'}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == ["case", "quantity", "max", "abs", "max", "rel", "tolerance", "ok"]
    assert "8 comparisons in 1 cases: all ok" in done.stdout and "zebra" in done.stdout
    report = json.loads((tmp_path / "table.json").read_text())
    assert report["ok"] and len(report["rows"]) == 8 and report["rows"][0]["case"] == "zebra"
    changed(folder, "zebra.npz", "locals_pred", one_more())
    (tmp_path / "table.json").unlink()
    done = run(f"--golden_dir={folder}", f"--output={tmp_path / 'table.json'}")
    assert done.returncode == 1 and "1 OUTSIDE their tolerance" in done.stdout
    assert [line.split()[-1] for line in done.stdout.splitlines() if line.startswith("zebra")].count("NO") == 1
    assert not json.loads((tmp_path / "table.json").read_text())["ok"]
    done = run(f"--golden_dir={tmp_path / 'absent'}")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "no such folder" in done.stderr


def shared_cases(shared, *patterns):
    folder = shared("golden")
    return [case for case in find_cases(folder) if any(case.path.relative_to(folder).match(p) for p in patterns)]


@pytest.mark.slow
@pytest.mark.parametrize("patterns", [("d*.json", "e*.json"), ("v*.json",), ("m109*.json", "o15[234]*.json")])
def test_more_recordings(shared, patterns):
    """Recordings that the repository does not have for their size."""
    cases = shared_cases(shared, *patterns)
    assert cases
    bad = [row for case in cases for row in rows_of(case) if not row.ok]
    assert not bad, render(bad)


class TestTable:
    def test_errors(self):
        """max |Δ|, and that over max |reference| or 1e-3."""
        assert errors([1.0, 2.0], [1.5, 4.0]) == (2.0, 0.5)
        assert errors([2e-6], [1e-6]) == (pytest.approx(1e-6), pytest.approx(1e-3))
        assert errors([], []) == (0.0, 0.0)

    @pytest.mark.parametrize(("ours", "reference"), [([1.0], [1.0, 1.0]), ([math.nan], [1.0]), ([1.0], [math.nan])])
    def test_other_shapes_and_nan_never_agree(self, ours, reference):
        assert not compare("case", "quantity", ours, reference, 1e30).ok

    def test_against_absolute(self):
        assert compare("case", "quantity", [1e-6], [0.0], 1e-5, against="absolute").ok
        assert not compare("case", "quantity", [1e-6], [0.0], 1e-5).ok

    def test_same(self):
        assert same("case", "quantity", ["a", "b"], ["a", "b"]).ok
        assert not same("case", "quantity", ["a", "b"], ["b", "a"]).ok
        assert not same("case", "quantity", ["a"], ["a", "b"]).ok
        assert not same("case", "quantity", 1, 2).ok

    def test_worst_of_a_group_and_all_that_failed(self):
        def row(array, error, ok=True):
            return Row("case", "float32", "gradient", array, error, error, 1e-5, "relative", ok)

        assert grouped([row("a", 1e-7), row("b", 3e-7), row("c", 2e-7)]) == [row("b", 3e-7)]
        assert grouped([row("a", 1.0, False), row("b", 0), row("c", 2.0, False)]) == [
            row("a", 1, False),
            row("c", 2, False),
        ]
        text = render([row("a", 1.0, False)])
        assert text.splitlines()[1].split() == [
            "case",
            "float32",
            "gradient",
            "(a)",
            "1.0e+00",
            "1.0e+00",
            "1.0e-05",
            "NO",
        ]

    def test_summary(self):
        def row(case, precision, error, tolerance, quantity="state h"):
            return Row(case, precision, quantity, "", error, error, tolerance, "relative", True)

        rows = [row("m1", "float32", 1e-7, 2e-5), row("m2", "float32", 4e-4, 1e-3), row("m1", "float64", 1e-15, 1e-9)]
        rows.append(row("m2", "", 0, 0, "the original crashes; ours does not"))
        lines = summarize(rows).splitlines()
        assert lines[1].split() == ["state", "h", "2", "1.0e-07", "4.0e-04", "1.0e-15"]
        assert lines[-1].split()[-2:] == ["not", "1"]
