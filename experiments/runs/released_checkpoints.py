"""Checkpoints of the authors' released program as runs of this one, and back."""

import os
from dataclasses import asdict
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from attention_ar.errors import InputError
from attention_ar.released.blocks import released_skip
from attention_ar.released.checkpoint import read_model, write_model
from attention_ar.training.checkpoints import Checkpoints
from attention_ar.training.named_params import export_params
from attention_ar.training.steps import TrainState
from data_prep.common.files import write_json
from data_prep.features.opening import absolute_path, open_features
from data_prep.released.conversion import GRID
from experiments.runs import trained
from experiments.runs.build import build_optimizer
from experiments.runs.config import DataConfig, ModelConfig, ReleasedConfig, RunConfig, read_config

NEVER_SCORED = -np.inf  # If training resumes from here, any later epoch counts as better.


def import_checkpoint(
    model,
    workdir,
    features,
    *,
    num_steps: int = 30,
    fps: float = 30.0,
    stride: int = 1,
    last_n: int = 30,
    temperature_inverse: float = 1.0,
    use_dropout: bool = True,
) -> RunConfig:
    """Makes a work folder of a checkpoint of the released program, as `training.train` would leave it.

    Args:
      model: the .npz file.
      workdir: a folder without a run.
      features: the features file of its data set.
      num_steps, fps, stride: how videos are cut into blocks; the program's `maxlen`, `fps` and `testing_stride`.
      last_n, temperature_inverse, use_dropout: see `ReleasedAttentionLSTM`; the checkpoint does not store them.

    Returns:
      The run's configuration.

    Raises:
      InputError: where a file cannot be read, the two do not fit each other, or the folder holds a run.
    """
    workdir = Path(workdir)
    there = [name for name in ("config.json", "checkpoints", "params.npz") if (workdir / name).exists()]
    if there:
        raise InputError(f"{workdir}: holds a run already ({', '.join(there)}); name another --workdir")
    released_skip(fps)
    file = open_features(features)
    module, arrays = read_model(
        model,
        multi_label=file.multi_label,
        last_n=last_n,
        temperature_inverse=temperature_inverse,
        use_dropout=use_dropout,
    )
    _require_fit(model, module.num_classes, arrays["ff_state_W"].shape[0], features, file)

    config = RunConfig(
        data=DataConfig(absolute_path(features), num_steps=num_steps, fps=fps, stride=stride, block_rule="released"),
        model=ModelConfig(
            model="released",
            hidden_dim=module.hidden_dim,
            num_layers=1,
            dropout=0.5 if use_dropout else 0.0,
            init_layers=module.n_layers_init,
        ),
        released=ReleasedConfig(**{name: getattr(module, name) for name in asdict(ReleasedConfig())}),
    )
    params = {name: jnp.asarray(array, jnp.float32) for name, array in arrays.items()}
    state = TrainState(jnp.zeros((), jnp.int32), params, build_optimizer(config.training).init(params))
    metadata = {**trained.feature_metadata(file), "epoch": 0, "metrics": {"epoch": 0, "step": 0}}
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with Checkpoints(workdir / "checkpoints") as checkpoints:
            checkpoints.save(state, metadata, NEVER_SCORED)
        export_params(workdir / "params.npz", params)
        write_json(workdir / "config.json", asdict(config))
    except OSError as error:
        raise InputError(f"{workdir}: cannot be written ({error.strerror or error}); name another --workdir") from error
    return config


def export_checkpoint(workdir, path, checkpoint: str = "best") -> RunConfig:
    """Writes the parameters of a run of the released model as the released program does.

    Args:
      workdir: of the run.
      path: the .npz file to write.
      checkpoint: "best" or "latest".

    Returns:
      The run's configuration; their program stores its options beside a checkpoint and needs these.

    Raises:
      InputError: for a run of another model, one on another grid than 7×7, or where the file exists.
    """
    if os.path.exists(path):
        raise InputError(f"{path}: exists already; name another file, or delete it")
    model = read_config(workdir).model.model
    if model != "released":
        raise InputError(f"{workdir}: holds a run of model={model}; only model=released can be stored in their format")
    run = trained.load(workdir, checkpoint)
    run.require_one_level("the authors' format")
    _require_grid(workdir, run.feature_shape[:2])
    try:
        write_model(path, jax.device_get(run.params))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    return run.config


def _require_fit(model, num_classes: int, num_maps: int, features, file):
    """Refuses a features file of other classes or cubes than the checkpoint's."""
    _require_grid(features, file.features.shape[1:3])
    wrong = [
        f"{theirs} {what} (the features file {ours})"
        for what, theirs, ours in (
            ("classes", num_classes, len(file.class_names)),
            ("channels a cell", num_maps, file.features.shape[3]),
        )
        if theirs != ours
    ]
    if wrong:
        hint = "data_prep.convert_released --class_names can name classes that no video has"
        raise InputError(f"{model}: has {', '.join(wrong)}; must be the features it was trained on ({hint})")


def _require_grid(what, grid):
    if tuple(grid) != GRID:
        raise InputError(f"{what}: has {'×'.join(map(str, grid))} cells a frame; the released program has 7×7")
