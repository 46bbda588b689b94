import os
import subprocess
import sys

import pytest

from attention_ar.errors import InputError
from data_prep.common.one_at_a_time import one_at_a_time
from experiments.runs.config import DataConfig, RunConfig
from experiments.runs.training import train
from experiments.runs.work_folder import work_folder


def test_a_second_training_is_refused_and_leaves_no_trace(tiny_features, tmp_path):
    with work_folder(tmp_path / "run"):
        with pytest.raises(InputError, match="run: another program is at work in it"):
            train(RunConfig(DataConfig(str(tiny_features))), tmp_path / "run")
        assert os.listdir(tmp_path / "run") == ["lock"]
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("program", ["train", "table1", "sweep", "quickstart"])
def test_every_program_that_writes_into_a_work_folder_refuses_one_that_is_in_use(program, tiny_features, tmp_path):
    features = [] if program == "quickstart" else [f"--features={tiny_features}"]
    with one_at_a_time(tmp_path / "lock", "program"):
        done = subprocess.run(
            [sys.executable, "-m", f"experiments.{program}", f"--workdir={tmp_path}", *features],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}: another program is at work in it (process {os.getpid()} on ")
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []
