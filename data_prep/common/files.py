"""Files that programs leave for users: JSON, CSV, Markdown tables. Each appears whole or not at all."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from attention_ar.whole_file import whole_file


def write_whole(path, contents: bytes):
    """Writes a file.

    Raises:
      InputError: where it cannot be written, as from every function here.
    """
    with whole_file(path) as beside:
        beside.write_bytes(contents)


def write_json(path, value):
    """Writes a JSON file."""
    write_whole(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def write_csv(path, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Writes a CSV file."""
    with whole_file(path) as beside, open(beside, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns the lines of a Markdown table; a "|" or a line break within a field is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text) -> str:
    return " ".join(str(text).split()).replace("|", r"\|")


def write_table(
    stem,
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str],
    data: dict,
    protocol: Sequence[str] = (),
) -> list[Path]:
    """Writes `stem`.md, `stem`.csv and `stem`.json, each atomically, and returns their paths.

    Args:
      stem: path without an ending.
      title: above the Markdown table.
      header: the names of the columns.
      rows: texts, one for each column.
      notes: paragraphs below the Markdown table.
      data: of the JSON file, which also has the Markdown table, as `table`: `header` and `rows`.
      protocol: names of columns. The Markdown table states those whose value is the same in all rows once, above it,
        and leaves out those that have none.
    """
    paths = [Path(f"{stem}.{ending}") for ending in ("md", "csv", "json")]
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    values = {name: sorted({value for value in columns[name] if value}) for name in protocol}
    common = {name: found[0] for name, found in values.items() if len(found) == 1}
    shown = [name for name in header if name not in common and values.get(name, True)]
    lines = list(zip(*(columns[name] for name in shown), strict=True))
    above = [f"Protocol: {'; '.join(f'{name} {value}' for name, value in common.items())}."] if common else []
    text = "\n\n".join([f"# {title}", *above, markdown_table(shown, lines), *notes]) + "\n"
    write_whole(paths[0], text.encode())
    write_csv(paths[1], header, rows)
    write_json(paths[2], {**data, "table": {"header": shown, "rows": lines}})
    return paths
