"""Clips of one colour each, runs on them, and their pictures, read back."""

import functools
import json
import shutil

import av
import numpy as np
import pytest
from PIL import Image

from experiments.paper_figures.runs_shown import open_runs
from experiments.pictures.sheet import MAX_BYTES
from experiments.runs import trained


@pytest.fixture(scope="session")
def colours():
    """Of the clips of each class."""
    return {"jump": (200, 40, 40), "run": (40, 200, 40), "wave": (40, 40, 200)}


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
def clips(colours, tmp_path_factory):
    """Folder of the test clips of `tiny_features`: 7 frames of one colour each, 64×48 pixels."""
    folder = tmp_path_factory.mktemp("clips")
    for name, group in ((name, group) for group in (4, 5) for name in colours):
        path = folder / name / f"clip {group} (#1).avi"
        path.parent.mkdir(exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mjpeg", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
            picture = np.full((48, 64, 3), colours[name], np.uint8)
            for _ in range(7):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
    return folder


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
