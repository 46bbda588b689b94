"""Layers, shapes and checks shared by all files of trained GoogLeNets."""

import functools
from collections.abc import Mapping

import flax
import jax
import numpy as np

from attention_ar.errors import InputError
from attention_ar.googlenet import GoogLeNet


@functools.cache
def layer_shapes(variant: str) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every layer's weights, under Caffe's names, in the order of axes that files keep.

    `{"conv1/7x7_s2": (64, 3, 7, 7), …, "loss3/classifier": (1000, 1024)}`:
    output channels, input channels, height, width.

    Args:
      variant: of `GoogLeNet`.
    """
    frame = jax.ShapeDtypeStruct((1, 224, 224, 3), np.float32)
    params = jax.eval_shape(GoogLeNet(variant).init, jax.random.key(0), frame)["params"]
    kernels = {"/".join(path): kernel.shape for (*path, name), kernel in _flat(params) if name == "kernel"}
    return {layer: (*shape[:-3:-1], *shape[:-2]) for layer, shape in kernels.items()}


def _flat(params):
    return flax.traverse_util.flatten_dict(params).items()


def as_params(layers: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict:
    """Returns the parameters of `GoogLeNet`.

    Args:
      layers: weights and bias of every layer of `layer_shapes`.
    """
    params = {}
    for layer, (weights, bias) in layers.items():
        kernel = np.moveaxis(weights, (0, 1), (-1, -2))
        params[layer + "/kernel"] = np.ascontiguousarray(kernel, np.float32)
        params[layer + "/bias"] = np.asarray(bias, np.float32)
    return flax.traverse_util.unflatten_dict(params, sep="/")


def fold_batch_norm(
    arrays: Mapping[str, np.ndarray], convolution: str, normalisation: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns weights and bias of a convolution of PyTorch's with the batch normalisation after it, ε = 0.001.

    γ (W∗x − μ) / √(σ² + ε) + β = (s W)∗x + (β − s μ) with s = γ / √(σ² + ε).
    """
    gamma, beta, mean, variance = (
        arrays[f"{normalisation}.{of}"].astype(np.float64) for of in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(variance + 1e-3)
    return arrays[f"{convolution}.weight"] * scale[:, None, None, None], beta - scale * mean


def check_arrays(path, network: str, arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple]) -> None:
    """Checks that the arrays of a file are those of a network.

    Args:
      path: the file, for the error.
      network: what the file should hold, for the error.
      arrays: what it does hold.
      shapes: the names and shapes that it should hold.

    Raises:
      InputError: names everything that is missing, unexpected, of another shape or not finite.
    """
    missing, unexpected = shapes.keys() - arrays.keys(), arrays.keys() - shapes.keys()
    faults = [f"missing {', '.join(sorted(missing))}"] if missing else []
    if missing == shapes.keys():
        faults = [f"it has none of the {len(shapes)} arrays, {next(iter(shapes))} and so on"]
    if unexpected:
        faults.append(f"unexpected {', '.join(sorted(unexpected))}")
    for name in sorted(shapes.keys() & arrays.keys()):
        if arrays[name].shape != shapes[name]:
            faults.append(f"{name} is {list(arrays[name].shape)} instead of {list(shapes[name])}")
        elif not np.isfinite(arrays[name]).all():
            faults.append(f"{name} holds values that are not finite")
    if faults:
        raise InputError(f"{path}: is not {network}: {'; '.join(faults)}")
