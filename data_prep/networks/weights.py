"""The trained GoogLeNet: found on disk or downloaded, and read."""

import functools
import math
import os
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx

from attention_ar.errors import InputError, one_line
from attention_ar.googlenet import LEVELS, VARIANTS, GoogLeNet, level, preprocess
from data_prep.downloads.fetch import Source, fetch
from data_prep.networks.arrays import as_params, check_arrays, layer_shapes
from data_prep.networks.googlenet_graph import add_googlenet
from data_prep.networks.jax_engine import jax_engine
from data_prep.networks.network import Network, read_file
from data_prep.networks.onnx_engine import parse_model
from data_prep.networks.torchvision import read_torchvision

ENVIRONMENT_VARIABLE = "ATTENTION_AR_GOOGLENET"
MIRRORS = (
    "https://huggingface.co/onnxmodelzoo/googlenet-12/resolve/main/googlenet-12.onnx",
    "https://github.com/onnx/models/raw/main/validated/vision/classification/inception_and_googlenet/googlenet/"
    "model/googlenet-12.onnx",
)
SHA256 = "c99c507058eaf41de8723408fdda7db8325cb57f0a89f2ee07a716d6e963e14e"
NUM_BYTES = 28_021_836

DEFAULT_LEVELS = ("inception_5b",)

_WAYS_OUT = (
    "take --network=efficientnet_lite0, which needs no download; or name GoogLeNet's file with --googlenet=PATH or in "
    f"${ENVIRONMENT_VARIABLE}; or take --network=random, for trials"
)
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)


class GoogLeNetFeatures(Network):
    """A GoogLeNet with its weights.

    In its recipe, `network` is "bvlc_googlenet", "torchvision_googlenet" or "random_googlenet".

    Attributes:
      params: of `GoogLeNet`.

    Args:
      levels: its outputs, keys of `attention_ar.googlenet.LEVELS`, the deepest first.
    """

    def __init__(
        self,
        network: str,
        params: dict,
        *,
        variant: str = "bvlc",
        weights_sha256: str,
        levels: Sequence[str] = DEFAULT_LEVELS,
        **seed: int,
    ):
        recipe = {
            "network": network,
            "weights_sha256": weights_sha256,
            "random": network == "random_googlenet",
            **seed,
            "colour": VARIANTS[variant].colour,
            "mean": list(VARIANTS[variant].mean),
            "scale": VARIANTS[variant].scale,
            "input_size": [224, 224],
        }
        if len(levels) > 1:
            recipe["levels"] = list(levels)

        def features(params, frames):
            _, out = GoogLeNet(variant).apply({"params": params}, preprocess(frames, variant))
            cubes = [level(out, name).astype(jnp.float16) for name in levels]
            if len(cubes) == 1:
                return cubes[0]
            return jnp.concatenate([cube.reshape(len(cube), -1) for cube in cubes], axis=1)

        self.params = jax.device_put(params)
        run, calls_in_flight = jax_engine(features, self.params)
        first, *further = levels
        shapes = {name: LEVELS[name] for name in further}
        add_to = None if further else functools.partial(add_googlenet, params=params, variant=variant)
        super().__init__(recipe, run, LEVELS[first], calls_in_flight, add_to, shapes)


def parse_levels(text: str | None) -> tuple[str, ...]:
    """Returns what --levels says, the deepest level first; None is `DEFAULT_LEVELS`.

    Raises:
      InputError: for a level that there is not, for one that is named twice, and without inception_5b.
    """
    if text is None:
        return DEFAULT_LEVELS
    names = text.split(",")
    for name in names:
        if name not in LEVELS:
            raise InputError(f"levels={text}: {name or 'an empty name'} is none of {', '.join(LEVELS)}")
        if names.count(name) > 1:
            raise InputError(f"levels={text}: names {name} twice")
    if DEFAULT_LEVELS[0] not in names:
        raise InputError(f"levels={text}: must have {DEFAULT_LEVELS[0]} too, which gives the first state (Eq. 6)")
    return tuple(name for name in LEVELS if name in names)


def load_googlenet(
    spec: str | os.PathLike | None = None, seconds: float = math.inf, levels: Sequence[str] = DEFAULT_LEVELS
) -> GoogLeNetFeatures:
    """Finds and reads the network.

    Args:
      spec: the path of an ONNX file with BVLC GoogLeNet, or of torchvision's weights (.pth, .pt); or "random".
        None: the value of $ATTENTION_AR_GOOGLENET, which may be the same; without it the file in the user's cache
        directory, which is downloaded first if it is not there.
      seconds: time limit of a download.
      levels: see `GoogLeNetFeatures`.

    Raises:
      InputError: the file is not available, or is another file.
    """
    spec = spec or os.environ.get(ENVIRONMENT_VARIABLE)
    if spec == "random":
        return random_googlenet(levels=levels)
    if spec:
        return read_googlenet(spec, levels)
    cached = cached_file()
    if not cached.exists():
        download(cached, seconds=seconds)
    return read_googlenet(cached, levels)


def random_googlenet(seed: int = 0, levels: Sequence[str] = DEFAULT_LEVELS) -> GoogLeNetFeatures:
    """Returns an untrained network, the same for the same seed: for trying programs, not for results.

    Distributed like the initial values of `GoogLeNet` (He-normal kernels, biases 0), but drawn by NumPy: at once, and
    with the same bits on every device.
    """
    rng = np.random.default_rng(seed)
    layers = {}
    for layer, shape in layer_shapes("bvlc").items():
        fan_in = math.prod(shape[1:])
        layers[layer] = (rng.normal(0.0, math.sqrt(2 / fan_in), shape), np.zeros(shape[:1]))
    return GoogLeNetFeatures("random_googlenet", as_params(layers), weights_sha256="", levels=levels, seed=seed)


def read_googlenet(path: str | os.PathLike, levels: Sequence[str] = DEFAULT_LEVELS) -> GoogLeNetFeatures:
    """Reads a file of weights: torchvision's if it is called .pth or .pt, else ONNX.

    Raises:
      InputError: there is no such file, or it holds something else; the line names every array that is wrong.
    """
    path = Path(path)
    data, sha256 = read_file(path, "GoogLeNet", _WAYS_OUT)
    if path.suffix in (".pth", ".pt"):
        params, options = read_torchvision(data, path), {"variant": "torchvision"}
        return GoogLeNetFeatures("torchvision_googlenet", params, **options, weights_sha256=sha256, levels=levels)
    return GoogLeNetFeatures("bvlc_googlenet", _read_onnx(data, path), weights_sha256=sha256, levels=levels)


def _read_onnx(data: bytes, path: Path) -> dict:
    """Returns the parameters of `GoogLeNet`; see `read_googlenet`."""
    tensors = [tensor for tensor in parse_model(path, data).graph.initializer if tensor.data_type in _FLOATS]
    try:
        arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in tensors}
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: is a damaged ONNX file ({one_line(error)})") from None
    shapes = layer_shapes("bvlc")
    expected = {f"{layer}_w_0": shape for layer, shape in shapes.items()}
    expected |= {f"{layer}_b_0": shape[:1] for layer, shape in shapes.items()}
    check_arrays(path, "BVLC GoogLeNet", arrays, expected)
    return as_params({layer: (arrays[f"{layer}_w_0"], arrays[f"{layer}_b_0"]) for layer in shapes})


def cache_directory() -> Path:
    """Returns where downloads are kept for this user: $XDG_CACHE_HOME/attention_ar or ~/.cache/attention_ar."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attention_ar"


def cached_file() -> Path:
    """Returns where a downloaded GoogLeNet is kept."""
    return cache_directory() / "googlenet-12.onnx"


def download(
    target: Path,
    mirrors: Sequence[str] = MIRRORS,
    sha256: str = SHA256,
    num_bytes: int = NUM_BYTES,
    seconds: float = math.inf,
) -> None:
    """Downloads a file from the first mirror that has it whole; `target` appears complete or not at all.

    Args:
      target: where it is to be.
      mirrors: addresses, tried one after the other.
      sha256: of the file, in hexadecimal digits.
      num_bytes: the file's size.
      seconds: time limit.

    Raises:
      InputError: no mirror had the file; the line gives the reason, and what to do without a network.
    """
    sources = [Source(url, num_bytes=num_bytes, sha256=sha256) for url in mirrors]
    try:
        fetch(target, sources, seconds)
    except InputError as error:
        raise InputError(f"no GoogLeNet in {target.parent}, and no download ({error}); {_WAYS_OUT}") from None
