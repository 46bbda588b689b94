"""A table as three files: Markdown for people, CSV for spreadsheets, JSON with every number behind it."""

from collections.abc import Sequence
from pathlib import Path

from attention_ar.errors import writing
from data_prep.common.files import write_csv
from experiments.config import write_json
from experiments.whole_file import write_whole


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
    with writing(paths[1]):
        write_csv(paths[1], header, rows)
    write_json(paths[2], data)
    return paths
