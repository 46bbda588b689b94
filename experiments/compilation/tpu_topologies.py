"""Absent TPU pods, as the TPU's compiler describes them."""

import importlib.util
import math
import re
from dataclasses import dataclass

from attention_ar.errors import InputError, one_line


@dataclass(frozen=True)
class Generation:
    """One kind of TPU, by Cloud TPU's documentation.

    Attributes:
      axes: of the grid that its chips form.
      most_chips: of the largest pod.
      hbm: memory of one chip, in bytes.
      options: that make one device of a chip's cores, as Cloud TPU does.
    """

    axes: int
    most_chips: int
    hbm: int
    options: dict


GENERATIONS = {
    "v4": Generation(3, 4096, 32 << 30, {"chip_config_name": "megacore"}),
    "v5e": Generation(2, 256, 16 << 30, {}),
    "v5p": Generation(3, 8960, 95 << 30, {}),
    "v6e": Generation(2, 256, 32 << 30, {}),
}


@dataclass(frozen=True)
class Pod:
    """A pod, or a slice of one.

    Attributes:
      name: such as "v5e:4x4".
      generation: its chips.
      grid: how many chips there are along each axis.
    """

    name: str
    generation: Generation
    grid: tuple[int, ...]

    @property
    def num_devices(self) -> int:
        """Chips, each of which is one device."""
        return math.prod(self.grid)

    def devices(self) -> list:
        """Returns its devices. JAX can only compile for them.

        The environment must be that of `without_tpu` before JAX is imported.

        Raises:
          InputError: where libtpu, which has the compiler, is not installed, or does not know the pod.
        """
        if importlib.util.find_spec("libtpu") is None:
            raise InputError(
                "libtpu is not installed, the compiler for TPUs, which needs no TPU; pip install 'jax[tpu]' brings it"
            )
        import jax
        from jax.experimental import topologies

        sizes = "x".join(map(str, (*self.grid, 1, 1)[:3]))
        options = dict(self.generation.options)
        if self.num_devices == 1:
            options["chips_per_host_bounds"] = [1, 1, 1]
        try:
            found = topologies.get_topology_desc(
                platform="tpu", topology_name=f"{self.name.split(':')[0]}:{sizes}", **options
            )
        except (jax.errors.JaxRuntimeError, NotImplementedError) as error:
            raise InputError(f"topology={self.name}: libtpu refuses it ({one_line(error)})") from None
        if len(found.devices) != self.num_devices:
            raise InputError(f"topology={self.name}: libtpu makes {len(found.devices)} devices of it, not one a chip")
        return list(found.devices)


def find_pod(name: str) -> Pod:
    """Returns the pod of that name: a generation and its grid of chips, such as v5e:4x4 or v5p:2x2x4.

    Raises:
      InputError: where there is no such pod.
    """
    match = re.fullmatch(r"(\w+):([1-9]\d*(?:x[1-9]\d*){1,2})", name)
    if not match or match[1] not in GENERATIONS:
        raise InputError(
            f"topology={name}: no such TPU; must be one of {', '.join(GENERATIONS)} and its grid of chips, such as "
            "v5e:4x4 or v5p:2x2x4"
        )
    generation, grid = GENERATIONS[match[1]], tuple(int(size) for size in match[2].split("x"))
    if len(grid) != generation.axes and grid[generation.axes :] != (1,):
        example = "x".join(["4"] * generation.axes)
        raise InputError(f"topology={name}: {match[1]} chips form a grid of {generation.axes} axes, such as {example}")
    if math.prod(grid) > generation.most_chips:
        raise InputError(
            f"topology={name}: {math.prod(grid)} chips; the largest {match[1]} pod has {generation.most_chips}"
        )
    return Pod(name, generation, grid)


def without_tpu() -> dict[str, str]:
    """Returns the environment in which libtpu compiles without looking for a TPU, and JAX uses none."""
    return {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # A training may be using the accelerator.
        "TPU_ACCELERATOR_TYPE": "v4-8",  # Of the simulated host; without this and the next, libtpu prints errors.
        "TPU_WORKER_HOSTNAMES": "localhost",
    }
