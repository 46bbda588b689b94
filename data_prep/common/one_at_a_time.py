"""One program at a time: a lock file that names its owner and does not outlive it, even after a crash.

It uses no file system locks, which some network file systems lack. The file names the machine, the process and its
start time. On the same machine, the process table shows whether the owner is alive. On another machine, or in another
container, the owner's heartbeat shows it: a number in the file that grows.
"""

import contextlib
import json
import os
import platform
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from attention_ar.errors import InputError

BEAT_SECONDS = 5.0
PATIENCE_SECONDS = 30.0  # how long an owner on another machine may be silent
_POLL_SECONDS = 0.1
_WRITING_SECONDS = 2.0  # a lock file that is still empty after this is what a crash left
_BEATS_AT = 20  # digits for the number of heartbeats, at the file's beginning


@contextlib.contextmanager
def one_at_a_time(lock, what: str, *, wait: bool = False) -> Iterator[None]:
    """Holds a lock file until the block ends.

    Args:
      lock: path of the lock file. Its folder is made where it is missing, and removed again if it stays empty.
      what: the owner holds the lock for, for example "training".
      wait: wait until the other owner is done, instead of raising an error.

    Raises:
      InputError: another living program holds it, or the file cannot be written.
    """
    lock = Path(os.path.abspath(lock))
    made = not lock.parent.exists()
    try:
        owner = _acquire(lock, what, wait)
    except OSError as error:
        raise InputError(f"{lock.parent}: cannot be written ({error.strerror})") from None
    done = threading.Event()
    heart = threading.Thread(target=_beat, args=(lock, owner, done), daemon=True, name="heartbeat")
    heart.start()
    try:
        yield
    finally:
        done.set()
        heart.join()
        with contextlib.suppress(OSError):
            if _read(lock)[1] == owner:
                lock.unlink()
            if made:
                lock.parent.rmdir()  # It fails unless the folder is empty.


def _acquire(lock: Path, what: str, wait: bool) -> dict:
    owner = {
        "machine": _machine(),
        "host": platform.node(),
        "process": os.getpid(),
        "began": _began(psutil.Process()),
        "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "token": secrets.token_hex(8),
    }
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError, FileNotFoundError):  # The latter: the folder has just been removed.
            descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            try:
                with open(descriptor, "w", encoding="utf-8") as file:
                    file.write(f"{0:{_BEATS_AT}d} {json.dumps(owner)}\n")
            except OSError:  # The disk is full, for example.
                lock.unlink()
                raise
            time.sleep(_POLL_SECONDS)  # Who took this file for a dead one's has put it back by now.
        beats, other = _read(lock)
        if other == owner:
            return owner
        if _is_alive(lock, beats, other):
            if not wait:
                who = f"process {other['process']} on {other['host']}, since {other['since']}" if other else "unknown"
                raise InputError(f"{lock.parent}: another {what} is at work in it ({who}); wait for it or end it")
            time.sleep(_POLL_SECONDS)
            continue
        _remove_dead(lock, other)


def _remove_dead(lock: Path, dead: dict | None):
    """Renames the file, which only one process can, and looks again whether it was the dead one's."""
    aside = lock.with_name(f"{lock.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        os.rename(lock, aside)
    except FileNotFoundError:
        return
    if _read(aside)[1] == dead:
        aside.unlink()
    else:  # Another process was faster; this is its file.
        os.rename(aside, lock)


def _read(lock: Path) -> tuple[int, dict | None]:
    """Returns the number of heartbeats and the owner; -1 and None if the file does not contain them."""
    try:
        text = lock.read_text(encoding="utf-8")
        beats, owner = int(text[:_BEATS_AT]), json.loads(text[_BEATS_AT:])
        return beats, owner if isinstance(owner, dict) and set(owner) >= {"machine", "process", "began"} else None
    except (OSError, ValueError):
        return -1, None


def _is_alive(lock: Path, beats: int, owner: dict | None) -> bool:
    if owner and owner["machine"] == _machine():
        return _runs(owner["process"], owner["began"])
    if owner:
        print(
            f"{lock}: is of {owner.get('host', 'another machine')}; waiting up to {PATIENCE_SECONDS:.0f} s for a sign "
            "of life",
            flush=True,
        )
    until = time.monotonic() + (PATIENCE_SECONDS if owner else _WRITING_SECONDS)
    while time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
        if _read(lock) != (beats, owner):
            return lock.exists() and owner is not None
    return False


def _runs(process: int, began: float) -> bool:
    try:
        found = psutil.Process(process)
        return found.status() != psutil.STATUS_ZOMBIE and abs(_began(found) - began) < 2
    except (psutil.NoSuchProcess, ValueError, TypeError):
        return False
    except psutil.AccessDenied:
        return True


def _began(process: psutil.Process) -> float:
    """Returns when a process began, in seconds after the machine did: no step of the system clock moves that."""
    booted = psutil.boot_time()  # First: older versions of psutil remember it for the next line.
    return process.create_time() - booted


def _machine() -> str:
    """Names the scope in which a process number is unique: this boot of this machine, and the container."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    return " ".join(parts)


def _beat(lock: Path, owner: dict, done: threading.Event):
    """Counts heartbeats in the file. Where it is another's, this process has slept too long, and ends at once."""
    beats = 0
    while not done.wait(BEAT_SECONDS):
        beats += 1
        with contextlib.suppress(OSError), open(lock, "r+b") as file:  # Opened anew, or a network file system waits.
            found = _read(lock)[1]
            if found == owner:
                file.write(f"{beats:{_BEATS_AT}d}".encode())
            elif found:
                who = f"process {found['process']} on {found.get('host', 'another machine')}"
                reason = f"was taken over by {who}, because this one was silent for too long; it ends here"
                print(f"error: {lock.parent}: {reason}", file=sys.stderr, flush=True)
                os._exit(1)  # An orderly end would write what is the other's by now.
