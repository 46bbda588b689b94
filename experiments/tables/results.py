"""Results as files: the tables of the READMEs come from JSON files under `experiments/results/`, and only from there.

A README names the file above a table, `<!-- results/weizmann_googlenet_table1.json -->`, and a table of it other than
`table`: `<!-- results/jhmdb_googlenet_table1.json pairs_table -->`.
"""

import json
import re
from pathlib import Path

from attention_ar.errors import InputError
from data_prep.common.files import markdown_table, write_json, write_whole
from experiments.tables.claims import claims_table

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "experiments" / "results"
NETWORKS = {"claims": "googlenet", "claims_efficientnet_lite0": "efficientnet_lite0"}
"""The tables of claims, and the network of the results that each is made of."""

_MARKER = re.compile(r"^<!-- results/([\w-]+)\.json(?: (\w+))? -->\n\n?((?:\|.*\n)*)", re.MULTILINE)
_ABSOLUTE = re.compile(r"(?<![\w.~/:-])~?/(?=[^\s/])(?:[^\s/'\"=,]+/)*([^\s/'\"=,]*)")
_OF_ONE_MACHINE = ("workdirs", "workdir")


def record(source, name: str, folder=RESULTS) -> Path:
    """Copies the JSON file of a table to the results, without what belongs to one machine: folders of runs are left
    out, and absolute paths are cut to their last part. Numbers are rounded to six digits.

    Args:
      source: path of the JSON file, which a program of tables wrote.
      name: of the result, without an ending.
      folder: of the results.

    Raises:
      InputError: where it is no such file, or the name is none.
    """
    if not re.fullmatch(r"[\w-]+", name) or name in NETWORKS:
        raise InputError(f"name={name}: must be letters, digits, _ and -, and not {' or '.join(NETWORKS)}")
    data = portable(read_json(Path(source)))
    if not {"made", "table"} <= data.keys():
        raise InputError(f"{source}: no table's JSON file; a program such as experiments.table1 writes one")
    path = Path(folder) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, data)
    return path


def portable(value):
    """Returns a JSON value without what belongs to one machine, see `record`."""
    if isinstance(value, dict):
        return {name: portable(part) for name, part in value.items() if name not in _OF_ONE_MACHINE}
    if isinstance(value, list):
        return [portable(part) for part in value]
    if isinstance(value, str):
        return _ABSOLUTE.sub(r"\1", value)
    return float(f"{value:.6g}") if isinstance(value, float) else value


def write_claims(folder=RESULTS) -> list[Path]:
    """Writes the tables of the paper's claims anew, from the results that there are."""
    paths = []
    for name, network in NETWORKS.items():
        path = Path(folder) / f"{name}.json"
        write_json(path, {"network": network, "table": claims_table(read_results(folder), network)})
        paths.append(path)
    return paths


def read_results(folder=RESULTS) -> dict[str, dict]:
    """Returns the results by name, those of claims not among them."""
    return {path.stem: read_json(path) for path in sorted(Path(folder).glob("*.json")) if path.stem not in NETWORKS}


def read_json(path: Path) -> dict:
    """Reads a JSON file.

    Raises:
      InputError: where it cannot be read, or is no table of names and values.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: no table's JSON file; must have names and values")
    return found


def readmes(root=ROOT) -> list[Path]:
    """Returns the READMEs of the repository."""
    folders = ("attention_ar", "data_prep", "experiments", "tests")
    found = [
        Path(root) / "README.md",
        *(path for name in folders for path in sorted((Path(root) / name).rglob("README.md"))),
    ]
    return [path for path in found if path.exists()]


def marked_tables(text: str) -> list[tuple[str, str, str]]:
    """Returns, for every marker of a README, the result's name, the table's name in it, and the Markdown below."""
    return [(name, key or "table", table) for name, key, table in _MARKER.findall(text)]


def quoted(name: str, key: str, folder=RESULTS) -> str:
    """Returns a table of a result as Markdown.

    Raises:
      InputError: where there is no such result or table.
    """
    found = read_json(Path(folder) / f"{name}.json").get(key)
    if not (isinstance(found, dict) and {"header", "rows"} <= found.keys()):
        raise InputError(f"{Path(folder) / name}.json: has no {key} with header and rows")
    return markdown_table(found["header"], found["rows"]) + "\n"


def quote(root=ROOT, folder=RESULTS) -> list[Path]:
    """Writes all marked tables of the READMEs anew. Returns the READMEs that changed."""
    changed = []
    for path in readmes(root):
        text = path.read_text(encoding="utf-8")

        def with_table(match):
            key = f" {match[2]}" if match[2] else ""
            table = quoted(match[1], match[2] or "table", folder)
            return f"<!-- results/{match[1]}.json{key} -->\n\n{table}" + ("" if match[3] else "\n")

        new = _MARKER.sub(with_table, text)
        if new != text:
            write_whole(path, new.encode())
            changed.append(path)
    return changed
