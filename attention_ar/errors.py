"""The error of bad input, whose message is one line for the user."""

import contextlib


class InputError(ValueError):
    """Bad input: a file, a flag, an array.

    Its message is one line that names the thing, what is wrong with it, and what would be right. The command
    line programs print that line without a traceback and end with status 1.
    """


@contextlib.contextmanager
def writing(path):
    """Turns an OSError while the file `path` is written into an `InputError` that names it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot be written ({reason}); make room, or name another place") from error
