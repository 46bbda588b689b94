"""Runs on clips of one colour each, and their pictures, read back."""

import functools
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from experiments.paper_figures.runs_shown import open_runs
from experiments.pictures.sheet import MAX_BYTES
from experiments.runs import trained


@pytest.fixture(scope="session")
def load():
    """`trained.load`, by which every run is loaded once for all tests here, and so compiled once."""
    return functools.cache(trained.load)


@pytest.fixture(scope="module", autouse=True)
def loaded_once(load):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trained, "load", load)
        yield


@pytest.fixture(scope="session")
def run(load, small_run, clips):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trained, "load", load)
        return open_runs([small_run], data_dir=clips)[0]


@pytest.fixture(scope="session")
def other_run(small_run, tmp_path_factory):
    """The same run, but its configuration says λ = 10."""
    workdir = tmp_path_factory.mktemp("run") / "lambda_10"
    shutil.copytree(small_run, workdir)
    config = json.loads((workdir / "config.json").read_text())
    config["objective"]["attention_penalty"] = 10.0
    (workdir / "config.json").write_text(json.dumps(config))
    return workdir


@pytest.fixture(scope="session")
def pixels():
    """A function that reads a picture of at most the size allowed: `<int>[height, width, 3]`."""

    def read(path):
        assert path.stat().st_size <= MAX_BYTES
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB")).astype(int)

    return read
