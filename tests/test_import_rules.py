"""Who may import whom, by the contracts in `.importlinter`; and that each contract can be broken."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def lint(folder, *arguments):
    """Checks the packages in a folder by its `.importlinter`."""
    program = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    command = [sys.executable, "-c", program, "--no-cache", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_the_rules_are_kept():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of the packages and the rules."""
    folder = tmp_path_factory.mktemp("copied")
    for package in ("attention_ar", "data_prep", "experiments"):
        for path in (ROOT / package).rglob("*.py"):
            copy = folder / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    shutil.copy(ROOT / ".importlinter", folder)
    return folder


@pytest.mark.parametrize(
    ("contract", "module", "imported"),
    [
        ("packages", "attention_ar/new.py", "data_prep.common.files"),
        ("packages", "data_prep/common/new.py", "experiments.runs.config"),
        ("experiments", "experiments/runs/new.py", "experiments.train"),
        ("experiments", "experiments/train.py", "experiments.evaluate"),
        ("experiments", "experiments/tables/new.py", "experiments.paper_figures.registry"),
        ("experiments", "experiments/html_report/new.py", "experiments.first_steps.settings"),
        ("experiments", "experiments/pictures/new.py", "experiments.runs.config"),
        ("experiments", "experiments/new.py", "attention_ar"),  # It has no place among the layers.
        ("pictures", "experiments/pictures/new.py", "data_prep.video.frames"),
        ("pictures", "experiments/pictures/new.py", "attention_ar.metrics"),
        ("data_prep", "data_prep/video/new.py", "data_prep.datasets.registry"),
        ("data_prep", "data_prep/features/new.py", "data_prep.loading.batches"),
        ("data_prep", "data_prep/datasets/new.py", "data_prep.download"),
        ("loading", "data_prep/loading/new.py", "data_prep.video.frames"),
        ("circles", "attention_ar/errors.py", "attention_ar.models"),
    ],
)
def test_each_contract_can_be_broken(copied, contract, module, imported):
    path = copied / module
    before = path.read_text() if path.exists() else None
    path.write_text(f"{before or ''}\nimport {imported}\n")
    try:
        done = lint(copied, "--contract", contract)
    finally:
        path.unlink() if before is None else path.write_text(before)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Contracts: 0 kept, 1 broken." in done.stdout
    assert Path(module).stem in done.stdout
