"""Progress of a long job: a bar on a terminal, and elsewhere a line now and then."""

import sys
import time

from tqdm import tqdm

_FIRST_MINUTE, _LINE_SECONDS = 4.0, 30.0  # from line to line: a short job tells often, a long one seldom


class Progress:
    """Shows how much of `total` is done, the rate, and the time left. Used as a context manager.

    Args:
      total: how much there is to do; an estimate is enough.
      done: how much was done before; it does not count for the rate.
      unit: its name, in the singular.
    """

    def __init__(self, total: int, done: int, unit: str):
        self._total = max(total, done)
        self._done = self._done_before = done
        self._unit = unit
        self._begun = self._last_line = time.monotonic()
        self._bar = tqdm(total=self._total, initial=done, unit=unit, disable=None, dynamic_ncols=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()

    def advance(self, count: int):
        if not count:
            return  # And there may be no rate yet.
        self._done += count
        self._bar.update(count)
        now = time.monotonic()
        wait = _FIRST_MINUTE if now - self._begun < 60 else _LINE_SECONDS
        if self._bar.disable and now - self._last_line > wait:
            self._last_line = now
            rate = (self._done - self._done_before) / (now - self._begun)
            left = tqdm.format_interval(max(0, self._total - self._done) / rate)
            line = f"{self._done} of {self._total} {self._unit}s, {rate:.1f} {self._unit}s/s, {left} left"
            print(line, file=sys.stderr, flush=True)
