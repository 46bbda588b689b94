"""`experiments.train`, with a note of every step that is done.

python tests/experiments/runs/noted_training.py NOTES --features=... --workdir=...
"""

import runpy
import sys
import time

from experiments.runs.train_epoch import Position


def note_steps(notes):
    """Appends a line to the file for every step: its number, and the time."""
    counted = Position.add

    def add(self, batch, metrics, sums_over_batch):
        counted(self, batch, metrics, sums_over_batch)
        notes.write(f"{int(metrics['step'])} {time.time()}\n")

    Position.add = add


if __name__ == "__main__":
    with open(sys.argv.pop(1), "a", buffering=1) as file:
        note_steps(file)
        runpy.run_module("experiments.train", run_name="__main__", alter_sys=True)
