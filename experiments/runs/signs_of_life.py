"""Progress lines for a waiting user: the current activity, after some seconds without other output."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

_QUIET_SECONDS = 4.0


class _Noting:
    """A text stream that stores the time of the last write."""

    def __init__(self, stream):
        self._stream = stream
        self.last = time.monotonic()

    def write(self, text: str) -> int:
        self.last = time.monotonic()
        return self._stream.write(text)

    def __getattr__(self, name):
        return getattr(self._stream, name)


@contextlib.contextmanager
def signs_of_life(what: str = "at work", quiet_seconds: float = _QUIET_SECONDS) -> Iterator[Callable[[str], None]]:
    """Prints the current activity on the standard error whenever both standard streams were quiet for `quiet_seconds`.

    Yields:
      A function that sets the current activity.
    """
    doing, over = [what, time.monotonic()], threading.Event()

    def now_doing(what: str):
        doing[:] = what, time.monotonic()

    def watch():
        while not over.wait(quiet_seconds / 8):
            now = time.monotonic()
            if now - max(out.last, err.last) >= quiet_seconds:
                print(f"… {doing[0]}, {now - doing[1]:.0f} s", file=err, flush=True)

    out, err = _Noting(sys.stdout), _Noting(sys.stderr)
    watcher = threading.Thread(target=watch, daemon=True)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        watcher.start()
        try:
            yield now_doing
        finally:
            over.set()
            watcher.join()
