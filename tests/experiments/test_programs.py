"""The programs as a user meets them: --help, wrong flags, one line for bad input, and what importing costs."""

import subprocess
import sys

import pytest

PROGRAMS = {
    "data_prep.extract_features": "--frame_batch",
    "data_prep.convert_released": "--to_released",
    "data_prep.download": "--data_dir",
    "data_prep.verify_videos": "--min_frames",
    "data_prep.check_splits": "--[no]allow_missing",
    "data_prep.export_tfds": "--validation_fraction",
    "data_prep.beam_extract": "--clips_per_shard",
    "experiments.train": "--attention_penalty",
    "experiments.evaluate": "--boxes",
    "experiments.sweep": "--grid",
    "experiments.table1": "--seeds",
    "experiments.table2": "--seeds",
    "experiments.visualize": "--count",
    "experiments.predict": "--overlay",
    "experiments.report": "--max_clips",
    "experiments.figures": "--glimpse",
    "experiments.localise": "--boxes",
    "experiments.record": "--name",
    "experiments.quickstart": "--googlenet",
    "experiments.parity": "--golden_dir",
    "experiments.import_released": "--export",
    "experiments.benchmark": "--rounds",
    "experiments.compile_for": "--topology",
    "experiments.export_predictor": "--checkpoint",
}


def run(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_help_and_unknown_flags(program):
    found = run("-m", program, "--help")
    assert "python -m " + program in found.stdout
    assert PROGRAMS[program] + ":" in found.stdout
    wrong = run("-m", program, "--no_such_flag=1")
    assert wrong.returncode != 0
    assert wrong.stderr == "error: Unknown command line flag 'no_such_flag'; see --help\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["experiments.train", "--features=none.h5", "--workdir=run"], "error: none.h5: no such file"),
        (
            ["experiments.train", "--features=none.h5", "--workdir=run", "--attention_penalty=-1"],
            "attention_penalty=-1",
        ),
        (["experiments.train", "--features=none.h5", "--workdir=run", "--model=hard"], "model"),
        (["experiments.train", "--workdir=run"], "--features"),
        (["experiments.train", "--features=none.h5", "--workdir=run", "more"], "error: more: not a flag"),
        (
            ["experiments.train", "--features=none.h5", "--workdir=run", "--model=max_pool", "--attention_penalty=10"],
            "error: attention_penalty=10: has no effect with model=max_pool; it is for model=soft_attention or",
        ),
        (
            ["experiments.table1", "--features=none.h5", "--workdir=run", "--seed=3"],
            "error: seed=3: has no effect: the table's seeds are 0, 1, 2 and so on, see --seeds",
        ),
        (
            ["experiments.table2", "--features=none.h5", "--workdir=run", "--selector"],
            "error: selector=True: has no effect with model=soft_attention; it is for model=released",
        ),
        (
            ["experiments.sweep", "--features=none.h5", "--workdir=run", "--model=max_pool", "--grid=selector=1,0"],
            "error: selector=True: has no effect with model=max_pool; it is for model=released",
        ),
        (
            ["experiments.evaluate", "--workdir=no\x1b[2J\nwhere"],
            r"error: no\x1b[2J\nwhere/config.json: No such file or directory",
        ),
        (
            ["experiments.sweep", "--features=none.h5", "--workdir=run", "--grid=num_layers=1,0"],
            "error: --grid=num_layers=1,0: num_layers=0: 0 is not a positive integer",
        ),
        (
            ["experiments.table1", "--features=none.h5", "--workdir=run", "--rows=max_pool,hard"],
            "error: rows=hard: no such row; there are softmax_regression, average_pool, max_pool, attention_0",
        ),
        (
            ["experiments.table1", "--features=none.h5", "--workdir=run", "--test_folds=5", "--test_fold=1"],
            "error: test_fold=1: has no effect: the table tests on every one of the --test_folds",
        ),
        (
            ["experiments.table1", "--features=none.h5", "--workdir=run", "--rows=mean_feature", "--epochs=3"],
            "error: epochs=3: has no effect: the only row is mean_feature, which trains no model",
        ),
        (["experiments.visualize", "--workdir=nowhere"], "error: nowhere/config.json: No such file or directory"),
        (
            ["experiments.export_predictor", "--workdir=nowhere", "--output=out"],
            "error: nowhere/config.json: No such file or directory",
        ),
        (["experiments.compile_for", "--topology=v9:4x4"], "error: topology=v9:4x4: no such TPU"),
        (["experiments.figures", "--figure=2", "--workdir=nowhere"], "there are 1, 3, 4, 5, 6, 7, 8, 9, 10, 11"),
        (["experiments.quickstart", "--googlenet=none.onnx"], "error: none.onnx"),
        (
            ["experiments.quickstart", "--data_dir=none", "--workdir=run"],
            "/none: no such folder; it should be the",
        ),
    ],
)
def test_bad_input_is_one_line(arguments, message, tmp_path):
    found = subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path
    )
    assert found.returncode == 1
    assert message in found.stderr
    assert found.stderr.startswith("error: ")
    assert found.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_importing_touches_no_device_and_brings_no_tensorflow():
    program = (
        "import sys, attention_ar, data_prep.features.extraction\n"
        "import experiments.runs.training, experiments.runs.visualization\n"
        "from jax._src import xla_bridge\n"
        "print(xla_bridge.backends_are_initialized(), 'tensorflow' in sys.modules)"
    )
    found = run("-c", program)
    assert found.stdout.split() == ["False", "False"], found.stderr


@pytest.mark.slow
def test_nowhere_to_print_is_one_line():
    program = "from data_prep.common.command_line import run; run(lambda: print('result', flush=True), list)"
    with open("/dev/full", "w") as full:
        found = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert found.returncode == 1
    assert found.stderr == (
        "error: what the program prints, or a file, could not be written: No space left on device\n"
    )
