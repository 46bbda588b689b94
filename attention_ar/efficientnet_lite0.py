"""EfficientNet-Lite0, a small network whose last convolutional layer gives feature cubes X_t as GoogLeNet's does.

Tan and Le, "EfficientNet: Rethinking model scaling for convolutional neural networks" (2019), in the Lite form: no
squeeze-and-excitation, ReLU6 for the activations, and stem and head of B0's size. Batch normalisation is folded into
kernels and biases. Pictures are `[B, height, width, channels]`.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

MEAN, SCALE = 127.0, 1 / 128  # the input is (x − 127) / 128, colours in the order red, green, blue
STEM_MAPS, HEAD_MAPS = 32, 1280


class Stage(NamedTuple):
    """A sequence of inverted bottlenecks; the first one has the stride and changes the number of channels."""

    repeats: int
    maps: int  # output channels
    expansion: int  # of the input channels, for the depthwise convolution
    window: int  # of the depthwise convolution
    stride: int


# Table 1 of "EfficientNet", without stem and head.
STAGES = (
    Stage(1, 16, 1, 3, 1),
    Stage(2, 24, 6, 3, 2),
    Stage(2, 40, 6, 5, 2),
    Stage(3, 80, 6, 3, 2),
    Stage(3, 112, 6, 5, 1),
    Stage(4, 192, 6, 5, 2),
    Stage(1, 320, 6, 3, 1),
)


class Bottleneck(NamedTuple):
    """The sizes of one inverted bottleneck."""

    maps_in: int
    maps: int
    expansion: int
    window: int
    stride: int

    @property
    def has_residual(self) -> bool:
        """Whether its input is added to its output."""
        return self.stride == 1 and self.maps_in == self.maps


def bottlenecks() -> list[Bottleneck]:
    """Returns all of them in order, `STAGES` unrolled."""
    found, maps_in = [], STEM_MAPS
    for repeats, maps, expansion, window, stride in STAGES:
        for repeat in range(repeats):
            found.append(Bottleneck(maps_in, maps, expansion, window, 1 if repeat else stride))
            maps_in = maps
    return found


def preprocess(frames: jax.Array) -> jax.Array:
    """Returns the network's input.

    Args:
      frames: pictures, `<uint8>[..., 3]`, in the order blue, green, red.

    Returns:
      `<float32>[..., 3]`, red, green, blue, between −0.992 and 1.
    """
    return (frames[..., ::-1].astype(jnp.float32) - MEAN) * SCALE


def same_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    """Returns how many zeros TensorFlow's SAME puts before and after an axis: an odd one goes to the end."""
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def relu6(x: jax.Array) -> jax.Array:
    """Returns x clipped to [0, 6]."""
    return jnp.clip(x, 0, 6)


class Pointwise(nn.Module):
    """A 1×1 convolution with bias, computed as a matrix product.

    Attributes:
      maps: output channels.
    """

    maps: int

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.he_normal(), (x.shape[-1], self.maps), x.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.maps,), x.dtype)
        return x @ kernel + jnp.broadcast_to(bias, (*x.shape[:-1], self.maps))


class Depthwise(nn.Module):
    """A depthwise convolution, with bias.

    A sum of shifted products, which XLA fuses into one loop: 4.5 times as fast on a CPU as its grouped convolution.

    Attributes:
      window: height and width of the window.
      stride: the distance of two windows.
    """

    window: int
    stride: int

    @nn.compact
    def __call__(self, x):
        maps, stride = x.shape[-1], self.stride
        init = nn.initializers.he_normal(in_axis=(0, 1), out_axis=2)
        kernel = self.param("kernel", init, (self.window, self.window, maps), x.dtype)
        bias = self.param("bias", nn.initializers.zeros, (maps,), x.dtype)
        rows, columns = (-(-size // stride) for size in x.shape[1:3])
        pads = [same_padding(size, self.window, stride) for size in x.shape[1:3]]
        x = jnp.pad(x, [(0, 0), *pads, (0, 0)])
        out = jnp.broadcast_to(bias, (x.shape[0], rows, columns, maps))
        for i in range(self.window):
            for j in range(self.window):
                shifted = lax.slice_in_dim(x, i, i + (rows - 1) * stride + 1, stride, axis=1)
                shifted = lax.slice_in_dim(shifted, j, j + (columns - 1) * stride + 1, stride, axis=2)
                out = out + shifted * jnp.broadcast_to(kernel[i, j], out.shape)
        return out


class InvertedBottleneck(nn.Module):
    """1×1 to more channels, depthwise, 1×1 to fewer channels; the input is added if the shapes agree.

    Attributes:
      sizes: see `Bottleneck`.
    """

    sizes: Bottleneck

    @nn.compact
    def __call__(self, x):
        sizes, y = self.sizes, x
        if sizes.expansion > 1:
            y = relu6(Pointwise(sizes.maps_in * sizes.expansion, name="expand")(y))
        y = relu6(Depthwise(sizes.window, sizes.stride, name="depthwise")(y))
        y = Pointwise(sizes.maps, name="project")(y)
        return x + y if sizes.has_residual else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 with batch normalisation folded in.

    Attributes:
      num_classes: ImageNet's.
    """

    num_classes: int = 1000

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Applies the network.

        Args:
          x: `preprocess(frames)`, `<float>[B, 224, 224, 3]`.

        Returns:
          Logits, `<float>[B, num_classes]`, and a dict of every stage's output: "stem", "block_0", …, "block_15", and
          the head's after ReLU6 as "features", `<float>[B, 7, 7, 1280]`. Under `jax.jit` what is not used is not
          computed.
        """
        out = {}
        with jax.default_matmul_precision("highest"):
            stem = nn.Conv(
                STEM_MAPS,
                (3, 3),
                2,
                [same_padding(size, 3, 2) for size in x.shape[1:3]],
                kernel_init=nn.initializers.he_normal(),
                param_dtype=x.dtype,
                name="stem",
            )
            x = out["stem"] = relu6(stem(x))
            for number, sizes in enumerate(bottlenecks()):
                x = out[f"block_{number}"] = InvertedBottleneck(sizes, name=f"block_{number}")(x)
            x = out["features"] = relu6(Pointwise(HEAD_MAPS, name="head")(x))
            logits = nn.Dense(self.num_classes, param_dtype=x.dtype, name="classifier")(x.mean((1, 2)))
        return logits, out
