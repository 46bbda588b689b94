"""The one error that means: the input is at fault, and here is the line that says why."""

import contextlib


class InputError(ValueError):
    """Bad input from outside: a file, a flag, an array.

    Its message is one line that names the thing, what is wrong with it, and what would be right. The command
    line programs print that line without a traceback and end with status 1.
    """


@contextlib.contextmanager
def writing(path):
    """While a file is written: where that fails, one line says which file and why."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot be written ({reason}); make room, or name another place") from error
