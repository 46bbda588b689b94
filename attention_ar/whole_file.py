"""Files that are written atomically: whole or not at all."""

import contextlib
import glob
import os
import secrets
import time
from pathlib import Path

from attention_ar.errors import writing

_ABANDONED_SECONDS = 3600.0


@contextlib.contextmanager
def whole_file(path):
    """Yields a path beside `path` to write to. Its file takes the place of `path` when the block ends without an error.

    It is synced to disk before it takes the place of `path`: after a crash there is the old file or the new one. If the
    block fails, it is deleted. Of several writers of one file, the last to end wins.

    Raises:
      InputError: where the file cannot be written.
    """
    path = Path(path)
    with writing(path):
        beside = path_beside(path)
        try:
            yield beside
            with open(beside, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(beside, path)
        finally:
            with contextlib.suppress(OSError):
                beside.unlink()


def path_beside(path) -> Path:
    """Returns a path for the unfinished `path` in the same folder, of this writer alone: its name and …….partial.

    What killed writers of `path` have left there is deleted, after an hour in which nobody wrote to it.
    """
    path = Path(path)
    for old in path.parent.glob(f"{glob.escape(path.name)}.{'[0-9a-f]' * 8}.partial"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > _ABANDONED_SECONDS:
                old.unlink()
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
