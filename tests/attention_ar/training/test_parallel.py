"""One step, three ways to run it: the same parameters on one device, on eight, and on several processes."""

import functools
import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from attention_ar.errors import InputError
from attention_ar.training import parallel as ways
from attention_ar.training.steps import TrainState, create_train_state, train_step

SCRIPT = Path(__file__).with_name("twenty_steps.py")
SPEC = importlib.util.spec_from_file_location("twenty_steps", SCRIPT)
twenty_steps = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(twenty_steps)

TOLERANCE = {np.float32: 1e-6, np.float64: 1e-12}


@functools.cache
def on_one_device(dtype, name="PAPER"):
    with jax.enable_x64(dtype is np.float64):
        params, metrics = twenty_steps.after_twenty_steps("jit", "host", dtype, getattr(twenty_steps, name))
    return {"params": params, "metrics": metrics}


def leaves(tree) -> dict:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def require_same(found: dict, expected, tolerance):
    expected = leaves(expected)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        array, other = np.asarray(array, np.float64), np.asarray(found[name], np.float64)
        np.testing.assert_allclose(other, array, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "store", "dtype"),
    [
        ("auto", "device", np.float32),
        ("auto", "host", np.float64),
        ("pmap", "host", np.float32),
        ("pmap", "device", np.float64),
    ],
)
def test_eight_devices_do_what_one_does(way, store, dtype):
    assert len(jax.devices()) == 8
    with jax.enable_x64(dtype is np.float64):
        params, metrics = twenty_steps.after_twenty_steps(way, store, dtype)
    require_same(leaves({"params": params, "metrics": metrics}), on_one_device(dtype), TOLERANCE[dtype])


@pytest.mark.slow
def test_a_cost_that_is_a_sum_over_the_batch_is_one_over_the_devices_too(x64):
    params, metrics = twenty_steps.after_twenty_steps("pmap", "host", np.float64, twenty_steps.RELEASED)
    require_same(leaves({"params": params, "metrics": metrics}), on_one_device(np.float64, "RELEASED"), 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["auto", "pmap"])
def test_eight_devices_draw_what_one_does(x64, way):
    """Hard attention: the places, the blocks that are soft, and the moving average, which is of the whole batch."""
    params, metrics = twenty_steps.after_twenty_steps(way, "host", np.float64, twenty_steps.HARD)
    expected = on_one_device(np.float64, "HARD")
    require_same(leaves({"params": params, "metrics": metrics}), expected, 1e-10)
    assert expected["metrics"]["score_term"] != 0
    # It began at (4, 3, 2, 1) ln 3.
    assert np.all(expected["metrics"]["baseline"] != np.arange(4, 0, -1) * np.log(3))


@pytest.mark.slow
def test_twenty_steps_change_the_parameters_and_count_real_blocks():
    """So that what is compared above is not nothing: twice the gradient would be seen."""
    found = on_one_device(np.float32)
    shapes = [leaf.shape for leaf in jax.tree.leaves(found["params"])]
    random = np.random.default_rng(2)
    for leaf, shape in zip(jax.tree.leaves(found["params"]), shapes, strict=True):
        assert np.abs(leaf - 0.3 * random.standard_normal(shape)).max() > 1e-3
    assert found["metrics"]["num_blocks"] == 11


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_processes", "devices_each", "cases"),
    [
        (2, 2, ["auto,host,float32", "auto,device,float64", "pmap,host,float64"]),
        (4, 1, ["auto,device,float64"]),
    ],
)
def test_several_processes_do_what_one_does(tmp_path, num_processes, devices_each, cases):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {
        **os.environ,
        "XLA_FLAGS": os.environ["XLA_FLAGS"].replace("device_count=8", f"device_count={devices_each}"),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, SCRIPT, tmp_path / "found.npz", coordinator, str(num_processes), str(index), *cases],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(num_processes)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=240)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
    with np.load(tmp_path / "found.npz", allow_pickle=False) as arrays:
        found = dict(arrays)
    for case in cases:
        dtype = np.dtype(case.split(",")[2]).type
        one = {name.removeprefix(case): array for name, array in found.items() if name.startswith(case)}
        require_same(one, on_one_device(dtype), TOLERANCE[dtype])


@pytest.mark.slow
@pytest.mark.as_users_compile
def test_a_mesh_of_one_device_has_the_bits_of_plain_jit():
    """Twenty steps with `jax.jit` and nothing else, on the first device, features from the host and from a table."""
    model, objective = twenty_steps.PAPER
    found = on_one_device(np.float32)
    optimizer = optax.sgd(0.05)
    step = jax.jit(functools.partial(train_step, model=model, objective=objective, optimizer=optimizer, seed=3))
    table = np.random.default_rng(0).uniform(0, 2, (101, twenty_steps.K2, twenty_steps.D)).astype(np.float16)
    x = jax.ShapeDtypeStruct((1, twenty_steps.T, *table.shape[1:]), np.float32)
    shapes = jax.eval_shape(functools.partial(create_train_state, model, optimizer), jax.random.key(0), x)
    random = np.random.default_rng(2)
    params = jax.tree.map(lambda leaf: 0.3 * random.standard_normal(leaf.shape).astype(leaf.dtype), shapes.params)
    state = TrainState(np.zeros((), np.int32), params, optimizer.init(params))
    for batch in twenty_steps.batches(table):
        batch |= {name: batch[name].astype(np.float32) for name in ("labels", "weight")}
        batch["features"] = table[batch.pop("rows")].astype(np.float32)
        state, metrics = step(state, batch)
    for a, b in zip(*map(jax.tree.leaves, ({"params": state.params, "metrics": metrics}, found)), strict=True):
        np.testing.assert_array_equal(a, b)
    from_table = twenty_steps.after_twenty_steps("jit", "device", np.float32)
    for a, b in zip(*map(jax.tree.leaves, ((state.params, metrics), from_table)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_batch_that_cannot_be_sharded_evenly_is_refused():
    mesh = ways.choose("auto", jax.devices("cpu"))
    assert (mesh.name, mesh.num_devices) == ("mesh", 8)
    ways.check_batch_size(16, mesh)
    with pytest.raises(InputError) as error:
        ways.check_batch_size(20, mesh)
    assert str(error.value) == (
        "batch_size=20: is not divisible by 8 devices; take 16 or 24, or --parallel=jit, which uses one device"
    )
    with pytest.raises(InputError, match="take 8, or"):
        ways.check_batch_size(3, mesh)
    ways.check_batch_size(3, ways.choose("jit"))
    assert [mesh.round_up(n) for n in (1, 8, 9)] == [8, 8, 16]
    for one in (ways.choose("auto", jax.devices()[:1]), ways.choose("jit")):
        assert (one.name, one.devices) == ("mesh", jax.devices()[:1])
    with pytest.raises(InputError, match="must be jit, pmap or auto"):
        ways.choose("pjit")


def test_a_tree_comes_to_every_device_and_back():
    for way in ("jit", "auto", "pmap"):
        parallel = ways.choose(way)
        array = parallel.replicate({"a": np.arange(3)})["a"]
        assert len(array.sharding.device_set) == parallel.num_devices
        assert parallel.abstract({"a": array})["a"].sharding == array.sharding
        again = parallel.replicate({"a": array})["a"]
        assert again is array


def test_jit_is_for_one_process(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(InputError, match=r"parallel=jit: runs on one device of one process; .* use auto or pmap"):
        ways.choose("jit")


def test_the_local_shards_of_all_processes_are_the_batch(monkeypatch):
    mesh, found = ways.choose("auto"), []
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    for index in range(3):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        found += range(24)[mesh.local_shard(24)]
        assert len(range(24)[mesh.local_shard(24)]) == 8
    assert found == list(range(24))
