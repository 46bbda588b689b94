"""A trained model as one file that JAX alone can run: StableHLO with the parameters in it."""

import hashlib
from pathlib import Path

import jax
import jax.export
import numpy as np

from attention_ar.errors import InputError
from attention_ar.loop import loop_for
from attention_ar.training.steps import predict_at_test
from data_prep.common.files import write_json, write_whole
from data_prep.features.recipe import recipe_hash
from experiments.runs import trained
from experiments.runs.build import build_model, build_objective, feature_dtype
from experiments.runs.config import RunConfig, with_flags
from experiments.runs.models import describe_looking

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
    params = jax.tree.map(np.asarray, params)

    def predictor(features):
        # The program for each platform has the time loop for that platform, whichever machine exports it.
        return jax.lax.platform_dependent(params, features, **{name: predictor_for(name) for name in PLATFORMS})

    def predictor_for(platform):
        loop = loop_for(platform) if config.runtime.time_loop == "auto" else config.runtime.time_loop
        return results_of(with_flags(config, time_loop=loop), num_classes, multi_label)

    side, _, num_maps = feature_shape
    (batch_size,) = jax.export.symbolic_shape("batch_size")
    shape = batch_size, config.data.num_steps, side * side, num_maps
    return jax.export.export(jax.jit(predictor), platforms=PLATFORMS)(jax.ShapeDtypeStruct(shape, np.float32))


def results_of(config: RunConfig, num_classes: int, multi_label: bool):
    """Returns a function of a model's parameters and of features `<float32>[B, T, K², D]` that returns the `RESULTS`
    that the model has."""
    model, objective = build_model(config, num_classes, multi_label), build_objective(config, multi_label)

    def predictor(params, features):
        batch = {"features": features.astype(feature_dtype(config.model))}
        logits, out = predict_at_test(model, params, batch, multi_label)
        probabilities = objective.predictions(logits)
        results = {"predictions": probabilities, "block_predictions": probabilities.mean(axis=1)}
        return results | {name: out[name] for name in ("attention", "glimpse") if name in out}

    return predictor


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
    output = checked_output(output, "predictor.jaxexport")
    run = trained.load(workdir, checkpoint)
    run.require_one_level("an exported predictor")
    exported = export_model(run.config, run.params, run.feature_shape, len(run.class_names), run.multi_label)
    serialized = exported.serialize()
    metadata = {
        "sha256": hashlib.sha256(serialized).hexdigest(),
        "features": {"shape": ["B", *exported.in_avals[0].shape[1:]], "dtype": "float32"},
        **description(run, checkpoint),
        "platforms": list(exported.platforms),
        "jax": jax.__version__,
        "calling_convention_version": exported.calling_convention_version,
    }
    write_json(f"{output}.json", metadata)
    write_whole(output, serialized)
    return metadata


def _absent(run: trained.TrainedModel) -> set[str]:
    """Returns which of the `RESULTS` a model does not have."""
    looks = describe_looking(run.config) and run.config.attention.glimpse_rule != "expectation"
    return (set() if run.has_attention else {"attention"}) | (set() if looks else {"glimpse"})


def description(run: trained.TrainedModel, checkpoint: str) -> dict:
    """Returns what a user of an exported model must know: its results, its classes, and the features that it needs."""
    return {
        "results": {name: about for name, about in RESULTS.items() if name not in _absent(run)},
        "class_names": run.class_names,
        "multi_label": run.multi_label,
        "temperature": run.temperature.value,
        "num_steps": run.config.data.num_steps,
        "fps": run.config.data.fps,
        "recipe_sha256": recipe_hash(run.recipe),
        "recipe": run.recipe,
        "model": run.config.model.model,
        "checkpoint": checkpoint,
        "epoch": run.epoch,
    }


def checked_output(output, name: str) -> Path:
    """Returns the path of a file to be written.

    Args:
      output: the path.
      name: of such a file, for the error.

    Raises:
      InputError: where it is a folder, or its folder is not there.
    """
    output = Path(output)
    if not output.absolute().parent.is_dir():
        raise InputError(f"output={output}: there is no folder {output.parent}; make it, or name another file")
    if output.is_dir():
        raise InputError(f"output={output}: is a folder; name a file, such as {output / name}")
    return output
