"""When to save within an epoch, and when to stop: the same moments on all processes."""

import contextlib
import dataclasses
import signal
import threading
import time

import jax
import numpy as np
from jax.experimental import multihost_utils

from attention_ar.training.checkpoints import Checkpoints

FIRST = 5  # Steps before the first save, after which the length of a step is known.


class Stopped(SystemExit):
    """Training was told to stop, and has saved: an exit with status 0."""

    def __init__(self):
        super().__init__(0)


class _BreakOff(BaseException):
    """Raised by the signal's handler where waiting for the end would take long."""


class Saving:
    """Saves within an epoch, about every `seconds`, and when the process is told to stop. Used as a context manager.

    Args:
      checkpoints: where to.
      about: what every checkpoint says.
      seconds: of work between two saves. Process 0 turns them into a number of steps, once a save, for all processes;
        0 saves after every step.
    """

    def __init__(self, checkpoints: Checkpoints, about: dict, seconds: float):
        self._checkpoints, self._about, self._seconds = checkpoints, about, seconds
        self._since = self._next = None
        self._stop = self._may_break_off = False

    def __enter__(self):
        # With several processes, JAX's own service watches for the signal and agrees on a step.
        self._watching = jax.process_count() == 1 and threading.current_thread() is threading.main_thread()
        if self._watching:
            self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_):
        if self._watching:
            signal.signal(signal.SIGTERM, self._before)

    def _ask(self, *_):
        self._stop = True
        if self._may_break_off:
            raise _BreakOff

    @contextlib.contextmanager
    def between_steps(self, state, position):
        """For long work between two steps: told to stop meanwhile, it is broken off and the state saved as it is.

        (With several processes, they stop after the next step.)

        Raises:
          Stopped: see `save`.
        """
        try:
            self._may_break_off = True
            if self._watching and self._stop:  # Asked since the last step.
                raise _BreakOff
            yield
        except _BreakOff:
            self._may_break_off = False
            self.save(state, position)
        finally:
            self._may_break_off = False

    def due(self, step: int, last: bool) -> bool:
        """Returns whether to save after this step. To be asked after every step, by every process.

        Args:
          step: its number.
          last: whether it is the epoch's last, after which the epoch is saved anyway.
        """
        if jax.process_count() > 1:
            self._stop = multihost_utils.reached_preemption_sync_point(step)
        return self._stop or (self._time_is_up(step) and not last)

    def _time_is_up(self, step: int) -> bool:
        now = time.monotonic()
        if self._since is None:
            self._since, self._next = (step, now), step + (FIRST if self._seconds else 0)
        if step < self._next:
            return False
        steps, seconds = step - self._since[0], now - self._since[1]
        until_next = int(min(max(self._seconds * steps / max(seconds, 1e-6), 1), 1e9))
        if jax.process_count() > 1:
            until_next = int(multihost_utils.broadcast_one_to_all(np.int32(until_next)))
        self._since, self._next = (step, now), step + until_next
        return True

    def save(self, state, position):
        """Saves a state in the middle of an epoch; the writing goes on beside training.

        Raises:
          Stopped: if that was the reason to save; it is on disk then.
        """
        self._checkpoints.save(state, {**self._about, **dataclasses.asdict(position)})
        if self._stop:
            self._checkpoints.wait()
            if jax.process_index() == 0:
                print(
                    f"told to stop: saved epoch {position.epoch}, batch {position.batches} to "
                    f"{self._checkpoints.last_whole()}; the same command goes on from there",
                    flush=True,
                )
            raise Stopped
