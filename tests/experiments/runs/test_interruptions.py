"""What a run loses when it is interrupted: nothing but the work since the last save. (More: `break_training.py`.)"""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from attention_ar.errors import InputError
from attention_ar.training.checkpoints import Checkpoints, last_whole
from experiments.runs.autosave import Autosave, Stopped
from experiments.runs.config import DataConfig, ModelConfig, RunConfig, RuntimeConfig, TrainingConfig
from experiments.runs.train_epoch import Position
from experiments.runs.training import train

pytestmark = pytest.mark.slow  # Each test trains several times.

FLAGS = [
    "--num_steps=4",
    "--fps=10",
    "--validation_fraction=0.25",
    "--hidden_dim=8",
    "--num_layers=2",
    "--batch_size=8",
    "--learning_rate=0.02",
    "--save_seconds=0.2",
]


def config(features, epochs=3, save_seconds=0.0, **runtime) -> RunConfig:
    """36 blocks in 5 batches an epoch."""
    return RunConfig(
        data=DataConfig(str(features), num_steps=4, fps=10.0, validation_fraction=0.25),
        model=ModelConfig(hidden_dim=8, num_layers=2),
        training=TrainingConfig(batch_size=8, epochs=epochs, learning_rate=0.02),
        runtime=RuntimeConfig(**{"parallel": "jit", "save_seconds": save_seconds, **runtime}),
    )


def result(workdir) -> dict:
    """All that must not depend on interruptions: the parameters, and what the log says of losses and scores."""
    with np.load(workdir / "params.npz", allow_pickle=False) as arrays:
        found = dict(arrays)
    with open(workdir / "metrics.jsonl") as lines:
        for line in map(json.loads, lines):
            kept = ("step", "loss", "cross_entropy", "held_out")
            found |= {f"{line['epoch']} {name}": json.dumps(line[name]) for name in kept}
    return found


def require_same_result(workdir, expected, **tolerance):
    found = result(workdir)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if tolerance and isinstance(value, np.ndarray):
            np.testing.assert_allclose(found[name], value, err_msg=name, **tolerance)
        elif not tolerance:
            np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.fixture(scope="module")
def uninterrupted(tiny_features, tmp_path_factory):
    """The result of a run that was left in peace, and saved at its epochs' ends alone."""
    workdir = tmp_path_factory.mktemp("uninterrupted") / "run"
    train(config(tiny_features, save_seconds=1e6), workdir)
    return result(workdir)


class Killed(BaseException):
    """Not an Exception: nothing catches it, as nothing catches SIGKILL."""


@pytest.mark.parametrize("steps", [(3,), (1, 6), (5, 7, 14)])
def test_a_run_interrupted_after_any_step_ends_with_the_same_bits(
    tiny_features, tmp_path, monkeypatch, uninterrupted, steps
):
    saved = Autosave.save

    def save_and_die(self, state, position):
        saved(self, state, position)
        if int(state.step) in waiting:
            self._checkpoints.wait()
            waiting.remove(int(state.step))
            raise Killed

    waiting = [step - (step % 5 == 0) for step in steps]  # The last step of an epoch is saved with its scores.
    monkeypatch.setattr(Autosave, "save", save_and_die)
    while waiting:
        with pytest.raises(Killed):
            train(config(tiny_features), tmp_path / "run")
    train(config(tiny_features), tmp_path / "run")
    require_same_result(tmp_path / "run", uninterrupted)


def test_told_to_stop_while_it_evaluates_it_saves_at_once(tiny_features, tmp_path, monkeypatch, capsys, uninterrupted):
    def told_to_stop(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    with monkeypatch.context() as patch:
        patch.setattr("experiments.runs.training.predict_videos", told_to_stop)
        begun = time.monotonic()
        with pytest.raises(Stopped):
            train(config(tiny_features, save_seconds=1e6), tmp_path / "run")
        assert time.monotonic() - begun < 60
    assert "told to stop: saved epoch 1, batch 5 to " in capsys.readouterr().out
    train(config(tiny_features, save_seconds=1e6), tmp_path / "run")
    require_same_result(tmp_path / "run", uninterrupted)


def test_what_is_done_is_not_done_again(tiny_features, tmp_path, monkeypatch):
    counted, steps = Position.add, []

    def add(self, batch, metrics, sums_over_batch):
        counted(self, batch, metrics, sums_over_batch)
        steps.append(int(metrics["step"]))
        if len(steps) == 8:
            raise Killed

    monkeypatch.setattr(Position, "add", add)
    with pytest.raises(Killed):
        train(config(tiny_features, epochs=2), tmp_path / "run")
    train(config(tiny_features, epochs=2), tmp_path / "run")
    assert steps[:8] == list(range(1, 9))
    assert steps[8:] in ([8, 9, 10], [9, 10])  # Step 8 was in hand.


@pytest.fixture
def start(tmp_path):
    """A function that starts `experiments.train`; what it started is ended with the test."""
    started = []

    def start(features, workdir, *flags, epochs=100_000, **options):
        command = [sys.executable, "-m", "experiments.train", f"--features={features}", f"--workdir={workdir}", *FLAGS]
        # Without the tests' store of compiled programs, whose files would be too large where a test limits files.
        environment = {
            **os.environ,
            "XLA_FLAGS": os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1"),
            "JAX_ENABLE_COMPILATION_CACHE": "false",
        }
        said, complained = (tmp_path / f"{name}_{len(started)}.txt" for name in ("said", "complained"))
        with open(said, "w") as out, open(complained, "w") as err:
            command += [f"--epochs={epochs}", *flags]
            process = subprocess.Popen(command, env=environment, **{"stdout": out, "stderr": err, **options})
        process.said, process.complained = said, complained
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def finish(process) -> tuple[int, list[str], list[str]]:
    """Waits for the end. Returns the status, and the lines of standard output and standard error."""
    status = process.wait(timeout=90)
    return status, process.said.read_text().splitlines(), process.complained.read_text().splitlines()


def wait_for(condition, process, seconds=120):
    until = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    assert condition(), process.complained.read_text()


def whole_checkpoints(workdir):
    folder = workdir / "checkpoints"
    return [path for path in folder.iterdir() if path.name.isdecimal()] if folder.exists() else []


def test_told_to_stop_it_saves_and_ends_well_and_killed_it_goes_on(start, tiny_features, tmp_path):
    features, workdir = tmp_path / "features.h5", tmp_path / "run"
    shutil.copy(tiny_features, features)
    process = start(features, workdir)
    wait_for(lambda: whole_checkpoints(workdir), process)
    features.unlink()  # What is open stays readable.
    process.send_signal(signal.SIGTERM)
    status, said, errors = finish(process)
    assert status == 0, errors
    saved = last_whole(workdir / "checkpoints")
    assert said[-1].startswith("told to stop: saved epoch ")
    assert said[-1].endswith(f"to {saved}; the same command resumes from there")
    before = int(os.path.basename(saved))

    # The features are gone: one line. They are back: it resumes, is killed, and resumes.
    missing = f"error: {features}: no such file; data_prep.extract_features makes one"
    assert finish(start(features, workdir)) == (1, [], [missing])
    shutil.copy(tiny_features, features)
    process = start(features, workdir)
    wait_for(lambda: max(int(path.name) for path in whole_checkpoints(workdir)) > before + 10, process)
    process.kill()
    process.wait()
    with Checkpoints(workdir / "checkpoints", create=False) as checkpoints:
        assert checkpoints.step() >= before + 10
        assert {"epoch", "flags", "random", "recipe_sha256", "split_id", "class_names"} <= checkpoints.metadata().keys()


def test_a_full_disk_is_one_line_and_costs_nothing_that_was_saved(start, tiny_features, tmp_path):
    """No file may grow beyond 1 kB from some moment on: writing fails half-way, as on a full disk.

    (The signal that comes with it is one that Python ignores. What is printed goes into no file: it would be the first
    that is too large.)
    """
    workdir = tmp_path / "run"
    process = start(tiny_features, workdir, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: whole_checkpoints(workdir), process)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1 << 10, resource.RLIM_INFINITY))
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 1, errors
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert f"error: {workdir}" in line
    saved = last_whole(workdir / "checkpoints")
    with Checkpoints(workdir / "checkpoints", create=False) as checkpoints:
        assert checkpoints.step() == int(os.path.basename(saved)) > 0
        assert checkpoints.metadata()["class_names"] == ["jump", "run", "wave"]


def test_a_checkpoint_that_cannot_be_written_is_an_input_error(tiny_features, tmp_path, monkeypatch):
    train(config(tiny_features, epochs=1, save_seconds=1e6), tmp_path / "run")

    def full(self, *_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("orbax.checkpoint.CheckpointManager.save", full)
    with pytest.raises(InputError) as error:
        train(config(tiny_features, epochs=2, save_seconds=1e6), tmp_path / "run")
    where = tmp_path / "run" / "checkpoints"
    assert str(error.value) == (
        f"{where}: a checkpoint could not be written ([Errno 28] No space left on device); make room or another "
        f"--workdir; the same command resumes from {where / '5'}"
    )


@pytest.mark.parametrize(("before", "after"), [("jit", "auto"), ("pmap", "jit")])
def test_a_run_goes_on_on_another_number_of_devices(tiny_features, tmp_path, uninterrupted, before, after):
    for epochs, parallel in ((1, before), (3, after)):
        train(config(tiny_features, epochs, save_seconds=1e6, parallel=parallel), tmp_path / "run")
    require_same_result(tmp_path / "run", uninterrupted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("store", [pytest.param("device", marks=pytest.mark.as_users_compile), "disk"])
def test_where_the_features_are_changes_no_bit(tiny_features, tmp_path, uninterrupted, store):
    """The uninterrupted run has them in the host's memory."""
    train(config(tiny_features, save_seconds=1e6, features_on=store), tmp_path / "run")
    require_same_result(tmp_path / "run", uninterrupted)


def test_a_batch_that_cannot_be_dealt_out_is_refused(tiny_features, tmp_path):
    run = config(tiny_features, parallel="auto")
    run = RunConfig(run.data, run.model, training=TrainingConfig(batch_size=12), runtime=run.runtime)
    with pytest.raises(InputError, match="batch_size=12: is not divisible by 8 devices; take 8 or 16"):
        train(run, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_other_videos_is_refused(tiny_features, write_tiny, tmp_path):
    train(config(tiny_features, epochs=1, save_seconds=1e6), tmp_path / "run")
    other = write_tiny(names=[f"run/other {number}.avi" for number in range(18)])
    with pytest.raises(InputError, match=r"was trained with videos_sha256 .*name the features it was trained on"):
        train(config(other, epochs=2), tmp_path / "run")


def test_stopping_is_an_exit_with_status_0():
    assert issubclass(Stopped, SystemExit)
    assert Stopped().code == 0


# --- Several processes ------------------------------------------------------------------------------------------------


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def test_processes_that_lose_one_end_soon_and_the_run_goes_on(start, tiny_features, tmp_path, uninterrupted):
    workdir = tmp_path / "run"

    def start_two():
        together = ["--multihost", f"--coordinator_address={free_address()}", "--num_processes=2"]
        together += ["--heartbeat_seconds=5"]
        return [start(tiny_features, workdir, *together, f"--process_id={index}") for index in range(2)]

    def num_epochs():
        path = workdir / "metrics.jsonl"
        return len(path.read_text().splitlines()) if path.exists() else 0

    first, second = start_two()
    wait_for(lambda: num_epochs() >= 1 and whole_checkpoints(workdir), first)
    second.kill()  # Its child ends with it.
    status, _, errors = finish(first)
    assert status == 1
    assert errors[-1].startswith("error: ")
    assert "the same command resumes from " in errors[-1]

    # Started again, one of them is told to stop: both save and end well.
    before = num_epochs()
    first, second = start_two()
    wait_for(lambda: num_epochs() >= max(before, 3) + 1, first)
    second.send_signal(signal.SIGTERM)
    status, said, errors = finish(first)
    assert status == 0, errors
    assert said[-1].startswith("told to stop: saved epoch ")
    status, said, errors = finish(second)
    assert (status, [line for line in said if "Gloo" not in line]) == (0, []), errors  # Process 0 alone speaks.
    with open(workdir / "metrics.jsonl") as lines:
        losses = [line["loss"] for line in map(json.loads, lines)]
    np.testing.assert_allclose(losses[:3], [float(uninterrupted[f"{epoch} loss"]) for epoch in (1, 2, 3)], rtol=1e-4)


def test_an_error_of_one_process_ends_the_others_soon(start, tiny_features, tmp_path):
    """One of them sees another features file: all say so. One has none at all: the others end without it."""
    other = tmp_path / "other.h5"
    shutil.copy(tiny_features, other)
    with h5py.File(other, "r+") as file:
        file.attrs["split_id"] = "another"
    for features, message in ((other, "the processes disagree about split_id"), (tmp_path / "none.h5", "no such file")):
        together = ["--multihost", f"--coordinator_address={free_address()}", "--num_processes=2"]
        together += ["--heartbeat_seconds=5"]
        first = start(tiny_features, tmp_path / "run", *together, "--process_id=0")
        second = start(features, tmp_path / "run", *together, "--process_id=1")
        status, _, errors = finish(second)
        assert status == 1
        assert message in errors[-1], errors
        status, _, errors = finish(first)
        assert status == 1, errors
        assert errors[-1].startswith("error: ")


def test_a_coordinator_that_does_not_answer_is_one_line(start, tiny_features, tmp_path):
    address = free_address()
    flags = ["--multihost", f"--coordinator_address={address}", "--num_processes=2", "--process_id=1"]
    status, _, errors = finish(start(tiny_features, tmp_path / "run", *flags, "--connect_seconds=3"))
    assert status == 1
    (line,) = errors
    assert line.startswith(f"error: coordinator_address={address}: did not answer within 3 s")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--process_id=1"], "error: process_id=1: has no effect without --multihost"),
        (["--connect_seconds=9"], "error: connect_seconds=9: has no effect without --multihost"),
        (
            ["--multihost", "--coordinator_address=127.0.0.1:1"],
            "beside --coordinator_address; Cloud TPU and Slurm need none of them",
        ),
        (
            ["--multihost", "--coordinator_address=127.0.0.1:1", "--num_processes=2", "--process_id=2"],
            "error: process_id=2: must be less than num_processes=2",
        ),
    ],
)
def test_wrong_flags_for_several_processes(start, tiny_features, tmp_path, flags, message):
    status, _, errors = finish(start(tiny_features, tmp_path / "run", *flags))
    assert status == 1
    (line,) = errors
    assert message in line
