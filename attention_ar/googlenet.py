"""GoogLeNet, the network whose last convolutional layer gives the feature cubes X_t (section 3.1).

Szegedy et al., "Going deeper with convolutions" (2015), as Caffe's BVLC network has it: no batch normalisation, and
layers named as there. Pictures are `[B, height, width, channels]`.
"""

from functools import reduce
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

# Table 1 of "Going deeper with convolutions": the number of channels of each layer of an inception.
#                1x1  3x3_reduce  3x3  5x5_reduce  5x5  pool_proj
INCEPTIONS = {
    "inception_3a": (64, 96, 128, 16, 32, 32),
    "inception_3b": (128, 128, 192, 32, 96, 64),
    "inception_4a": (192, 96, 208, 16, 48, 64),
    "inception_4b": (160, 112, 224, 24, 64, 64),
    "inception_4c": (128, 128, 256, 24, 64, 64),
    "inception_4d": (112, 144, 288, 32, 64, 64),
    "inception_4e": (256, 160, 320, 32, 128, 128),
    "inception_5a": (256, 160, 320, 32, 128, 128),
    "inception_5b": (384, 192, 384, 48, 128, 128),
}


# Outputs that attention can look at, the deepest first: (K, K, D). A name that ends in _7x7 is max-pooled to 7×7 cells.
LEVELS = {
    "inception_5b": (7, 7, 1024),
    "inception_4e": (14, 14, 832),
    "inception_4e_7x7": (7, 7, 832),
    "inception_3b": (28, 28, 480),
}


class Variant(NamedTuple):
    """What differs between the two trained GoogLeNets that can be downloaded."""

    normalise: bool  # local response normalisation around conv2
    window_5x5: int  # of the convolutions named 5x5
    window_pool4: int  # of the max-pooling in front of inception_5a
    colour: str  # order of the channels
    mean: tuple[float, float, float]  # subtracted from the channels, in that order
    scale: float  # multiplied afterwards


VARIANTS = {
    "bvlc": Variant(True, 5, 3, "bgr", (104.0, 117.0, 123.0), 1.0),
    # ImageNet's mean and deviation and then `transform_input`, which undoes them, leave RGB between -1 and 1.
    "torchvision": Variant(False, 3, 2, "rgb", (127.5, 127.5, 127.5), 1 / 127.5),
}


def preprocess(frames: jax.Array, variant: str = "bvlc") -> jax.Array:
    """Returns the network's input.

    Args:
      frames: pictures, `<uint8>[..., 3]`, in the order blue, green, red.
      variant: a key of `VARIANTS`.

    Returns:
      `<float32>[..., 3]`, by default the frames minus (104, 117, 123).
    """
    network = VARIANTS[variant]
    channels = frames[..., ::-1] if network.colour == "rgb" else frames
    mean = jnp.broadcast_to(jnp.array(network.mean, jnp.float32), frames.shape)
    return (channels.astype(jnp.float32) - mean) * network.scale


def max_pool(x: jax.Array, window: int, stride: int, pad: int = 0) -> jax.Array:
    """Max-pooling in Caffe's ceil mode: windows that reach past the right or the bottom edge count.

    The maximum of shifted slices, rows first: with `lax.reduce_window` the network takes a tenth longer on a CPU.

    Args:
      x: `<float>[B, height, width, channels]`.
      window: height and width of the window.
      stride: the distance of two windows.
      pad: rows and columns of padding around the picture.

    Returns:
      `<float>[B, rows, columns, channels]` with rows = ⌈(height + 2·pad − window) / stride⌉ + 1, columns alike.
    """
    for axis in (1, 2):
        size = x.shape[axis]
        span = (
            -(-(size + 2 * pad - window) // stride) * stride
        )  # From the start of the first window to that of the last.
        padding = [(0, 0)] * x.ndim
        padding[axis] = (pad, span + window - size - pad)
        padded = jnp.pad(x, padding, constant_values=-jnp.inf)
        shifted = (lax.slice_in_dim(padded, i, i + span + 1, stride, axis) for i in range(window))
        x = reduce(jnp.maximum, shifted)
    return x


def level(stages: dict[str, jax.Array], name: str) -> jax.Array:
    """Returns the feature cubes of a level.

    Args:
      stages: what `GoogLeNet` returns beside the logits.
      name: a key of `LEVELS`.

    Returns:
      `<float>[B, K, K, D]`.
    """
    stage = name.removesuffix("_7x7")
    return stages[stage] if stage == name else max_pool(stages[stage], 2, stride=2)


def local_response_norm(x: jax.Array, size: int = 5, alpha: float = 1e-4) -> jax.Array:
    """Returns x_i / (1 + α/size Σ_j x_j²)^¾, j over the `size` channels around i (Krizhevsky et al. 2012, Caffe's α).

    Args:
      x: `<float>[B, height, width, channels]`.
      size: the number of neighbouring channels in the sum, odd; channels past the ends count as 0.
      alpha: α.

    Returns:
      An array like `x`.
    """
    channels, half = x.shape[-1], size // 2
    squares = jnp.pad(x * x, [(0, 0)] * (x.ndim - 1) + [(half, half)])
    energy = sum(squares[..., i : i + channels] for i in range(size))
    root = lax.rsqrt(1 + alpha / size * energy)
    return x * root * jnp.sqrt(root)  # A power of -0.75 would take a tenth of the whole network's time.


def convolution(x: jax.Array, channels: int, window: int, name: str, stride: int = 1) -> jax.Array:
    """Returns relu(kernel ∗ x + bias); a submodule `name` of the module that is being called."""
    pad = window // 2
    layer = nn.Conv(
        channels,
        (window, window),
        stride,
        [(pad, pad), (pad, pad)],
        kernel_init=nn.initializers.he_normal(),
        param_dtype=x.dtype,
        name=name,
    )
    return nn.relu(layer(x))


class Conv1(nn.Module):
    """The first layer: 7×7, every second pixel."""

    @nn.compact
    def __call__(self, x):
        return convolution(x, 64, 7, "7x7_s2", stride=2)


class Conv2(nn.Module):
    """The second layer and its reduction."""

    @nn.compact
    def __call__(self, x):
        return convolution(convolution(x, 64, 1, "3x3_reduce"), 192, 3, "3x3")


class Inception(nn.Module):
    """Four branches over the same input, their channels concatenated.

    Attributes:
      channels: a row of `INCEPTIONS`.
      window_5x5: the window of the layer named 5x5.
    """

    channels: tuple[int, int, int, int, int, int]
    window_5x5: int = 5

    @nn.compact
    def __call__(self, x):
        channels_1x1, reduce_3x3, channels_3x3, reduce_5x5, channels_5x5, pool_proj = self.channels
        branches = [
            convolution(x, channels_1x1, 1, "1x1"),
            convolution(convolution(x, reduce_3x3, 1, "3x3_reduce"), channels_3x3, 3, "3x3"),
            convolution(convolution(x, reduce_5x5, 1, "5x5_reduce"), channels_5x5, self.window_5x5, "5x5"),
            convolution(max_pool(x, 3, stride=1, pad=1), pool_proj, 1, "pool_proj"),
        ]
        return jnp.concatenate(branches, axis=-1)


class Loss3(nn.Module):
    """The mean over the locations (pool5) and the linear classifier."""

    num_classes: int

    @nn.compact
    def __call__(self, x):
        layer = nn.Dense(
            self.num_classes, kernel_init=nn.initializers.he_normal(), param_dtype=x.dtype, name="classifier"
        )
        return layer(x.mean((1, 2)))


class GoogLeNet(nn.Module):
    """GoogLeNet without its auxiliary classifiers, which are for training only.

    Initial kernels are He-normal, so a random network's activations neither vanish nor grow past float16.

    Attributes:
      variant: "bvlc", Caffe's network and the paper's, or "torchvision": a network trained with batch normalisation (to
        be folded into kernels and biases), with 3×3 windows in the layers named 5x5 and no response normalisation.
      num_classes: ImageNet's.
    """

    variant: str = "bvlc"
    num_classes: int = 1000

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Applies the network.

        Args:
          x: `preprocess(frames)`, `<float>[B, 224, 224, 3]`.

        Returns:
          Logits, `<float>[B, num_classes]`, and a dict of every stage's output: "conv1", "conv2", "inception_3a", …,
          "inception_5b", and the last once more as "features", `<float>[B, 7, 7, 1024]`. Under `jax.jit`, unused stages
          are not computed.
        """
        variant = VARIANTS[self.variant]
        normalise = local_response_norm if variant.normalise else lambda x: x
        out = {}
        with jax.default_matmul_precision("highest"):
            x = out["conv1"] = Conv1(name="conv1")(x)
            x = normalise(max_pool(x, 3, stride=2))
            x = out["conv2"] = Conv2(name="conv2")(x)
            x = normalise(x)
            for stage, channels in INCEPTIONS.items():
                if stage.endswith("a"):  # pool2, pool3, pool4
                    x = max_pool(x, variant.window_pool4 if stage == "inception_5a" else 3, stride=2)
                x = out[stage] = Inception(channels, variant.window_5x5, name=stage)(x)
            out["features"] = x
            logits = Loss3(self.num_classes, name="loss3")(x)
        return logits, out
