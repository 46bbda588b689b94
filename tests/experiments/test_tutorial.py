"""The tutorial's notebook runs from its first cell to its last, and its outputs are kept."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "experiments" / "tutorial.ipynb"


def cells(notebook=NOTEBOOK):
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]


def test_outputs_are_kept_and_small():
    code = [cell for cell in cells() if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    kinds = {output["output_type"] for cell in code for output in cell["outputs"]}
    assert kinds <= {"stream", "execute_result", "display_data"}
    assert {output.get("name", "stdout") for cell in code for output in cell["outputs"]} == {"stdout"}
    pictures = [output for cell in code for output in cell["outputs"] if "image/png" in output.get("data", {})]
    assert len(pictures) == 2
    assert NOTEBOOK.stat().st_size < 1_000_000


def test_no_output_names_a_place_of_the_machine_that_made_it():
    for cell in cells():
        for output in cell.get("outputs", []):
            text = "".join(output.get("text", [])) + "".join(output.get("data", {}).get("text/plain", []))
            assert not re.search(r"(?<![\w.])/(home|root|tmp|usr|work|var|Users)\b", text), text


@pytest.mark.slow
def test_it_runs(tmp_path):
    """In a process of its own, whose libraries may warn of what they like."""
    shutil.copy(NOTEBOOK, tmp_path)
    command = [
        sys.executable,
        "-c",
        "from nbclient.cli import main; main()",
        NOTEBOOK.name,
        "--output=done",
        "--timeout=300",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    text = "".join(
        "".join(output.get("text", [])) for cell in cells(tmp_path / "done.ipynb") for output in cell.get("outputs", [])
    )
    assert "cross-entropy" in text and "whole clip: " in text
    assert re.search(r"8 test clips, accuracy \d+%", text)
    figures = {path.name for path in (tmp_path / "tutorial_output" / "run" / "figures").glob("*.png")}
    assert len(figures) == 2 and any("evidence" in name for name in figures)
