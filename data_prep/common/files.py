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
    """Returns the lines of a Markdown table; a "|" or a line's end within a cell is no longer one."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text) -> str:
    return " ".join(str(text).split()).replace("|", r"\|")


def write_table(
    stem, title: str, header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str], data: dict
) -> list[Path]:
    """Writes `stem`.md, `stem`.csv and `stem`.json, each atomically, and returns their paths.

    Args:
      stem: path without an ending.
      title: above the Markdown table.
      header: the names of the columns.
      rows: texts, one for each column.
      notes: paragraphs below the Markdown table.
      data: of the JSON file.
    """
    paths = [Path(f"{stem}.{ending}") for ending in ("md", "csv", "json")]
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    text = "\n\n".join([f"# {title}", markdown_table(header, rows), *notes]) + "\n"
    write_whole(paths[0], text.encode())
    write_csv(paths[1], header, rows)
    write_json(paths[2], data)
    return paths
