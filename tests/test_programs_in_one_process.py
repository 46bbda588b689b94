"""Programs define their flags when they run, so that a notebook can import several of them."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import data_prep
import experiments

PROGRAMS = [
    f"{package.__name__}.{path.stem}"
    for package in (data_prep, experiments)
    for path in sorted(Path(package.__file__).parent.glob("*.py"))
    if path.stem not in ("__init__", "tfds_builders")
]


@pytest.mark.slow
def test_importing_all_programs_defines_no_flag():
    lines = [f"import {name}" for name in PROGRAMS]
    lines += ["from absl import flags", "print(*flags.FLAGS.flags_by_module_dict())"]
    found = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    ours = ("attention_ar", "data_prep", "experiments")
    assert [module for module in found.stdout.split() if module.startswith(ours)] == []


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_has_a_main(name):
    assert callable(importlib.import_module(name).main)
