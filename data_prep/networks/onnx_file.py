"""Any network in an ONNX file."""

import functools
import math
from collections.abc import Callable, Mapping

import numpy as np

from attention_ar.errors import InputError, one_line
from data_prep.common.cores import num_cores
from data_prep.networks.network import CPU_BATCH, Kind, Network, in_pieces, normalised, read_file
from data_prep.networks.onnx_engine import open_session, parse_model

IMAGENET_MEAN, IMAGENET_STD = "0.485,0.456,0.406", "0.229,0.224,0.225"
_SIZE = 224  # of frames, if neither the file nor the user gives it
_TYPES = {1: np.float32, 10: np.float16}  # of the input, by ONNX's numbers for them


def load(
    onnx: str | None = None,
    onnx_output: str | None = None,
    onnx_size: str | None = None,
    onnx_colour: str = "rgb",
    onnx_mean: str = IMAGENET_MEAN,
    onnx_std: str = IMAGENET_STD,
) -> Network:
    """Returns the network of a file, run by onnxruntime on the CPU.

    Args:
      onnx: its path.
      onnx_output: the tensor that is the features, see `as_cubes`; any tensor of the graph. By default the first of the
        graph's outputs that can be.
      onnx_size: height and width of the frames; by default what the file says, and 224 where it says nothing.
      onnx_colour: "rgb" or "bgr", the order of the channels.
      onnx_mean, onnx_std: see `data_prep.networks.network.normalised`.

    Raises:
      InputError: for invalid options, a file that cannot be run, and one without such an output.
    """
    if not onnx:
        raise InputError("network=onnx: name the file with --onnx=model.onnx")
    if onnx_colour not in ("rgb", "bgr"):
        raise InputError(f"onnx_colour={onnx_colour}: must be rgb or bgr")
    mean, std = parse_channels("onnx_mean", onnx_mean), parse_channels("onnx_std", onnx_std)
    if 0 in std:
        raise InputError(f"onnx_std={onnx_std}: none may be 0, as they are divisors")
    data, sha256 = read_file(onnx, "the ONNX file", "name another with --onnx=PATH")
    recipe = {
        "network": "onnx",
        "weights_sha256": sha256,
        "random": False,
        "colour": onnx_colour,
        "mean": mean,
        "std": std,
    }
    prepare = functools.partial(normalised, recipe=recipe)
    run, output, feature_shape, size = open_graph(onnx, data, prepare, onnx_output, onnx_size)
    recipe |= {"output": output, "input_size": [size, size]}
    return Network(recipe, run, feature_shape, num_cores())


def options_of(recipe: Mapping) -> dict[str, str]:
    """Returns the options that a recipe stores: all but the file's path."""
    return {
        "onnx_output": recipe["output"],
        "onnx_size": str(recipe["input_size"][0]),
        "onnx_colour": recipe["colour"],
        "onnx_mean": ",".join(map(str, recipe["mean"])),
        "onnx_std": ",".join(map(str, recipe["std"])),
    }


def parse_channels(name: str, text: str) -> list[float]:
    """Returns three numbers that are separated by commas."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise InputError(f"{name}={text}: must be three numbers by commas, one a channel, like {IMAGENET_MEAN}")
    return numbers


def as_cubes(tensor: np.ndarray) -> np.ndarray | None:
    """Returns feature cubes `[B, K, K, D]`, or None for a tensor that cannot be made so.

    Args:
      tensor: feature maps `[B, D, K, K]` or `[B, K, K, D]`; tokens of a transformer, row by row, `[B, K², D]`, or
        `[B, 1 + K², D]`, whose first, the class token, is left out.
    """
    if tensor.ndim == 4 and tensor.shape[2] == tensor.shape[3]:
        return np.moveaxis(tensor, 1, -1)
    if tensor.ndim == 4 and tensor.shape[1] == tensor.shape[2]:
        return tensor
    if tensor.ndim != 3:
        return None
    for first in (0, 1):
        side = math.isqrt(max(tensor.shape[1] - first, 0))
        if side and side**2 == tensor.shape[1] - first:
            return tensor[:, first:].reshape(len(tensor), side, side, tensor.shape[2])
    return None


def open_graph(
    path, data: bytes, prepare: Callable[[np.ndarray], np.ndarray], output: str | None, size: str | None
) -> tuple[Callable[[np.ndarray], np.ndarray], str, tuple[int, int, int], int]:
    """Makes a function of a graph.

    Args:
      path: of the file, for errors.
      data: the file.
      prepare: makes what the network takes, `<float32>[B, size, size, 3]`, of frames.
      output, size: see `load`.

    Returns:
      A function of frames `<uint8>[B, size, size, 3]` that gives `<float16>[B, K, K, D]`, the output's name, (K, K, D),
      and the frames' size.
    """
    model = parse_model(path, data)
    if not model.graph.node:
        raise InputError(f"{path}: is not an ONNX file with a network in it")
    x, channels_axis, fixed = _input(path, model)
    size = _frame_size(path, size, [side for axis, side in enumerate(fixed) if axis not in (0, channels_axis)])
    if output is not None:
        _choose_output(path, model, output)
    names = [tensor.name for tensor in model.graph.output]
    session = _session(path, model)
    dtype = _TYPES[x.type.tensor_type.elem_type]

    def run(frames, wanted):
        prepared = np.moveaxis(prepare(frames), -1, channels_axis)
        return session.run(wanted, {x.name: np.ascontiguousarray(prepared, dtype)})

    batch = fixed[0] or 2  # two, to detect a graph that takes only one frame
    try:
        tried = dict(zip(names, run(np.zeros((batch, size, size, 3), np.uint8), names), strict=True))
    except Exception as error:  # onnxruntime's own
        raise InputError(f"{path}: does not run on {size}×{size} frames ({one_line(error)}); see --onnx_size") from None
    cubes = {name: as_cubes(np.asarray(tensor)) for name, tensor in tried.items()}
    cubes = {name: cube for name, cube in cubes.items() if cube is not None and len(cube) == batch}
    if not cubes:
        found = ", ".join(f"{name} {list(np.shape(tensor))}" for name, tensor in tried.items())
        raise InputError(
            f"{path}: {found}: must be a square grid of features, [B, D, K, K] or tokens [B, 1 + K², D]; "
            "name a tensor that is one with --onnx_output=NAME"
        )
    output, cube = next(iter(cubes.items()))

    def features(frames):
        return as_cubes(run(frames, [output])[0]).astype(np.float16)

    def in_its_batches(frames):
        return in_pieces(features, frames, fixed[0] or CPU_BATCH, always=bool(fixed[0]))

    return in_its_batches, output, cube.shape[1:], size


def _input(path, model):
    """Returns the graph's input, the axis of its channels, and its sizes; None for those that the file leaves open."""
    arrays = {tensor.name for tensor in model.graph.initializer}
    inputs = [tensor for tensor in model.graph.input if tensor.name not in arrays]
    shapes = [[d.dim_value or None for d in tensor.type.tensor_type.shape.dim] for tensor in inputs]
    described = ", ".join(f"{tensor.name} {shape}" for tensor, shape in zip(inputs, shapes, strict=True))
    if len(inputs) != 1 or len(shapes[0]) != 4 or inputs[0].type.tensor_type.elem_type not in _TYPES:
        raise InputError(f"{path}: takes {described}; must take frames alone, <float>[B, 3, height, width]")
    (x,), (fixed,) = inputs, shapes
    if fixed[1] not in (3, None) and fixed[3] == 3:
        return x, 3, fixed
    if fixed[1] not in (3, None):
        raise InputError(f"{path}: takes {described}; must take frames of 3 channels, <float>[B, 3, height, width]")
    return x, 1, fixed


def _frame_size(path, asked: str | None, declared: list[int | None]) -> int:
    if asked is not None and not (asked.isdigit() and int(asked)):
        raise InputError(f"onnx_size={asked}: must be a number of pixels, such as {_SIZE}")
    sizes = {side for side in declared if side}
    if len(sizes) > 1:
        raise InputError(f"{path}: takes frames of {'×'.join(map(str, declared))}; must be squares")
    if asked is None:
        return sizes.pop() if sizes else _SIZE
    if sizes and sizes != {int(asked)}:
        raise InputError(f"{path}: takes frames of {sizes.pop()} pixels a side, and not of onnx_size={asked}")
    return int(asked)


def _choose_output(path, model, output: str):
    """Makes a tensor the graph's only output."""
    import onnx

    known = [name for node in model.graph.node for name in node.output if name]
    if output not in known:
        alike = [name for name in known if output.lower() in name.lower()] or known[-5:]
        raise InputError(
            f"{path}: has no tensor onnx_output={output}; it has {len(known)}, such as {', '.join(alike[:5])}"
        )
    del model.graph.output[:]
    model.graph.output.append(onnx.ValueInfoProto(name=output))


def _session(path, model):
    try:
        return open_session(model.SerializeToString())
    except ImportError:
        raise InputError("network=onnx needs onnxruntime: pip install onnxruntime") from None
    except Exception as error:  # onnxruntime's own, which are not documented
        raise InputError(f"{path}: onnxruntime cannot run it ({one_line(error)})") from None


KIND = Kind(
    title="an ONNX file's network",
    about="any, named by --onnx",
    load=load,
    recipes=("onnx",),
    options={
        "onnx": "With --network=onnx: the file.",
        "onnx_output": "The tensor of the features, maps [B, D, K, K] or tokens [B, 1 + K², D]; any of the "
        "graph's. By default the first output that is one of these.",
        "onnx_size": "Pixels on a side of its frames; by default what the file says, else 224.",
        "onnx_colour": "The order of its channels: rgb, the default, or bgr.",
        "onnx_mean": f"Subtracted from the channels, where pixels are between 0 and 1; by default {IMAGENET_MEAN}.",
        "onnx_std": f"Then divided by; by default {IMAGENET_STD}.",
    },
    options_of=options_of,
)
