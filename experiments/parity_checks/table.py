"""The parity table: recorded cases, rows, and their tolerances."""

import json
import math
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from attention_ar.errors import InputError

FLOAT32, FLOAT64, NOTE = "float32", "float64", "note"


@dataclass(frozen=True)
class Case:
    """One recorded run of the authors' code: NAME.json, NAME.npz, and NAME_f64.npz where it was also run in
    float64.

    Attributes:
      name: for the table.
      path: the JSON file.
    """

    name: str
    path: Path

    @property
    def folder(self) -> Path:
        """Where the case lies."""
        return self.path.parent

    def inside(self, name: str) -> Path:
        """Returns the path of what the JSON file names, which must lie beside it."""
        if Path(name).name != name:
            raise InputError(f"{self.path}: {name!r}: must be the name of a folder beside it")
        return self.folder / name

    @cached_property
    def about(self) -> dict:
        """The JSON file."""
        try:
            return json.loads(self.path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{self.path}: not a JSON file ({error})") from error

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """The recorded arrays."""
        return load_arrays(self.path.with_suffix(".npz"))

    @cached_property
    def arrays_float64(self) -> dict[str, np.ndarray] | None:
        """The outputs of the float64 run, None if there was none."""
        path = self.path.with_name(f"{self.path.stem}_f64.npz")
        return load_arrays(path) if path.is_file() else None


def load_arrays(path) -> dict[str, np.ndarray]:
    """Reads all arrays of an .npz file, never by unpickling."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        AttributeError,
        TypeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InputError(f"{path}: not a readable .npz file of plain arrays ({error})") from error


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
      case: the recorded run.
      precision: "float32" or "float64"; empty where no computation with floats is compared.
      quantity: what is compared; or what the original does, where ours does better.
      array: which of several arrays of that quantity.
      absolute: max |Δ|.
      relative: max |Δ| / max(max |reference|, 1e-3).
      tolerance: the greatest error that is ok.
      against: "relative", or "absolute" where the true value is 0.
      ok: whether the error is within the tolerance.
    """

    case: str
    precision: str
    quantity: str
    array: str
    absolute: float
    relative: float
    tolerance: float
    against: str
    ok: bool

    @property
    def error(self) -> float:
        """The error that the tolerance is for."""
        return self.absolute if self.against == "absolute" else self.relative

    @property
    def is_deviation(self) -> bool:
        """Whether the row names what the original does wrong."""
        return "the original" in self.quantity

    @property
    def is_note(self) -> bool:
        """Whether nothing is compared."""
        return self.precision == NOTE

    @property
    def severity(self) -> float:
        """The used share of the tolerance, for sorting."""
        if math.isnan(self.error):
            return math.inf
        return self.error / self.tolerance if self.tolerance else self.error * 1e30


def errors(ours, reference) -> tuple[float, float]:
    """Returns the largest absolute and relative error. NaN counts as an infinite error, and so does another shape."""
    ours, reference = np.asarray(ours), np.asarray(reference)
    if ours.shape != reference.shape:
        return math.inf, math.inf
    difference = np.abs(ours.astype(np.float64) - reference.astype(np.float64))
    absolute = float(np.max(difference, initial=0))
    if math.isnan(absolute):
        return math.inf, math.inf
    return absolute, absolute / max(float(np.max(np.abs(reference), initial=0)), 1e-3)


def compare(case, quantity, ours, reference, tolerance, array="", precision="", against="relative") -> Row:
    """Returns the row that compares `ours` with `reference`; see `Row`."""
    absolute, relative = errors(ours, reference)
    error = absolute if against == "absolute" else relative
    return Row(case, precision, quantity, array, absolute, relative, tolerance, against, ok=error <= tolerance)


def same(case, quantity, ours, reference, array="") -> Row:
    """Returns the row for numbers or words that must be equal."""
    ours, reference = np.asarray(ours), np.asarray(reference)
    if ours.shape == reference.shape and ours.dtype.kind not in "US" and reference.dtype.kind not in "US":
        return compare(case, quantity, ours, reference, 0.0, array)
    equal = ours.shape == reference.shape and bool(np.all(ours == reference))
    return stated(case, quantity, equal, array)


def stated(case, quantity, ok: bool, array="") -> Row:
    """Returns a row for what is true or false, such as how the original fails and ours does not."""
    error = 0.0 if ok else math.inf
    return Row(case, "", quantity, array, error, error, 0.0, "relative", ok)


def noted(case, quantity) -> Row:
    """Returns a row that is only a note: it compares nothing and is not counted."""
    return Row(case, NOTE, quantity, "", 0.0, 0.0, 0.0, "relative", True)


def refuses(case, quantity, function) -> Row:
    """Returns a row that is ok if `function` gives a clear error."""
    try:
        function()
    except InputError:
        return stated(case, quantity, True)
    return stated(case, quantity, False)


def grouped(rows: Iterable[Row]) -> list[Row]:
    """Puts the rows of one quantity's arrays into one that shows the worst; rows that are not ok all stay."""
    groups = {}
    for row in rows:
        groups.setdefault((row.case, row.precision, row.quantity), []).append(row)
    shown = []
    for group in groups.values():
        failed = [row for row in group if not row.ok]
        shown += failed or [max(group, key=lambda row: row.severity)]
    return shown


def render(rows: Iterable[Row]) -> str:
    """Returns the rows as text, one line each."""
    lines = [("case", "", "quantity", "max abs", "max rel", "tolerance", "ok")]
    for row in rows:
        quantity = f"{row.quantity} ({row.array})" if row.array else row.quantity
        against = " abs" if row.against == "absolute" else ""
        tolerance = f"{row.tolerance:.1e}{against}" if row.tolerance else "equal"
        verdict = "" if row.is_note else "ok" if row.ok else "NO"
        lines.append(
            (
                row.case,
                row.precision,
                quantity,
                f"{row.absolute:.1e}",
                f"{row.relative:.1e}",
                tolerance,
                verdict,
            )
        )
    return columns(lines)


def summarize(rows: Iterable[Row]) -> str:
    """Returns, as text, the largest error of each quantity over all cases, and what the original does wrong.

    Rows of float32 with a higher tolerance than others of their quantity, as their case amplifies rounding errors, have
    a column of their own.
    """
    groups, deviations = {}, {}
    for row in rows:
        if row.is_deviation:
            deviations.setdefault(row.quantity, set()).add(row.case)
        else:
            groups.setdefault(row.quantity, []).append(row)
    header = ("largest error over all cases", "cases", "exact", FLOAT32, "ill-conditioned", FLOAT64)
    lines = [header]
    for quantity, group in groups.items():
        of = {precision: [row for row in group if row.precision == precision] for precision in ("", FLOAT32, FLOAT64)}
        usual = min((row.tolerance for row in of[FLOAT32]), default=0.0)
        plain, granted = ([r for r in of[FLOAT32] if (r.tolerance > usual) == more] for more in (False, True))
        shown = [largest(rows) for rows in (of[""], plain, granted, of[FLOAT64])]
        lines.append((quantity, str(len({row.case for row in group})), *shown))
    text = columns(lines)
    if deviations:
        named = [(quantity, str(len(cases))) for quantity, cases in deviations.items()]
        text += "\n\n" + columns([("where the original is wrong", "cases"), *named])
    return text


def largest(rows: Iterable[Row]) -> str:
    """Returns the largest error as text, empty without rows."""
    found = [row.error for row in rows]
    return f"{max(found):.1e}" if found else ""


def columns(lines) -> str:
    """Aligns the fields in columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    padded = ("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)
    return "\n".join(padded)
