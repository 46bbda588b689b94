"""How every program of this project starts and ends."""

import errno
import os
import sys
import threading

from absl import app, flags, logging

from attention_ar.errors import InputError

flags.disclaim_key_flags()  # The flags belong to the program that calls `run`.

_NO_ROOM = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


def run(main, define_flags, takes_arguments: bool = False):
    """Defines and parses the flags, runs `main` and turns bad input into one line and status 1.

    Flags are defined here, when a program runs, and not when it is imported: several can be imported side by side.

    Args:
      main: what the program does; returns the exit status, None meaning 0.
      define_flags: a function without arguments.
      takes_arguments: whether `main` is given the list of the arguments that are no flags. Else it is given nothing,
        and such arguments are refused.
    """
    define_flags()

    def guarded(argv):
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # Below it, the libraries tell of every file they touch.
        try:
            if takes_arguments:
                return main(argv[1:])
            if argv[1:]:
                raise InputError(f"{' '.join(argv[1:])}: not a flag; see --help")
            return main()
        except InputError as error:
            print(f"error: {printable(str(error))}", file=sys.stderr)
            return _end_now(1)
        except OSError as error:
            if error.filename is None and error.errno not in _NO_ROOM:
                raise
            what = error.filename or "what the program prints, or a file, could not be written"
            print(f"error: {printable(f'{what}: {error.strerror}')}", file=sys.stderr)
            if error.filename is None:
                # What waits to be printed never will be.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return _end_now(1)
        except KeyboardInterrupt:
            print("interrupted; the same command goes on from what is saved", file=sys.stderr)
            return 130

    app.run(guarded, flags_parser=_parse)


def printable(text: str) -> str:
    """Returns a text from outside, such as a file's name, as it can be printed on one line of any terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _end_now(status: int) -> int:
    """Ends the program even if a library's thread, of a write that has failed, waits for what will never come."""
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _parse(argv):
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        message = " ".join(str(error).removeprefix("ERROR:: ").split()).replace(" ?", "?")
        print(f"error: {printable(message)}; see --help", file=sys.stderr)
        sys.exit(1)
