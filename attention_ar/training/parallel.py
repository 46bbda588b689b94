"""Where a step runs: on one device, over a mesh of all devices, or through `jax.pmap`.

All three give the same numbers: sums are over the blocks of the whole batch, however they are dealt out, and a
block's dropout masks follow from its place in the whole batch. Each process brings its share of a batch, whose first
axis is cut over the devices; parameters and optimiser are on every device.
"""

import functools

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from attention_ar.errors import InputError
from attention_ar.training.steps import eval_step, look_up, train_step

AXIS = "devices"
LARGEST_SHARE = 0.6  # Of a memory, that features may take.
TABLES = ("table", "table_part")  # In a batch: the features that lie on the devices, see `steps.look_up`.


class OneDevice:
    """Plain `jax.jit`, on the first device.

    Attributes:
      num_devices: over how many devices a batch is cut.
      share: this process's number, and how many there are.
    """

    name = "jit"

    def __init__(self, devices=None):
        if jax.process_count() > 1:
            raise InputError("parallel=jit: runs on one device of one process; with several processes use auto or pmap")
        self.devices = list(devices or jax.devices())[:1]
        self.num_devices = len(self.devices)
        self.share = 0, 1
        self.everywhere = jax.sharding.SingleDeviceSharding(self.devices[0])

    def compile_train_step(self, dtype=np.float32, **parts):
        """Returns `steps.train_step`, compiled; its first argument is given away.

        Args:
          dtype: of features that are looked up on the device.
          parts: model, objective, optimizer and seed.
        """

        def step(state, batch):
            return train_step(state, look_up(batch, dtype), **parts)

        return jax.jit(step, donate_argnums=0)

    def compile_eval_step(self, dtype=np.float32, **parts):
        """Returns `steps.eval_step`, compiled, whose results every process can read. See `compile_train_step`."""

        def step(params, batch):
            return eval_step(params, look_up(batch, dtype), **parts)

        return jax.jit(step)

    def put(self, batch):
        """Returns this process's share of a batch, a dict of arrays, as arrays on the devices."""
        return {
            name: array if name == "table" else jax.device_put(array, self.everywhere) for name, array in batch.items()
        }

    def put_table(self, num_rows: int, shape, dtype, read) -> dict:
        """Brings a table of features to the devices: to each the whole, if they have room for it, else a part.

        Args:
          num_rows, shape, dtype: F; [K², D]; its type.
          read: a function of a first row and a row after the last that returns these rows.

        Returns:
          What a batch needs for `steps.look_up`: `table` or `table_part`.
        """
        return {"table": jax.device_put(read(0, num_rows), self.everywhere)}

    def fitting(self, num_blocks: int) -> int:
        """Returns the smallest batch that holds so many blocks and can be dealt out evenly."""
        return max(-(-num_blocks // self.num_devices), 1) * self.num_devices

    def free_memory(self) -> int:
        """Returns how many bytes each device has left at least; 0 where devices have no memory of their own."""
        stats = [device.memory_stats() for device in self.devices if device.process_index == jax.process_index()]
        return self.least(min(s["bytes_limit"] - s["bytes_in_use"] for s in stats) if all(stats) else 0)

    def least(self, value: float) -> float:
        """Returns the least of the processes' values, so that all of them decide alike."""
        return value

    def replicate(self, tree):
        """Returns the tree with every array on every device."""
        return jax.device_put(tree, self.everywhere)

    def abstract(self, tree):
        """Returns shapes and types, which say that every array shall be on every device."""
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=self.everywhere), tree)

    def abstract_batch(self, batch):
        """Returns shapes and types of a whole batch and its table, which say where `put` and `put_table` put them."""
        return self.abstract(batch)


class OverMesh(OneDevice):
    """`jax.jit` over a mesh of all devices of all processes, the batch cut along it: what `auto` is with several."""

    name = "mesh"

    def __init__(self, devices=None):
        self.devices = list(devices or jax.devices())
        self.num_devices = len(self.devices)
        self.share = jax.process_index(), jax.process_count()
        self.mesh = jax.sharding.Mesh(np.array(self.devices), (AXIS,))
        self.everywhere = NamedSharding(self.mesh, PartitionSpec())
        self.cut = NamedSharding(self.mesh, PartitionSpec(AXIS))

    def look_up(self, batch, dtype):
        """`steps.look_up` on every device by itself; only the features pass through here, so no gradient does."""
        if "rows" not in batch:
            return batch
        inside = {name: batch[name] for name in ("rows", *TABLES) if name in batch}
        specs = {name: PartitionSpec() if name == "table" else PartitionSpec(AXIS) for name in inside}
        found = jax.shard_map(
            functools.partial(look_up, dtype=dtype, axis_name=AXIS),
            mesh=self.mesh,
            in_specs=(specs,),
            out_specs=PartitionSpec(AXIS),
        )(inside)
        return {name: array for name, array in batch.items() if name not in inside} | found

    def compile_train_step(self, dtype=np.float32, **parts):
        def step(state, batch):
            return train_step(state, self.look_up(batch, dtype), **parts)

        # The batch lies where `put` has put it.
        return jax.jit(step, in_shardings=(self.everywhere, None), out_shardings=self.everywhere, donate_argnums=0)

    def compile_eval_step(self, dtype=np.float32, **parts):
        def step(params, batch):
            return eval_step(params, self.look_up(batch, dtype), **parts)

        return jax.jit(step, in_shardings=(self.everywhere, None), out_shardings=self.everywhere)

    def put(self, batch):
        def one(name, array):
            return array if name in TABLES else jax.make_array_from_process_local_data(self.cut, array)

        return {name: one(name, array) for name, array in batch.items()}

    def put_table(self, num_rows, shape, dtype, read):
        if not self.must_cut(num_rows * int(np.prod(shape)) * np.dtype(dtype).itemsize):
            whole = read(0, num_rows)
            return {"table": jax.make_array_from_callback(whole.shape, self.everywhere, lambda index: whole[index])}
        rows = -(-num_rows // self.num_devices) * self.num_devices

        def part(index):
            first, last, _ = index[0].indices(rows)
            found = read(min(first, num_rows), min(last, num_rows))
            return np.concatenate([found, np.zeros((last - first - len(found), *shape), dtype)])

        return {"table_part": jax.make_array_from_callback((rows, *shape), self.cut, part)}

    def least(self, value):
        return float(np.min(multihost_utils.process_allgather(np.float32(value))))

    def must_cut(self, num_bytes: int) -> bool:
        """Returns whether a table is too large to lie on every device as a whole."""
        return num_bytes > LARGEST_SHARE * self.free_memory()

    def abstract_batch(self, batch):
        def one(name, array):
            where = self.everywhere if name == "table" else self.cut
            return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=where)

        return {name: one(name, array) for name, array in batch.items()}

    def replicate(self, tree):
        def one(array):
            if isinstance(array, jax.Array) and len(array.sharding.device_set) > 1:  # on this process's devices already
                parts = [shard.data for shard in array.addressable_shards]
                return jax.make_array_from_single_device_arrays(array.shape, self.everywhere, parts)
            array = np.asarray(array)
            return jax.make_array_from_callback(array.shape, self.everywhere, lambda index: array[index])

        return jax.tree.map(one, tree)


class Pmap(OverMesh):
    """`jax.pmap`: the step of one device, and sums over the devices written out. Evaluation is over the mesh."""

    name = "pmap"

    def compile_train_step(self, dtype=np.float32, **parts):
        def step(state, batch):
            return train_step(state, look_up(batch, dtype, AXIS), axis_name=AXIS, **parts)

        tables = {}  # By device, of tables that have come before: they are large.

        def by_device(name, array):
            if name not in TABLES:
                return self._by_device(array)
            if tables.get("of") is not array:
                tables.update({"of": array, "by device": self._by_device(array)})
            return tables["by device"]

        compiled = jax.pmap(
            step, axis_name=AXIS, in_axes=(None, 0), out_axes=(None, 0), devices=self.devices, donate_argnums=0
        )

        def run(state, batch):
            state, metrics = compiled(state, {name: by_device(name, array) for name, array in batch.items()})
            if jax.process_count() > 1:  # It is the same everywhere, but pmap speaks of this process's devices.
                state = self.replicate(state)
            return state, {name: values.addressable_data(0).reshape(()) for name, values in metrics.items()}

        return run

    def _by_device(self, array):
        """What each device has of an array as [devices, ...]; it stays on its device, in a copy."""
        shards = sorted(array.addressable_shards, key=lambda shard: self.devices.index(shard.device))
        parts = [shard.data[None] for shard in shards]
        shape = (self.num_devices, *parts[0].shape[1:])
        return jax.make_array_from_single_device_arrays(shape, self.cut, parts)


def choose(name: str, devices=None):
    """Returns the way of running that `--parallel` names.

    Args:
      name: "jit", "pmap", or "auto": one device by itself, several over a mesh.
      devices: on which; by default all of them.
    """
    if name not in ("jit", "pmap", "auto"):
        raise InputError(f"parallel={name!r}: must be jit, pmap or auto")
    several = len(devices or jax.devices()) > 1
    return {"jit": OneDevice, "pmap": Pmap, "auto": OverMesh if several else OneDevice}[name](devices)


def check_batch_size(batch_size: int, parallel):
    """Refuses a batch that cannot be dealt out evenly.

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
