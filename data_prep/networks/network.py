"""The interface of a network: frames in, feature cubes X_t out."""

import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from attention_ar.errors import InputError

CPU_BATCH = 8  # frames per call on one core: their activations stay in its cache


class Network:
    """Frames in, feature cubes out. May be called from several threads at a time.

    Attributes:
      recipe: all that its features depend on, as JSON keeps it: `network` (what kind), `weights_sha256` (of the file;
        "" for a random network, which has a `seed` instead), `random`, the input (`colour`, `mean`, `scale`,
        `input_size`), and whatever else the kind of network needs.
      feature_shape: (K, K, D).
      levels: the shapes (K, K, D) of further levels by name, where it gives several; the recipe's `levels` then names
        all of them.
      input_size: (height, width) of its frames.
      calls_in_flight: how many calls at a time keep the machine busy.
      add_to: adds the network to an `onnx_graph.Graph`: a function of the graph and of the name of frames
        `<uint8>[B, height, width, 3]`, BGR, that returns the name of the features, `<float16>[B, K, K, D]`; None for a
        network that cannot be written so.

    Args:
      run: a function of frames that returns the feature cubes; of a network of several levels, rows as
        `split_levels` takes them.
    """

    def __init__(
        self,
        recipe: dict,
        run: Callable[[np.ndarray], np.ndarray],
        feature_shape: tuple[int, int, int],
        calls_in_flight: int = 1,
        add_to: Callable | None = None,
        levels: Mapping[str, tuple[int, int, int]] | None = None,
    ):
        self.recipe = recipe
        self.feature_shape = tuple(feature_shape)
        self.levels = dict(levels or {})
        self.input_size = tuple(recipe["input_size"])
        self.calls_in_flight = calls_in_flight
        self.add_to = add_to
        self._run = run

    @property
    def is_random(self) -> bool:
        """Whether the weights are random: then every output made with them says so."""
        return self.recipe["random"]

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Returns the feature cubes `<float16>[B, K, K, D]` of `frames` `<uint8>[B, height, width, 3]`, BGR."""
        return all_levels(self, frames)[0] if self.levels else self._run(frames)

    def rows(self, frames: np.ndarray) -> np.ndarray:
        """Returns the feature cubes of all levels in one array, see `split_levels`."""
        return self._run(frames)


def level_shapes(network) -> list[tuple[int, int, int]]:
    """Returns (K, K, D) of every level of a network, or of what stands in for one; of most there is one."""
    return [tuple(network.feature_shape), *getattr(network, "levels", {}).values()]


def all_levels(network, frames: np.ndarray) -> list[np.ndarray]:
    """Returns the feature cubes `<float16>[B, K, K, D]` of every level of a network, see `level_shapes`."""
    shapes = level_shapes(network)
    return [network(frames)] if len(shapes) == 1 else split_levels(network.rows(frames), shapes)


def split_levels(rows: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Returns the levels of rows in which they lie one after the other.

    Args:
      rows: `<float>[..., n]`, n the sum of all levels' sizes.
      shapes: of the levels.

    Returns:
      `<float>[..., *shape]` of each level; views of `rows`.
    """
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    parts = np.split(rows, ends[:-1], axis=-1)
    return [part.reshape(*rows.shape[:-1], *shape) for part, shape in zip(parts, shapes, strict=True)]


@dataclass(frozen=True)
class Kind:
    """One kind of network, an entry of `data_prep.networks.registry`. Its file ends with one.

    Attributes:
      title: its name for readers.
      about: what to know before choosing it, for --help.
      load: makes the network, or raises `InputError`. Takes the options that the user has given as keyword arguments,
        each a text. Imports what it needs when it is called: --help need not wait for that.
      recipes: what `network` may be in the recipes of its features.
      options: the flags that are this network's alone, with their help.
      options_of: the options that a recipe stores; the user need not give them again.
    """

    title: str
    about: str
    load: Callable[..., Network]
    recipes: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    options_of: Callable[[Mapping], dict[str, str]] = lambda recipe: {}


def grid_shape(shape, what: str) -> tuple[int, int, int]:
    """Returns (K, K, D) of a map of features `[B, K, K, D]`.

    Raises:
      InputError: where the grid is no square; the line begins with `what`.
    """
    _, height, width, num_maps = shape
    if height != width:
        raise InputError(f"{what} is a grid of {height}×{width} cells; must be a square")
    return height, width, num_maps


def normalised(frames: np.ndarray, recipe: Mapping) -> np.ndarray:
    """Returns (pixel / 255 − mean) / std, `<float32>` of the frames' shape, as most of PyTorch's networks want it.

    Args:
      frames: `<uint8>[..., 3]`, BGR.
      recipe: with `colour`, and `mean` and `std` of the channels in that order.
    """
    mean, std = np.float32(recipe["mean"]), np.float32(recipe["std"])
    channels = frames[..., ::-1] if recipe["colour"] == "rgb" else frames
    return (channels - 255 * mean) * (1 / (255 * std))


def in_pieces(
    run: Callable[[np.ndarray], np.ndarray], frames: np.ndarray, size: int = CPU_BATCH, always: bool = False
) -> np.ndarray:
    """Returns `run(frames)`, computed `size` frames at a time; the last piece is padded with black frames.

    Args:
      run: of at most `size` frames.
      frames: `<uint8>[B, height, width, 3]`.
      size: of a piece.
      always: whether `run` takes no fewer either.
    """
    if len(frames) <= size and not always:
        return run(frames)
    pieces = []
    for first in range(0, len(frames), size):
        piece = frames[first : first + size]
        missing = size - len(piece)
        padded = np.pad(piece, [(0, missing), (0, 0), (0, 0), (0, 0)]) if missing else piece
        pieces.append(run(padded)[: len(piece)])
    return np.concatenate(pieces)


def read_file(path: str | os.PathLike, what: str, way_out: str) -> tuple[bytes, str]:
    """Returns a file's bytes and their sha256 in hexadecimal digits.

    Raises:
      InputError: it cannot be read; the line says what it should be, and ends with `way_out`.
    """
    try:
        data = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {what} cannot be read ({error.strerror}); {way_out}") from None
    return data, hashlib.sha256(data).hexdigest()
