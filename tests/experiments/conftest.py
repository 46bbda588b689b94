"""A features file that can be learnt in seconds: the class is the map that is active in one cell of every frame."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest

from data_prep.features.contents import FeaturesFile
from data_prep.features.hdf5_file import write_features
from experiments.html_report.contents import gather
from experiments.html_report.page_file import write_page
from experiments.runs import trained
from experiments.runs.config import DataConfig, ModelConfig, ReleasedConfig, RunConfig, RuntimeConfig, TrainingConfig
from experiments.runs.training import train

CLASSES = ["jump", "run", "wave"]
CELLS, MAPS, FRAMES = 3, 8, 7


def tiny_contents(multi_label=False, seed=0, **changes) -> FeaturesFile:
    """18 clips of 7 frames at 10 fps: 3 classes × 6 groups, groups 4 and 5 are test."""
    random = np.random.default_rng(seed)
    count = 18
    classes, groups = np.arange(count) % 3, np.arange(count) // 3
    features = 0.1 * random.uniform(0, 1, (count, FRAMES, CELLS, CELLS, MAPS))
    for clip in range(count):
        features[clip, :, 1, random.integers(CELLS), classes[clip]] += 3.0
    labels = np.eye(3, dtype=np.uint8)[classes]
    if multi_label:
        labels[:, 2] |= labels[:, 0]
    values = {
        "features": features.reshape(-1, CELLS, CELLS, MAPS).astype(np.float16),
        "names": [f"{CLASSES[c]}/clip {g} (#1).avi" for c, g in zip(classes, groups, strict=True)],
        "first_row": FRAMES * np.arange(count),
        "num_frames": np.full(count, FRAMES),
        "native_fps": np.full(count, 10.0),
        "fps": np.full(count, 10.0),
        "labels": labels,
        "groups": [f"g{g}" for g in groups],
        "splits": ["test" if g >= 4 else "train" for g in groups],
        "truncated": np.zeros(count, bool),
        "class_names": CLASSES,
        "multi_label": multi_label,
        "recipe": {"network": "none", "random": False, "weights_sha256": "00"},
        "split_id": "tiny",
        "data_dir": "/nowhere",
    }
    return FeaturesFile(**{**values, **changes})


@pytest.fixture(scope="session")
def tiny_features(tmp_path_factory):
    """Path of the tiny features file."""
    path = tmp_path_factory.mktemp("features") / "tiny.h5"
    write_features(path, tiny_contents())
    return path


@pytest.fixture(scope="session")
def write_tiny(tmp_path_factory):
    """A function that writes a tiny features file with some of its contents changed, and returns its path."""

    def write(multi_label=False, **changes):
        path = tmp_path_factory.mktemp("features") / "changed.h5"
        write_features(path, tiny_contents(multi_label, **changes))
        return path

    return write


@pytest.fixture(scope="session")
def small_run(tiny_features, tmp_path_factory):
    """Work folder of eight epochs of soft attention on the tiny features. Its checkpoints must be left as they are."""
    workdir = tmp_path_factory.mktemp("run") / "small"
    config = RunConfig(
        DataConfig(str(tiny_features), 0.25, num_steps=4, fps=10.0),
        ModelConfig(hidden_dim=8, num_layers=2),
        ReleasedConfig(dim_out=8),
        training=TrainingConfig(batch_size=7, epochs=8, learning_rate=0.02),
        runtime=RuntimeConfig("jit", tensorboard=importlib.util.find_spec("tensorboardX") is not None),
    )
    train(config, workdir)
    return workdir


@pytest.fixture(scope="session")
def colours():
    """Of the clips of each class."""
    return {"jump": (200, 40, 40), "run": (40, 200, 40), "wave": (40, 40, 200)}


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


def write_clip(path, shade: int):
    """A clip of 7 frames of 64×48 pixels at 10 fps, each brighter than the last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(FRAMES):
            picture = np.full((48, 64, 3), (20 + 30 * n, shade, 100), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


@dataclass(frozen=True)
class HostileReport:
    """A report of the small run whose names would be markup if they were not text, and what it was made of."""

    path: Path
    contents: dict
    pictures: list
    features: Path
    data_dir: Path


@pytest.fixture(scope="session")
def hostile_report(small_run, write_tiny, tmp_path_factory):
    """See `HostileReport`: six test clips, one of them not on disk, two with each other's labels."""
    folder = tmp_path_factory.mktemp("hostile")
    plain = tiny_contents()
    names, labels = list(plain.names), plain.labels.copy()
    names[12] = "jump/<script>alert(2)<!--.avi"
    names[13] = "run/x</script><img src=x onerror=alert(3)>.avi"
    labels[[13, 14]] = labels[[14, 13]]
    features = write_tiny(names=names, labels=labels, data_dir=str(folder / "clips"))
    for video in range(12, 17):
        write_clip(folder / "clips" / names[video], 12 * video)
    contents, pictures = gather(trained.load(small_run), features)
    contents["classes"] = ["</script><script>alert(1)</script>", "run & <b>\"hide'</b>", "wave"]
    write_page(folder / "report.html", contents, pictures)
    return HostileReport(folder / "report.html", contents, pictures, features, folder / "clips")
