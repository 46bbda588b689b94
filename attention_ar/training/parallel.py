"""Where a step runs: over a mesh of one or more devices, or through `jax.pmap`.

Both give the same numbers, on however many devices: sums are over the blocks of the whole batch, and a block's dropout
masks follow from its index in the whole batch. A batch is sharded along its first axis, and each process provides its
local shard. Parameters, optimiser state and a table of features are replicated: each device has them all.
"""

import functools

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from attention_ar.errors import InputError
from attention_ar.training.feature_table import look_up
from attention_ar.training.steps import eval_step, train_step

AXIS = "devices"


class OverMesh:
    """`jax.jit` over a mesh of devices, of all processes.

    Attributes:
      devices: of the mesh; by default all.
      num_devices: over how many devices a batch is sharded.
      sharded: the sharding of a batch, along its first axis.
      replicated: the sharding of what every device has.
    """

    name = "mesh"

    def __init__(self, devices=None):
        self.devices = list(devices or jax.devices())
        self.num_devices = len(self.devices)
        self.mesh = jax.sharding.Mesh(np.array(self.devices), (AXIS,))
        self.sharded = NamedSharding(self.mesh, PartitionSpec(AXIS))
        self.replicated = NamedSharding(self.mesh, PartitionSpec())

    def compile_train_step(self, dtype=np.float32, **parts):
        """Returns `steps.train_step`, compiled; its first argument is donated.

        Args:
          dtype: of features that are looked up in a table on the device.
          parts: model, objective, optimizer and seed.
        """

        def step(state, batch):
            return train_step(state, self._look_up(batch, dtype), **parts)

        # A batch keeps the placement of `put`.
        return jax.jit(step, in_shardings=(self.replicated, None), out_shardings=self.replicated, donate_argnums=0)

    def compile_eval_step(self, dtype=np.float32, **parts):
        """Returns `steps.eval_step`, compiled, whose results every process can read. See `compile_train_step`."""

        def step(params, batch):
            return eval_step(params, self._look_up(batch, dtype), **parts)

        return jax.jit(step, in_shardings=(self.replicated, None), out_shardings=self.replicated)

    def _look_up(self, batch, dtype):
        """`feature_table.look_up` on each device separately: each takes the rows of its own blocks."""
        if "rows" not in batch:
            return batch
        specs = {name: PartitionSpec() if name == "table" else PartitionSpec(AXIS) for name in batch}
        on_one_device = jax.shard_map(
            lambda batch: look_up(batch, dtype), mesh=self.mesh, in_specs=(specs,), out_specs=PartitionSpec(AXIS)
        )
        return on_one_device(batch)

    def local_shard(self, batch_size: int) -> slice:
        """Returns which blocks of a batch this process provides."""
        index, count = jax.process_index(), jax.process_count()
        return slice(index * batch_size // count, (index + 1) * batch_size // count)

    def put(self, batch: dict) -> dict:
        """Copies this process's local shard of a batch to its devices.

        Args:
          batch: a dict of arrays, or of dicts of arrays by level; a `table` among them is on the devices already.

        Returns:
          The whole batch, sharded.
        """
        return {
            name: tree
            if name == "table"
            else jax.tree.map(functools.partial(jax.make_array_from_process_local_data, self.sharded), tree)
            for name, tree in batch.items()
        }

    def replicate(self, tree):
        """Returns the tree with every array on every device."""

        def one(array):
            if isinstance(array, jax.Array) and array.sharding == self.replicated:
                return array
            if isinstance(array, jax.Array) and len(array.sharding.device_set) > 1:  # On this process's devices.
                parts = [shard.data for shard in array.addressable_shards]
                return jax.make_array_from_single_device_arrays(array.shape, self.replicated, parts)
            array = np.asarray(array)
            return jax.make_array_from_callback(array.shape, self.replicated, lambda index: array[index])

        return jax.tree.map(one, tree)

    def round_up(self, num_blocks: int) -> int:
        """Returns the smallest batch size that is at least `num_blocks` and a multiple of `num_devices`."""
        return max(-(-num_blocks // self.num_devices), 1) * self.num_devices

    def abstract(self, tree):
        """Returns shapes and types, with the sharding that `replicate` gives."""
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=self.replicated), tree)

    def abstract_batch(self, batch):
        """Returns shapes and types of a whole batch, with the shardings of `put`, and of `replicate` for a table."""

        def one(name, array):
            sharding = self.replicated if name == "table" else self.sharded
            return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)

        return {name: jax.tree.map(functools.partial(one, name), tree) for name, tree in batch.items()}


class Pmap(OverMesh):
    """Training through `jax.pmap`: the step of one device, with sums over the devices. Evaluation is over the mesh."""

    name = "pmap"

    def compile_train_step(self, dtype=np.float32, **parts):
        def step(state, batch):
            return train_step(state, look_up(batch, dtype), axis_name=AXIS, **parts)

        tables = {}  # The last table, and its copies by device: it is large, and part of every batch.

        def by_device(name, array):
            if name != "table":
                return self._by_device(array)
            if tables.get("of") is not array:
                tables.update({"of": array, "by device": self._by_device(array)})
            return tables["by device"]

        compiled = jax.pmap(
            step, axis_name=AXIS, in_axes=(None, 0), out_axes=(None, 0), devices=self.devices, donate_argnums=0
        )

        def run(state, batch):
            state, metrics = compiled(state, {name: by_device(name, array) for name, array in batch.items()})
            if jax.process_count() > 1:  # All processes have the same, but pmap returns it on this one's devices.
                state = self.replicate(state)
            return state, {name: values.addressable_data(0).reshape(()) for name, values in metrics.items()}

        return run

    def _by_device(self, tree):
        """Each device's part of arrays, as `[devices, ...]`, in a copy on the same device."""
        return jax.tree.map(self._one_by_device, tree)

    def _one_by_device(self, array):
        shards = sorted(array.addressable_shards, key=lambda shard: self.devices.index(shard.device))
        parts = [shard.data[None] for shard in shards]
        shape = (self.num_devices, *parts[0].shape[1:])
        return jax.make_array_from_single_device_arrays(shape, self.sharded, parts)


def choose(name: str, devices=None) -> OverMesh:
    """Returns the parallelism that `--parallel` names.

    Args:
      name: "auto", a mesh of all devices; "jit", a mesh of the first one alone; or "pmap".
      devices: to run on; by default those of JAX.

    Raises:
      InputError: for another name, and for "jit" with several processes.
    """
    if name not in ("jit", "pmap", "auto"):
        raise InputError(f"parallel={name!r}: must be jit, pmap or auto")
    if name != "jit":
        return {"pmap": Pmap, "auto": OverMesh}[name](devices)
    if jax.process_count() > 1:
        raise InputError("parallel=jit: runs on one device of one process; with several processes use auto or pmap")
    return OverMesh(list(devices or jax.devices())[:1])


def check_batch_size(batch_size: int, parallel):
    """Refuses a batch that cannot be sharded evenly.

    Raises:
      InputError: with the nearest sizes that can.
    """
    num_devices = parallel.num_devices
    if batch_size % num_devices:
        lower = batch_size // num_devices * num_devices
        sizes = " or ".join(str(size) for size in (lower, lower + num_devices) if size)
        raise InputError(
            f"batch_size={batch_size}: is not divisible by {num_devices} devices; take {sizes}, "
            "or --parallel=jit, which uses one device"
        )
