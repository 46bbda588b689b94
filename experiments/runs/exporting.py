"""A trained model as one file that JAX alone can run: StableHLO with the parameters in it."""

import functools
import hashlib
from pathlib import Path

import jax
import jax.export
import numpy as np

from attention_ar.errors import InputError
from attention_ar.loop import loop_for
from attention_ar.training.steps import eval_step
from data_prep.common.files import write_json, write_whole
from data_prep.features.recipe import recipe_hash
from experiments.runs import trained
from experiments.runs.build import build_model, build_objective, feature_dtype
from experiments.runs.config import RunConfig, with_flags
from experiments.runs.models import MODELS, describe_looking

PLATFORMS = ("cpu", "cuda", "tpu")
RESULTS = {
    "predictions": "class probabilities of every step, <float32>[B, T, C]",
    "block_predictions": "class probabilities of the block, the mean over its steps, <float32>[B, C]",
    "attention": "location softmax of every step, <float32>[B, T, K²]",
    "glimpse": "with hard attention, the share of each cell in what is looked at, <float32>[B, T, K²]",
}


def export_model(config: RunConfig, params, feature_shape, num_classes: int, multi_label: bool):
    """Returns a model with its parameters as a `jax.export.Exported` function.

    It takes features `<float32>[B, T, K², D]`, for any B, and returns those of the `RESULTS` that the model has.

    Args:
      config: of the model.
      params: its parameters, which become constants.
      feature_shape: [K, K, D].
      num_classes: C.
      multi_label: whether a clip may have several labels.
    """
    objective = build_objective(config, multi_label)
    dtype = feature_dtype(config.model)
    params = jax.tree.map(np.asarray, params)

    def predictor(features):
        # The program for each platform has the time loop for that platform, whichever machine exports it.
        return jax.lax.platform_dependent(params, features, cpu=predictor_for("cpu"), default=predictor_for("another"))

    def predictor_for(platform):
        loop = loop_for(platform) if config.runtime.time_loop == "auto" else config.runtime.time_loop
        model = build_model(with_flags(config, time_loop=loop), num_classes, multi_label)
        return functools.partial(predict_with, model)

    def predict_with(model, params, features):
        batch = {"features": features.astype(dtype)}
        found = eval_step(params, batch, model=model, objective=objective, keep=results_of(config))
        return found | {"block_predictions": found["predictions"].mean(axis=1)}

    side, _, num_maps = feature_shape
    (batch_size,) = jax.export.symbolic_shape("batch_size")
    shape = batch_size, config.data.num_steps, side * side, num_maps
    return jax.export.export(jax.jit(predictor), platforms=PLATFORMS)(jax.ShapeDtypeStruct(shape, np.float32))


def results_of(config: RunConfig) -> list[str]:
    """Returns which of the `RESULTS` a model has."""
    absent = set() if MODELS[config.model.model].has_attention else {"attention"}
    absent |= set() if describe_looking(config) else {"glimpse"}
    return [name for name in RESULTS if name not in absent]


def export_predictor(workdir, output, checkpoint: str = "best") -> dict:
    """Writes a run's predictor to the file `output` and its description to `output`.json, both atomically.

    The file is `jax.export`'s, for batches of any size, and for CPUs, CUDA GPUs and TPUs.

    Args:
      workdir: the run.
      output: the file.
      checkpoint: "best" or "latest".

    Returns:
      The contents of the JSON file.

    Raises:
      InputError: where there is no run, or no folder for the file.
    """
    output = Path(output)
    if not output.absolute().parent.is_dir():
        raise InputError(f"output={output}: there is no folder {output.parent}; make it, or name another file")
    if output.is_dir():
        raise InputError(f"output={output}: is a folder; name a file, such as {output / 'predictor.jaxexport'}")
    run = trained.load(workdir, checkpoint)
    run.require_one_level("an exported predictor")
    exported = export_model(run.config, run.params, run.feature_shape, len(run.class_names), run.multi_label)
    serialized = exported.serialize()
    metadata = {
        "sha256": hashlib.sha256(serialized).hexdigest(),
        "features": {"shape": ["B", *exported.in_avals[0].shape[1:]], "dtype": "float32"},
        "results": {name: RESULTS[name] for name in results_of(run.config)},
        "class_names": run.class_names,
        "multi_label": run.multi_label,
        "num_steps": run.config.data.num_steps,
        "fps": run.config.data.fps,
        "recipe_sha256": recipe_hash(run.recipe),
        "recipe": run.recipe,
        "model": run.config.model.model,
        "checkpoint": checkpoint,
        "epoch": run.epoch,
        "platforms": list(exported.platforms),
        "jax": jax.__version__,
        "calling_convention_version": exported.calling_convention_version,
    }
    write_json(f"{output}.json", metadata)
    write_whole(output, serialized)
    return metadata
