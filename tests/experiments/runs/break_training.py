"""Interrupts a training in every way, lets it resume, and prints what was lost.

    python tests/experiments/runs/break_training.py --features=features.h5 --workdir=broken --kills=50 -- --epochs=3

The runs are the program that users start, `experiments.train`; what follows `--` are flags for it. It is killed at
random moments and while it saves; the disk is full; the folder cannot be written to; the features are taken away; it is
told to stop. Every interrupted run then resumes to its end. The status is 1 if its parameters or its losses differ in
one bit from those of an uninterrupted run.
"""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import app, flags

from attention_ar.training.checkpoints import last_whole

FEATURES = flags.DEFINE_string("features", None, "Features file.", required=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Where the runs are made.", required=True)
KILLS = flags.DEFINE_integer("kills", 50, "How often a run is killed.", lower_bound=0)
LONGEST = flags.DEFINE_float("longest", 4.0, "The latest moment of a kill, in seconds after the first new step.")
SEED = flags.DEFINE_integer("seed", 0, "Of the moments.")

PROGRAM = Path(__file__).with_name("noted_training.py")


@dataclass
class Run:
    """A run in a folder of its own."""

    folder: Path
    arguments: list

    def start(self, features=None, prefix=(), **options) -> subprocess.Popen:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [*prefix, sys.executable, PROGRAM, self.folder / "notes.txt", *self.arguments]
        command += [f"--features={features or FEATURES.value}", f"--workdir={self.folder / 'run'}"]
        with open(self.folder / "log.txt", "a") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **options)

    def finish(self):
        status = self.start().wait()
        assert status == 0, f"{self.folder / 'log.txt'}: status {status}"

    def steps(self) -> list[int]:
        notes = self.folder / "notes.txt"
        return [int(line.split()[0]) for line in notes.read_text().splitlines()] if notes.exists() else []

    def wait_for_step(self, process):
        before = len(self.steps())
        while process.poll() is None and len(self.steps()) == before:
            time.sleep(0.02)

    def saving(self) -> bool:
        return any(self.folder.glob("run/checkpoints/*.orbax-checkpoint-tmp"))

    def last_saved(self) -> str:
        return os.path.basename(last_whole(self.folder / "run" / "checkpoints"))

    def last_line(self) -> str:
        return (self.folder / "log.txt").read_text().strip().splitlines()[-1]

    def result(self) -> dict:
        with np.load(self.folder / "run" / "params.npz", allow_pickle=False) as arrays:
            found = {name: array.tobytes() for name, array in arrays.items()}
        with open(self.folder / "run" / "metrics.jsonl") as lines:
            for line in map(json.loads, lines):
                found |= {f"epoch {line['epoch']} {name}": line[name] for name in ("loss", "step")}
        return found


def lost_since(run: Run, before: int) -> int:
    """How many steps were done twice: those noted before the break that were noted again after it."""
    steps = run.steps()
    return len(set(steps[:before]) & set(steps[before:]))


def kill(run: Run, moments: random.Random) -> list:
    rows = []
    for number in range(KILLS.value):
        process = run.start()
        run.wait_for_step(process)
        if process.poll() is not None:
            print(f"the run was over after {number} kills")
            break
        if number % 2:  # Every other time, while a checkpoint is being written.
            until = time.monotonic() + 10 * LONGEST.value
            while not run.saving() and process.poll() is None and time.monotonic() < until:
                time.sleep(0.001)
        else:
            time.sleep(moments.uniform(0, LONGEST.value))
        saving = run.saving()
        process.send_signal(signal.SIGKILL)
        process.wait()
        what = f"kill {number + 1}{', while saving' if saving else ''}"
        rows.append([what, run.steps()[-1], run.last_saved(), len(run.steps())])
    run.finish()
    steps = run.steps()
    for row, following in zip(rows, [*rows[1:], None][: len(rows)], strict=True):
        again = steps[row[3] : following[3] if following else None]
        row[3] = row[1] - min(again, default=row[1] + 1) + 1
    return rows


def stop(run: Run) -> list:
    process = run.start()
    run.wait_for_step(process)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    status = process.wait()
    seconds, done, saved = time.monotonic() - begun, run.steps(), run.last_saved()
    run.finish()
    return [[f"SIGTERM: status {status} after {seconds:.1f} s", done[-1], saved, lost_since(run, len(done))]]


def fill_disk(run: Run) -> list:
    """No file may be larger than 64 KiB from some moment on: as on a full disk, writing fails half-way.

    The signal that comes with it is one that Python ignores.
    """
    process = run.start()
    run.wait_for_step(process)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1 << 16, resource.RLIM_INFINITY))
    return _after_failure(run, process, "disk full")


def make_read_only(run: Run) -> list:
    """The folder of checkpoints becomes read-only; root, who may write anyway, gives that right up before."""
    no_override = ["setpriv", "--bounding-set=-dac_override"] if os.getuid() == 0 else []
    process = run.start(prefix=no_override)
    run.wait_for_step(process)
    checkpoints = run.folder / "run" / "checkpoints"
    checkpoints.chmod(0o555)
    return _after_failure(run, process, "read-only", lambda: checkpoints.chmod(0o755))


def _after_failure(run, process, what, repair=lambda: None):
    status = process.wait()
    repair()
    done, saved, line = run.steps(), run.last_saved(), run.last_line()
    print(f"{what}: status {status}: {line}")
    run.finish()
    return [[f"{what}: status {status}, one line", done[-1], saved, lost_since(run, len(done))]]


def remove_features(run: Run) -> list:
    run.folder.mkdir(parents=True)
    features = run.folder / "features.h5"
    shutil.copy(FEATURES.value, features)
    process = run.start(features)
    run.wait_for_step(process)
    features.unlink()
    status = process.wait()
    shutil.copytree(run.folder / "run", run.folder / "again")
    again = subprocess.run(
        [sys.executable, "-m", "experiments.train", f"--features={features}", f"--workdir={run.folder / 'again'}"],
        capture_output=True,
        text=True,
    )
    print(f"features removed: status {status}; started again: status {again.returncode}: {again.stderr.strip()}")
    return [[f"features removed: status {status}", run.steps()[-1], run.last_saved(), 0]]


def main(argv):
    workdir = Path(WORKDIR.value)
    uninterrupted = Run(workdir / "uninterrupted", argv[1:])
    if not (uninterrupted.folder / "run" / "params.npz").exists():
        uninterrupted.finish()
    expected, rows, same = uninterrupted.result(), [], True
    breaks = {
        "killed": lambda run: kill(run, random.Random(SEED.value)),
        "stopped": stop,
        "full": fill_disk,
        "read_only": make_read_only,
        "removed": remove_features,
    }
    for name, break_it in breaks.items():
        run = Run(workdir / name, argv[1:])
        rows += break_it(run)
        if run.result() != expected:
            same = False
            print(f"{name}: DIFFERS from the uninterrupted run")
    print("| break | steps done | last checkpoint | steps done again |\n|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print(f"in the end: {'the same to the bit' if same else 'DIFFERENT'}, of {len(expected)} arrays and numbers")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    app.run(main)
