"""Tables as text, as people and spreadsheets write them: every unambiguous form is read."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attention_ar.errors import InputError

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_ENCODINGS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_BLANK = "\ufeff\u200b"  # besides the characters that `str.strip` removes
_SAVE_AS = 'save it as "CSV UTF-8"'


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
      where: file and line, for errors.
      fields: each column's text, without blanks around it.
    """

    where: str
    fields: dict[str, str]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
      columns: names in small letters, without blanks around them.
      rows: those that are not empty.
      decimal_commas: whether a comma in a number can be a decimal one, for it separates no fields.
    """

    columns: list[str]
    rows: list[Row]
    decimal_commas: bool


def read_table(path, known: Sequence[str], required: Sequence[str], others: bool = False) -> Table:
    """Reads a table whose first line names its columns.

    Commas, semicolons or tabs separate the fields. The text is UTF-8, or UTF-16 or UTF-32 with a byte order mark or
    where nothing else is possible. Blanks around fields, empty lines, empty columns at the end, the case of the
    columns' names and a line that repeats them are ignored.

    Args:
      path: of the file.
      known: names of the columns that there may be.
      required: of those that must be there.
      others: whether there may be other columns too.

    Raises:
      InputError: for anything else. One line says what and where.
    """
    path = Path(path)
    text = _decode(path)
    first = re.match(r'"?sep=(.)"?[ \t]*(?:\r\n|\r|\n)', text)  # Excel's own note
    skipped, text = (1, text[first.end() :]) if first else (0, text)
    separator = first[1] if first else _separator(text, known)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    lines = []
    try:
        for fields in reader:
            fields = [_stripped(field) for field in fields]
            if any(fields):
                lines.append((f"{path} line {reader.line_num + skipped}", fields))
    except csv.Error as error:
        raise InputError(f"{path} line {reader.line_num + skipped}: not readable as a table ({error})") from None
    if not lines:
        raise InputError(f"{path}: is empty; its first line must be {','.join(known)}")
    columns, rows = [name.casefold() for name in lines[0][1]], []
    for where, fields in lines[1:]:
        if [field.casefold() for field in fields] != columns:  # There again: tables were joined end to end.
            rows.append((where, fields))
    while columns and not columns[-1] and not any(len(f) >= len(columns) and f[len(columns) - 1] for _, f in rows):
        columns.pop()
    _check_columns(path, columns, columns if others else known, required)
    return Table(columns, [_row(where, fields, columns, separator) for where, fields in rows], separator != ",")


def _decode(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if data.startswith(_WORKBOOKS):
        raise InputError(f"{path}: a spreadsheet's own file, not text; {_SAVE_AS}")
    mark, encoding = next((found for found in _ENCODINGS if data.startswith(found[0])), (b"", _guessed(data)))
    data = data[len(mark) :]
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].decode(encoding, "replace").count("\n") + 1
        raise InputError(
            f"{path} line {line}: not {encoding.upper()} text (byte 0x{data[error.start]:02x}); {_SAVE_AS}"
        ) from None


def _guessed(data: bytes) -> str:
    """The names of the columns are ASCII, so in UTF-16 every second byte of them is zero."""
    head = data[:8]
    if len(head) == 8 and not any(head[1::2]) and all(head[::2]):
        return "utf-16-le"
    if len(head) == 8 and not any(head[::2]) and all(head[1::2]):
        return "utf-16-be"
    return "utf-8"


def _separator(text: str, known) -> str:
    first = next((line for line in text.splitlines() if line.strip()), "")

    def num_known(separator):
        return sum(_stripped(name).strip('"').casefold() in known for name in first.split(separator))

    return max(_SEPARATORS, key=num_known)  # Commas on a tie.


def _stripped(text: str) -> str:
    return text.strip().strip(_BLANK).strip()


def _check_columns(path, columns, known, required):
    for name in required:
        if name not in columns:
            seen = ", ".join(map(repr, columns[:10]))
            optional = "".join(f"[,{name}]" for name in known if name not in (*required, *columns))
            raise InputError(
                f"{path}: no column {name}; the first line must be {','.join(required)}{optional}, and names {seen}"
            )
    for name in columns:
        if name not in known:
            raise InputError(f"{path}: unknown column {name!r}; there are {', '.join(known)}")
        if columns.count(name) > 1:
            raise InputError(f"{path}: two columns {name}; each may occur once")


def _row(where: str, fields: list[str], columns: list[str], separator: str) -> Row:
    if any("\0" in field for field in fields):
        raise InputError(f"{where}: holds a zero byte; fields must be text")
    fields, beyond = fields[: len(columns)], fields[len(columns) :]
    if any(beyond) or len(fields) < len(columns):
        raise InputError(
            f"{where}: must have {len(columns)} fields, {','.join(columns)}, with {_name(separator)} between them; has "
            f"{len(fields) + len(beyond)}"
        )
    return Row(where, dict(zip(columns, fields, strict=True)))


def _name(separator: str) -> str:
    return _SEPARATORS.get(separator, repr(separator))
