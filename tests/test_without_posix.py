"""The programs without the modules that only POSIX systems have: Windows has no fcntl, and no select.poll."""

import subprocess
import sys

import pytest

# Needs of extras, and the benchmark of extraction, which measures memory as Linux counts it.
ELSEWHERE = ("beam", "torch", "timm", "benchmarks")

WITHOUT = """
import os, select, sys
import psutil  # Its part for Linux needs some of them; on Windows it has another.
for name in ("fcntl", "grp", "pwd", "resource", "termios", "syslog"):
    sys.modules[name] = None  # importing it is an ImportError
del select.poll
"""

IMPORT_ALL = f"""
{WITHOUT}
import importlib, pkgutil
import attention_ar, data_prep, experiments
found = []
for package in (attention_ar, data_prep, experiments):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not any(part in module.name for part in {ELSEWHERE}):
            importlib.import_module(module.name)
            found.append(module.name)
print(len(found), "experiments.train" in found, "data_prep.extract_features" in found)
"""

HELP = f"""
{WITHOUT}
import contextlib, io, runpy
from absl import app, flags
app.define_help_flags()
known = set(flags.FLAGS)
for program in sys.argv[1].split(","):
    sys.argv = [program, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    assert "python -m " + program in said.getvalue(), program
    for name in set(flags.FLAGS) - known:
        delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()
sys.argv = ["experiments.train", "--features=none.h5", "--workdir=run"]
runpy.run_module("experiments.train", run_name="__main__", alter_sys=True)
"""

EXPECTED = "error: none.h5: no such file; data_prep.extract_features makes one\n"

PROGRAMS = (
    "data_prep.extract_features",
    "data_prep.verify_videos",
    "data_prep.download",
    "experiments.train",
    "experiments.evaluate",
    "experiments.visualize",
    "experiments.predict",
    "experiments.report",
    "experiments.export_predictor",
    "experiments.quickstart",
)


def run(program, *arguments, cwd):
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=cwd)


@pytest.mark.slow
def test_every_module_can_be_imported(tmp_path):
    found = run(IMPORT_ALL, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    number, *there = found.stdout.split()
    assert int(number) > 150 and there == ["True", "True"]


@pytest.mark.slow
def test_the_main_programs_say_what_they_do_and_what_is_wrong(tmp_path):
    found = run(HELP, ",".join(PROGRAMS), cwd=tmp_path)
    assert (found.returncode, found.stderr) == (1, EXPECTED)
