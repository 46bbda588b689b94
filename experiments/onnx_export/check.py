"""An ONNX file beside the model that it was made of: how far its numbers are off, its size, and how fast it runs."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from data_prep.networks.network import Network
from data_prep.networks.onnx_engine import open_session
from experiments.runs import trained
from experiments.runs.exporting import results_of

_ROUNDS, _SECONDS = 5, 0.5  # of each contender in a round, at least


def compare(
    run: trained.TrainedModel, path, network: Network | None = None, batch_size: int = 8, seed: int = 0
) -> dict:
    """Runs a file in onnxruntime, and the model in JAX, on the same random input.

    Args:
      run: the model.
      path: its ONNX file.
      network: with the network, the one that is in the file.
      batch_size: B.
      seed: of the input.

    Returns:
      A dict: `errors`, the largest |Δ| of each result; `megabytes`, of the file; and `jax` and `onnxruntime`, functions
      without arguments that run the batch.
    """
    rng = np.random.default_rng(seed)
    num_steps, (side, _, num_maps) = run.config.data.num_steps, run.feature_shape
    if network:
        x = rng.integers(0, 256, (batch_size, num_steps, *network.input_size, 3), np.uint8)
    else:  # about half of them 0, as after a ReLU
        x = np.maximum(rng.normal(size=(batch_size, num_steps, side * side, num_maps)), 0).astype(np.float32)
    session = open_session(Path(path).read_bytes())
    names, (given,) = [output.name for output in session.get_outputs()], session.get_inputs()
    compiled = jax.jit(results_of(run.config, len(run.class_names), run.multi_label))
    params = jax.device_put(jax.tree.map(np.asarray, run.params))

    placed = None if network else jax.device_put(x)  # As training's batches are; onnxruntime reads x itself.

    def ours():
        features = placed
        if network:
            frames = network(np.ascontiguousarray(x.reshape(-1, *x.shape[2:])[..., ::-1]))
            features = frames.reshape(batch_size, num_steps, side * side, num_maps).astype(np.float32)
        return jax.device_get(compiled(params, features))

    def theirs():
        return dict(zip(names, session.run(names, {given.name: x}), strict=True))

    expected, found = ours(), theirs()
    return {
        "errors": {name: float(np.abs(found[name] - expected[name]).max()) for name in names},
        "megabytes": Path(path).stat().st_size / 1e6,
        "jax": ours,
        "onnxruntime": theirs,
    }


def seconds_of(calls: dict[str, Callable]) -> dict[str, float]:
    """Returns the median time of one call of each contender, measured in turns, in seconds."""
    found = {name: [] for name in calls}
    for _ in range(_ROUNDS):
        for name, call in calls.items():
            begun, count = time.perf_counter(), 0
            while count == 0 or time.perf_counter() - begun < _SECONDS:
                call()
                count += 1
            found[name].append((time.perf_counter() - begun) / count)
    return {name: statistics.median(times) for name, times in found.items()}


def table(run: trained.TrainedModel, path, network: Network | None = None, batch_sizes=(1, 8)) -> str:
    """Returns a Markdown table of `compare` and `seconds_of`, for each batch size."""
    lines = ["| batch | largest error | JAX, blocks/s | onnxruntime, blocks/s |", "|---|---|---|---|"]
    for batch_size in batch_sizes:
        found = compare(run, path, network, batch_size)
        errors = ", ".join(f"{name} {error:.1e}" for name, error in found["errors"].items())
        seconds = seconds_of({name: found[name] for name in ("jax", "onnxruntime")})
        rates = " | ".join(f"{batch_size / seconds[name]:.1f}" for name in ("jax", "onnxruntime"))
        lines.append(f"| {batch_size} | {errors} | {rates} |")
    return "\n".join(lines)
