"""Tables as files."""

import csv
import os
from collections.abc import Iterable, Sequence


def write_csv(path, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Writes a CSV file beside its place and moves it there when it is whole."""
    beside = f"{os.fspath(path)}.partial"
    with open(beside, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    os.replace(beside, path)
