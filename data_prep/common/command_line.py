"""How every program of this project starts and ends."""

import contextlib
import errno
import os
import re
import select
import sys
import threading
from collections.abc import Collection, Sequence

from absl import app, flags, logging

from attention_ar.errors import InputError, one_line, printable

flags.disclaim_key_flags()  # The flags belong to the program that calls `run`.

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKETS = {"gs", "s3", "az", "abfs"}
_MARK = "\ufeff"  # Windows writes it at the beginning of a text
_NO_ROOM = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


def run(main, define_flags, takes_arguments: bool = False, on_buckets: Collection[str] = ("features",)):
    """Defines and parses the flags, runs `main` and turns bad input into one line and status 1.

    Flags are defined here, when a program runs, and not on import, so that several programs can be imported.
    `~` at the beginning of a flag's text or of an argument is the user's home folder, as in a shell. Characters that
    the terminal cannot show are written as \\u…. If the reader closes the pipe (`… | head`), the program exits with
    SIGPIPE's status.

    Args:
      main: what the program does; returns the exit status, None meaning 0.
      define_flags: a function without arguments.
      takes_arguments: whether `main` takes the list of the arguments that are not flags. Otherwise it takes nothing,
        and such arguments are refused.
      on_buckets: names of flags that may be the address of a bucket, gs://….
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    define_flags()

    def guarded(argv):
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # Below it, the libraries log every file they touch.
        try:
            arguments = [os.path.expanduser(argument) for argument in argv[1:]]
            _check_texts(arguments, on_buckets)
            if arguments and not takes_arguments:
                raise InputError(f"{' '.join(arguments)}: not a flag; see --help")
            status = main(arguments) if takes_arguments else main()
            if sys.stdout:
                sys.stdout.flush()
            return status
        except InputError as error:
            return _end_now(str(error))
        except BrokenPipeError:
            if not _nobody_reads():
                raise
            return 128 + 13  # as a shell reports a program that SIGPIPE ended
        except OSError as error:
            if error.filename is None and error.errno not in _NO_ROOM:
                raise
            what = error.filename or "what the program prints, or a file, could not be written"
            return _end_now(f"{what}: {error.strerror}")
        except KeyboardInterrupt:
            print("interrupted; run the same command to resume", file=sys.stderr)
            return 130
        except (RuntimeError, AssertionError):
            if fault := _device_fault():
                return _end_now(fault)
            raise

    app.run(guarded, flags_parser=_parse)


def refuse_flags(*names: str, because: str):
    """Refuses flags that have no effect beside the others.

    Args:
      names: of flags.
      because: the end of a sentence, such as "without --boxes".

    Raises:
      InputError: for the first of them whose value is not its default.
    """
    for flag in (flags.FLAGS[name] for name in names):
        if flag.value != flag.default:
            raise InputError(f"{flag.name}={flag.value}: has no effect {because}")


def _check_texts(arguments: Sequence[str], on_buckets: Collection[str]):
    """Expands `~` in flags; refuses empty ones, and addresses where only files will do."""
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        if not flag.present or name.endswith("address"):
            continue
        if flag.value in ("", []) and flag.default not in ("", []):  # as of an unset variable of a shell
            raise InputError(f"--{name}=: is empty; give it a value, or leave it out")
        if isinstance(flag.value, str):
            flag.value = os.path.expanduser(flag.value)
        elif isinstance(flag.value, list) and all(isinstance(text, str) for text in flag.value):
            flag.value = [os.path.expanduser(text) for text in flag.value]
        for text in flag.value if isinstance(flag.value, list) else [flag.value]:
            _refuse_address(text, f"--{name}=", name in on_buckets)
    for text in arguments:
        _refuse_address(text, "", False)


def _refuse_address(text, what: str, may_be_on_bucket: bool):
    found = _ADDRESS.match(text) if isinstance(text, str) else None
    if found and not (may_be_on_bucket and found[1].lower() in _BUCKETS):
        is_bucket = found[1].lower() in _BUCKETS
        way = "mount the bucket, or copy it" if is_bucket else "download it"
        raise InputError(f"{what}{text}: an address, where a file or folder on this machine is needed; {way} first")


def _nobody_reads() -> bool:
    """Whether the standard output or error is a pipe that the other end has closed. It is redirected then."""
    return any([_let_go(stream) for stream in (sys.stdout, sys.stderr) if stream])


def _let_go(stream) -> bool:
    """Redirects output that can no longer be written to /dev/null. Returns whether the other end is closed."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # Not a file of the system, as in a notebook.
        return False
    is_closed, is_lost = False, False
    if hasattr(select, "poll"):  # Windows has none.
        poll = select.poll()
        poll.register(number, 0)
        is_closed = any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
    try:
        stream.flush()
    except OSError:
        is_lost = True
    if is_closed or is_lost:
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return is_closed


def _device_fault() -> str | None:
    """Returns what is wrong with the device that JAX was told to use, None if it finds one."""
    name = next((name for name in ("JAX_PLATFORMS", "JAX_PLATFORM_NAME") if os.environ.get(name)), None)
    if name is None or "jax" not in sys.modules:
        return None
    try:
        sys.modules["jax"].devices()
    except Exception as error:
        reason = one_line(error).partition(" (set JAX_PLATFORMS")[0]
        said = f" ({reason})" if reason else ""
        return f"{name}={os.environ[name]}: JAX finds no such device here{said}; unset it, or set it to cpu"


def _end_now(message: str) -> int:
    """Prints the error and exits, even if a library thread is blocked.

    Such a thread is, for example, one whose write has failed.
    """
    with contextlib.suppress(OSError):  # The standard error is closed.
        print(f"error: {printable(message)}", file=sys.stderr, flush=True)
    _nobody_reads()
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        os._exit(1)
    return 1


def _parse(argv):
    try:
        # Reads flag files now, to remove a byte order mark at their beginning.
        read = flags.FLAGS.read_flags_from_files(argv[1:], force_gnu=False)
        unmarked = [text.removeprefix(_MARK) for text in read]
        told = [new for old, new in zip(read, unmarked, strict=True) if new == old or not _is_comment(new)]
        return flags.FLAGS([argv[0], *told])
    except flags.Error as error:
        message = " ".join(str(error).removeprefix("ERROR:: ").split()).replace(" ?", "?")
    except UnicodeDecodeError:
        files = " ".join(text for text in argv if "flagfile" in text)
        message = f"{files}: not UTF-8 text; save it as such"
    print(f"error: {printable(message)}; see --help", file=sys.stderr)
    sys.exit(1)


def _is_comment(line: str) -> bool:
    return not line.strip() or line.startswith(("#", "//"))
