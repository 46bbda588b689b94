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


class _Interrupted(BaseException):
    """Raised by the signal's handler during work that would take long to end."""


class Autosave:
    """Saves within an epoch, about every `seconds`, and when the process is told to stop. Used as a context manager.

    Args:
      checkpoints: where to save.
      metadata: of every checkpoint.
      seconds: of work between two saves. After each save, process 0 turns them into a number of steps for all
        processes. 0 saves after every step.
    """

    def __init__(self, checkpoints: Checkpoints, metadata: dict, seconds: float):
        self._checkpoints, self._metadata, self._seconds = checkpoints, metadata, seconds
        self._since = self._next = None
        self._stop = self._may_interrupt = False

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
        if self._may_interrupt:
            raise _Interrupted

    @contextlib.contextmanager
    def between_steps(self, state, position):
        """For long work between two steps. Told to stop meanwhile, the process interrupts it and saves the state.

        Several processes stop after the next step instead.

        Raises:
          Stopped: see `save`.
        """
        try:
            self._may_interrupt = True
            if self._watching and self._stop:  # Requested since the last step.
                raise _Interrupted
            yield
        except _Interrupted:
            self._may_interrupt = False
            self.save(state, position)
        finally:
            self._may_interrupt = False

    def due(self, step: int, last: bool) -> bool:
        """Returns whether to save after this step. Every process must call it after every step.

        Args:
          step: its number.
          last: whether it is the epoch's last one, after which the epoch is saved anyway.
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
        """Saves a state in the middle of an epoch. Training continues while the files are written.

        Raises:
          Stopped: if that was the reason to save. The state is on disk then.
        """
        self._checkpoints.save(state, {**self._metadata, **dataclasses.asdict(position)})
        if self._stop:
            self._checkpoints.wait()
            if jax.process_index() == 0:
                print(
                    f"told to stop: saved epoch {position.epoch}, batch {position.batches} to "
                    f"{self._checkpoints.last_whole()}; the same command resumes from there",
                    flush=True,
                )
            raise Stopped
