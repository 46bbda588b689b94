"""The error of bad input, whose message is one line for the user."""

import contextlib
from collections.abc import Sequence


class InputError(ValueError):
    """Bad input: a file, a flag, an array.

    Its message is one line that names the thing, what is wrong with it, and what would be right. The command
    line programs print that line without a traceback and end with status 1.
    """


def one_line(error) -> str:
    """Returns what an error says as one line of at most 300 characters; of one without words its type."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def printable(text: str) -> str:
    """Returns a text from outside, such as a file's name, as it can be printed on one line of any terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def some(items: Sequence, limit: int = 50) -> str:
    """Returns printable items with commas between, and of a long list the first ones and how many more there are."""
    rest = len(items) - limit
    return ", ".join(printable(str(item)) for item in items[:limit]) + (f" and {rest} more" if rest > 0 else "")


@contextlib.contextmanager
def writing(path):
    """Turns an OSError while the file `path` is written into an `InputError` that names it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot be written ({reason}); make room, or name another place") from error
