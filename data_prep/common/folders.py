"""Walks through folders whose names come from outside."""

import os
from pathlib import PurePosixPath

from attention_ar.errors import InputError


def walk(folder, check_names: bool = True) -> list[PurePosixPath]:
    """Returns the paths, relative to `folder`, of all files below it, sorted; links to folders are followed once.

    Left out are hidden files and folders: `._clip.avi` is what another system remembers of `clip.avi`.

    Raises:
      InputError: for a name that is not UTF-8, which no program here could print or store; with `check_names`.
    """
    folder = os.path.abspath(folder)
    seen, found = set(), []
    for parent, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = PurePosixPath(os.path.relpath(parent, folder))
        found += [relative / name for name in files if not name.startswith(".")]
    for path in found if check_names else ():
        check_name(path, f"{folder}: the file")
    return sorted(found)


def check_name(path, what: str):
    """Raises `InputError` for a name that is not UTF-8; `what` says in the error whose it is."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(f"{what} {str(path)!r} has a name that is not UTF-8; rename it") from None
