"""Files that are written atomically: whole or not at all."""

import contextlib
import os
from pathlib import Path

from attention_ar.errors import writing


@contextlib.contextmanager
def whole_file(path):
    """Yields a path beside `path` to write to. Its file takes the place of `path` when the block ends without an error.

    It is synced to disk before it takes the place of `path`: after a crash there is the old file or the new one. If the
    block fails, it is deleted.

    Raises:
      InputError: where the file cannot be written.
    """
    path = Path(path)
    beside = path.with_name(f"{path.name}.partial")
    try:
        with writing(path):
            yield beside
            with open(beside, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(beside, path)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
