"""A features file that can be learnt in seconds: the class is the map that is active in one cell of every frame."""

import importlib.util

import numpy as np
import pytest

from data_prep.features_file import FeaturesFile, write_features
from experiments.config import DataConfig, ModelConfig, ReleasedConfig, RunConfig, RuntimeConfig, TrainingConfig
from experiments.training import train

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
