"""Walks through folders whose names are untrusted."""

import os
from pathlib import PurePosixPath

from absl import logging

from attention_ar.errors import InputError, printable

MOST_REPEATED = 10_000  # visits to folders that were visited by another path before


def walk(folder, check_names: bool = True) -> list[PurePosixPath]:
    """Returns the paths, relative to `folder`, of all files below it, sorted.

    Links to folders are followed, but not into a folder that the path to them already contains: no walk is endless.
    Hidden files and folders are ignored: `._clip.avi` is another system's metadata of `clip.avi`. What cannot be read
    is ignored, too, with a warning.

    Raises:
      InputError: with `check_names`, for a name that is not UTF-8, which no program here could print or store; and for
        links that lead to the same folders more than `MOST_REPEATED` times in all.
    """
    folder = os.path.abspath(folder)
    found: list[PurePosixPath] = []
    waiting: list[tuple[str, PurePosixPath, frozenset]] = [(folder, PurePosixPath(), frozenset())]
    seen, num_repeated = set(), 0
    while waiting:
        place, relative, above = waiting.pop()
        try:
            status = os.stat(place)
            here = (status.st_dev, status.st_ino)
            if here in above:
                continue
            num_repeated += here in seen
            seen.add(here)
            if num_repeated > MOST_REPEATED:
                raise InputError(
                    f"{folder}: links lead to the same folders more than {MOST_REPEATED} times; remove those that lead "
                    f"back, such as {relative}"
                )
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if _is_folder(entry):
                        waiting.append((entry.path, relative / entry.name, above | {here}))
                    else:
                        found.append(relative / entry.name)
        except OSError as error:
            logging.warning("%s: cannot be read (%s); its contents are ignored", printable(place), error.strerror)
    for path in found if check_names else ():
        check_name(path, f"{folder}: the file")
    return sorted(found)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link to itself, for example.
        return False


def check_name(path, what: str):
    """Raises `InputError` for a name that is not UTF-8; `what` says in the error whose it is."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(f"{what} {str(path)!r} has a name that is not UTF-8; rename it") from None
