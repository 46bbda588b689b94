"""The tables of the benchmarks, in Markdown and JSON."""

from dataclasses import asdict
from pathlib import Path

from data_prep.common.files import markdown_table, write_json, write_whole
from experiments.benchmarks.framework import Row, load


def title(benchmark: str) -> str:
    """Returns the first line of the benchmark's docstring."""
    return load(benchmark).__doc__.splitlines()[0].rstrip(".")


def table(benchmark: str, rows: list[Row]) -> str:
    """Returns the rows as a Markdown table; columns that would be empty are left out.

    "against it" says how many times as fast as the contender of this line the named one is.
    """
    more = getattr(load(benchmark), "columns", lambda row: {})
    found = [cells(row) | (more(row) if row.status == "ok" else {}) for row in rows]
    columns = list(dict.fromkeys(name for row in found for name in row))
    lines = [
        [row.name, *(row_cells.get(name, "") for name in columns)] for row, row_cells in zip(rows, found, strict=True)
    ]
    return markdown_table(["", *columns], lines)


def cells(row: Row) -> dict[str, str]:
    """Returns the columns of one row by name."""
    if row.status != "ok":
        return {"rate": row.status}
    found = {}
    if row.rate is not None:
        found["rate"] = f"{row.rate:.4g} {row.unit}s/s"
        fastest, slowest = row.amount / min(row.seconds), row.amount / max(row.seconds)
        found["from – to"] = f"{slowest:.4g} – {fastest:.4g}"
        if row.flops:
            found["GFLOP/s"] = f"{row.rate / row.amount * row.flops / 1e9:.1f}"
    if row.fraction is not None:
        found["of the product rate"] = f"{row.fraction:.3f}"
    if row.ratio is not None:
        found["against it"] = f"{row.compare_to}: {row.ratio:.2f}× as fast"
    return found | {name: str(value) for name, value in row.facts.items()}


def document(results: dict[str, list[Row]], about: dict[str, str]) -> str:
    """Returns the whole report as Markdown.

    Args:
      results: the rows of each benchmark.
      about: the machine and the settings, name by name.
    """
    parts = ["# Benchmark", "\n".join(f"* {name}: {value}" for name, value in about.items())]
    for benchmark, rows in results.items():
        notes = load(benchmark).__doc__.split("\n\n", 1)[1:]
        parts += [f"## {title(benchmark)}", table(benchmark, rows), *(note.strip() for note in notes)]
    return "\n\n".join(parts) + "\n"


def write(folder, results: dict[str, list[Row]], about: dict[str, str]) -> tuple[Path, Path]:
    """Writes `benchmark.md` and `benchmark.json`, which also has the seconds of every round. Returns their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    markdown, data = folder / "benchmark.md", folder / "benchmark.json"
    write_whole(markdown, document(results, about).encode())
    write_json(
        data, {"about": about, "results": {name: [asdict(row) for row in rows] for name, rows in results.items()}}
    )
    return markdown, data
