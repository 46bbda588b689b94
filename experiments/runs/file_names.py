"""Names of files about clips."""

import hashlib
import os
import re
from collections.abc import Collection

_MAX_BYTES = 100  # With all that is added at most 143, the limit of encrypted home folders.


def file_stem(name: str, names: Collection[str]) -> str:
    """Returns a clip's name as a part of a file's, such as "waving_ben_01_mp4".

    Where another clip would have the same, or it would be too long for a file's name, it ends with digits of its own.

    Args:
      name: of the clip.
      names: of all clips.
    """
    stem = _cleaned(name)
    # There are file systems to which A and a are one.
    is_shared = any(other != name and _cleaned(other).casefold() == stem.casefold() for other in names)
    if len(stem.encode()) <= _MAX_BYTES and not is_shared:
        return stem
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
    return f"{stem.encode()[:40].decode(errors='ignore')}_{digest}"


def _cleaned(name: str) -> str:
    return re.sub(r"[^\w-]+", "_", name)
