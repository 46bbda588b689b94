"""Walks through folders whose names come from outside."""

import os
from pathlib import PurePosixPath

from absl import logging

from attention_ar.errors import InputError
from data_prep.common.command_line import printable

MOST_LINKED = 10_000  # folders


def walk(folder, check_names: bool = True) -> list[PurePosixPath]:
    """Returns the paths, relative to `folder`, of all files below it, sorted.

    Links to folders are followed, but not into a folder that the path to them goes through already: no walk goes round
    in circles. Left out are hidden files and folders: `._clip.avi` is what another system remembers of `clip.avi`. What
    cannot be read is left out too, and a warning says so.

    Raises:
      InputError: for a name that is not UTF-8, which no program here could print or store, with `check_names`; and for
        links that lead to more than `MOST_LINKED` folders.
    """
    folder = os.path.abspath(folder)
    found: list[PurePosixPath] = []
    waiting = [(folder, PurePosixPath(), frozenset(), False)]
    num_linked = 0
    while waiting:
        place, relative, above, is_linked = waiting.pop()
        num_linked += is_linked
        if num_linked > MOST_LINKED:
            raise InputError(f"{folder}: links lead to more than {MOST_LINKED} folders; remove those that lead back")
        try:
            status = os.stat(place)
            here = (status.st_dev, status.st_ino)
            if here in above:
                continue
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        linked = is_linked or entry.is_symlink()
                        waiting.append((entry.path, relative / entry.name, above | {here}, linked))
                    else:
                        found.append(relative / entry.name)
        except OSError as error:
            logging.warning("%s: cannot be read (%s); what lies in it is left out", printable(place), error.strerror)
    for path in found if check_names else ():
        check_name(path, f"{folder}: the file")
    return sorted(found)


def check_name(path, what: str):
    """Raises `InputError` for a name that is not UTF-8; `what` says in the error whose it is."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(f"{what} {str(path)!r} has a name that is not UTF-8; rename it") from None
