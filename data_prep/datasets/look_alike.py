"""Names that differ as texts and that people or programs read as the same."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

from absl import logging

from attention_ar.errors import printable

# Greek and Cyrillic letters that look like Latin ones, in small letters. Digits that do come last.
_LIKE_LATIN = str.maketrans(
    "авеёзіїјкмнорсѕтухһԁԛԝαβγεηικνορτυχωϲ01|",
    "abee3iijkmhopcstyxhdqwabyenikvoptuxwcoll",
)


def normal(text: str) -> str:
    """Returns a name in Unicode's normal form NFC: a Mac writes é as two characters, other systems as one."""
    return unicodedata.normalize("NFC", text)


def normal_names(names: Iterable[str]) -> list[str]:
    """Returns names in their normal form, and logs where that makes one name of two."""
    names, of_form = list(names), defaultdict(set)
    for name in names:
        of_form[normal(name)].add(name)
    for name, written in of_form.items():
        if len(written) > 1:
            forms = len(written)
            logging.warning("%s is written in %d Unicode forms, which are read as one class", printable(name), forms)
    return [normal(name) for name in names]


class KnownPaths:
    """Finds what a path means that has backslashes, or another Unicode form than the file has on disk.

    Args:
      paths: that there are, with forward slashes.
    """

    def __init__(self, paths: Iterable[str]):
        self._there = set(paths)
        self._of_form = {normal(path): path for path in sorted(self._there)}

    def find(self, written: str) -> str:
        """Returns the known path, or the written one, with forward slashes, where nothing like it is known."""
        for path in (written, written.replace("\\", "/")):
            plain = PurePosixPath(path).as_posix()
            if plain in self._there:
                return plain
            if normal(plain) in self._of_form:
                return self._of_form[normal(plain)]
        return plain


def look_alikes(names: Iterable[str]) -> list[list[str]]:
    """Returns the names that differ only in case, blanks and the like, Unicode form, or letters that look the same."""
    of_look = defaultdict(list)
    for name in sorted(set(names)):
        of_look[_look(name)].append(name)
    return [alike for alike in of_look.values() if len(alike) > 1]


def _look(name: str) -> str:
    folded = unicodedata.normalize("NFKC", name).casefold()
    visible = (c for c in folded if unicodedata.category(c) not in ("Cf", "Cc", "Zs") and c not in "_-.")
    return "".join(visible).translate(_LIKE_LATIN) or name
