"""The epochs' numbers for TensorBoard, written by tensorboardX, which needs no TensorFlow."""

import importlib.util
import os
import socket
import time
import weakref
from collections.abc import Iterable
from pathlib import Path

from attention_ar.errors import InputError

SPEED = ("seconds", "blocks_per_second")
PLACE = ("epoch", "step")


class TensorBoardLog:
    """One event file in a folder. It has each epoch once, however often the run was interrupted.

    Args:
      folder: event files that are there are replaced.
      lines: of `metrics.jsonl`, about the epochs that are done.
    """

    def __init__(self, folder, lines: Iterable[dict]):
        require_tensorboard()
        from tensorboardX import RecordWriter
        from tensorboardX.proto.event_pb2 import Event

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        old = list(folder.glob("events.out.tfevents.*"))
        # A new name each time: a TensorBoard that is running has read the old file up to some place.
        path = folder / f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}"
        self._writer = RecordWriter(os.fspath(path))
        weakref.finalize(self, self._writer.close)
        self._writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        for line in lines:
            self.write(line)
        self._writer.flush()
        for path in old:
            path.unlink()

    def write(self, line: dict):
        """Adds an epoch, a line of `metrics.jsonl`."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        for name, value in scalars(line).items():
            event = Event(wall_time=time.time(), step=line["epoch"], summary=scalar(name, value))
            self._writer.write(event.SerializeToString())
        self._writer.flush()


def scalars(line: dict) -> dict[str, float]:
    """Returns the numbers of an epoch by TensorBoard's names: "training/loss", "held_out/attention/entropy", ...

    Args:
      line: of `metrics.jsonl`. Plain counts, such as `num_videos`, are left out.
    """
    found = {}
    for name, value in line.items():
        if isinstance(value, dict):
            found |= {f"{name}/{inner}": number for inner, number in _numbers(value)}
        elif name not in PLACE and _is_number(value):
            found[f"{'speed' if name in SPEED else 'training'}/{name}"] = float(value)
    return found


def _numbers(scores: dict):
    for name, value in scores.items():
        if isinstance(value, dict):
            yield from ((f"{name}/{inner}", number) for inner, number in _numbers(value))
        elif _is_number(value) and not name.startswith("num_"):
            yield name, float(value)


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def require_tensorboard():
    """Raises an InputError where tensorboardX is not installed."""
    if importlib.util.find_spec("tensorboardX") is None:
        raise InputError("tensorboard: needs tensorboardX, which is not installed; pip install tensorboardX")
