"""Files that appear whole or not at all."""

import os
from pathlib import Path

from attention_ar.errors import writing


def write_whole(path, contents: bytes):
    """Writes a file beside its place and moves it there when it is whole.

    Raises:
      InputError: where it cannot be written.
    """
    beside = Path(f"{path}.partial")
    with writing(path):
        beside.write_bytes(contents)
        os.replace(beside, path)
