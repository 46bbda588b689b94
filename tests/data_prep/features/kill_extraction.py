"""Kills an extraction at random moments, lets it go on, and compares the result with an unbroken run's.

    python tests/data_prep/features/kill_extraction.py --data_dir=clips --workdir=kills --kills=20

Both runs are the program that users start, `data_prep.extract_features`; what follows `--` are flags for it. An
unbroken run that is in the workdir already is taken as it is. Prints each run's peak of memory, in quarters of its
time, to show whether it grows, and ends with status 1 if the two files differ in one bit.
"""

import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from absl import app, flags

from data_prep.features.hdf5_file import DATA_OFFSET
from data_prep.features.opening import open_features
from data_prep.features.partial_features import row_bytes

DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of clips.", required=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Where the two files are made.", required=True)
KILLS = flags.DEFINE_integer("kills", 20, "How often the second run is killed.", lower_bound=1)
SECONDS = flags.DEFINE_float("seconds", None, "How long an unbroken run takes here, if it is there already.")
SEED = flags.DEFINE_integer("seed", 0, "Of the moments.")


def start(output: Path, flags_for_it) -> subprocess.Popen:
    output.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "data_prep.extract_features"]
    command += [f"--data_dir={DATA_DIR.value}", f"--output={output}", *flags_for_it]
    with open(output.parent / "log.txt", "a") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def watch(process: subprocess.Popen, seconds: float | None = None) -> list[float]:
    """Waits for the end, or for `seconds`; returns the process's memory in MB, twice a second."""
    begun, memory = time.monotonic(), []
    while process.poll() is None and (seconds is None or time.monotonic() - begun < seconds):
        try:
            memory.append(psutil.Process(process.pid).memory_info().rss / 1e6)
        except psutil.NoSuchProcess:
            break
        left = 0.5 if seconds is None else min(0.5, max(0.0, seconds - (time.monotonic() - begun)))
        time.sleep(left)
    return memory


def quarters(memory: list[float]) -> str:
    cuts = [len(memory) * part // 4 for part in range(5)]
    return " ".join(f"{max(memory[low : max(high, low + 1)]):.0f}" for low, high in itertools.pairwise(cuts))


def rows_of(output: Path) -> Path:
    return output.with_name(output.name + ".partial") / "rows"


def rows_in(path: Path, bytes_each: int) -> int:
    """How many rows a features file has, or one in the making."""
    return max(0, path.stat().st_size - DATA_OFFSET) // bytes_each if path.exists() else 0


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(argv):
    whole, killed = (Path(WORKDIR.value) / kind / "features.h5" for kind in ("unbroken", "killed"))
    seconds = SECONDS.value
    if not whole.exists():
        begun = time.monotonic()
        process = start(whole, argv[1:])
        memory = watch(process)
        if process.wait() != 0:
            sys.exit(f"the unbroken run failed, see {whole.parent}/log.txt")
        seconds = time.monotonic() - begun
        print(f"unbroken: {seconds:.0f} s, memory in quarters of it (MB): {quarters(memory)}", flush=True)
    if seconds is None:
        sys.exit("--seconds is needed for an unbroken run that was made before")

    chance = random.Random(SEED.value)
    features = open_features(whole).features
    num_rows, bytes_each = len(features), row_bytes(features.shape[1:])
    for kill in range(KILLS.value):
        # So that, on average, an equal share of the work is left after each kill, and the run does not end before.
        left = seconds * (1 - rows_in(rows_of(killed), bytes_each) / num_rows)
        process = start(killed, argv[1:])
        after = chance.uniform(0, 2 * left / (KILLS.value - kill + 1))
        memory = watch(process, after)
        if process.poll() is not None:
            sys.exit(f"the run ended before kill {kill + 1}, with status {process.returncode}; give fewer --seconds")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        there, peak = rows_in(rows_of(killed), bytes_each), max(memory, default=0)
        print(
            f"kill {kill + 1} after {after:.1f} s, {there} of {num_rows} rows on disk, {peak:.0f} MB at most",
            flush=True,
        )
    process = start(killed, argv[1:])
    memory = watch(process)
    if process.wait() != 0:
        sys.exit(f"the last run failed, see {killed.parent}/log.txt")
    print(f"the rest: memory in quarters of it (MB): {quarters(memory)}")
    same = {
        name: sha256(whole.with_name(name)) == sha256(killed.with_name(name)) for name in ("features.h5", "skipped.csv")
    }
    print(json.dumps({"kills": KILLS.value, "identical": same}))
    return 0 if all(same.values()) else 1


if __name__ == "__main__":
    app.run(main)
