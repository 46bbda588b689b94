"""Compiling for TPUs that are not here: topologies, what a compiled step tells, and, with libtpu, the whole."""

import dataclasses
import importlib.util
import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from attention_ar.errors import InputError
from attention_ar.training.parallel import OverMesh, choose
from experiments.compilation import ahead_of_time, tpu_topologies
from experiments.compilation.ahead_of_time import Shapes, compile_for, describe, lower_train_step, report
from experiments.compilation.collectives import Collective, find_collectives
from experiments.compilation.tpu_topologies import find_pod
from experiments.runs.config import DataConfig, ModelConfig, ReleasedConfig, RunConfig, RuntimeConfig, TrainingConfig
from experiments.runs.models import MODELS

HLO = """\
HloModule jit_step, entry_computation_layout={(f32[8,4]{1,0})->f32[]}

%region_0.1 (a.1: f32[], b.1: f32[]) -> f32[] {
  %a.1 = f32[] parameter(0)
  %b.1 = f32[] parameter(1)
  ROOT %add.1 = f32[] add(%a.1, %b.1)
}

%inner.1 (x.1: bf16[16,8]) -> bf16[16,8] {
  %x.1 = bf16[16,8]{1,0} parameter(0)
  ROOT %collective-permute.1 = bf16[16,8]{1,0:T(8,128)(2,1)} collective-permute(%x.1), source_target_pairs={{0,1},{1,0}}
}

%body.1 (p.1: (s32[], bf16[16,8])) -> (s32[], bf16[16,8]) {
  %p.1 = (s32[], bf16[16,8]{1,0}) parameter(0)
  %fusion.1 = bf16[16,8]{1,0} fusion(%gte.1), kind=kLoop, calls=%inner.1
  ROOT %tuple.1 = (s32[], bf16[16,8]{1,0}) tuple(%gte.0, %fusion.1)
}

%condition.1 (p.2: (s32[], bf16[16,8])) -> pred[] {
  ROOT %lt.1 = pred[] compare(%gte.2, %c.1), direction=LT
}

ENTRY %main.1 (p.3: f32[8,4]) -> f32[] {
  %all-reduce.3 = f32[]{:T(128)} all-reduce(%reduce.1), groups=mesh['a'=16] {'a'}, metadata={op_name="x/all-reduce(x)"}
  %all-reduce.4 = (f32[512]{0:T(512)S(1)}, f32[3,5]{1,0:T(8,128)S(1)}, /*index=2*/s4[10]{0}, pred[7]) all-reduce(%a)
  %get-tuple-element.9 = f32[512]{0} get-tuple-element(%all-reduce.4), index=0
  %all-gather-start.1 = (s32[2,3]{1,0}, s32[32,3]{1,0}) all-gather-start(%rows), dimensions={0}
  %all-gather-done.1 = s32[32,3]{1,0} all-gather-done(%all-gather-start.1)
  %all-reduce-start.1 = (f32[2]{0}, f32[2]{0}) all-reduce-start(%e, %f), to_apply=%region_0.1
  %while.1 = (s32[], bf16[16,8]{1,0}) while(%tuple.0), condition=%condition.1, body=%body.1
  ROOT %reduce-scatter.1 = f16[4]{0} reduce-scatter(%table), dimensions={0}, to_apply=%region_0.1
}
"""


def test_collectives_of_a_program():
    assert find_collectives(HLO) == [
        # f32[]; f32[512], f32[3, 5], s4[10], pred[7]; f32[2] twice.
        Collective("all-reduce", 3, 4 + (2048 + 60 + 5 + 7) + 16, 0),
        Collective("all-gather", 1, 32 * 3 * 4, 0),
        Collective("reduce-scatter", 1, 8, 0),
        Collective("collective-permute", 1, 256, 1),
    ]
    assert find_collectives("ENTRY %main () -> f32[] {\n  ROOT %c = f32[] constant(0)\n}\n") == []


def config(model="softmax_regression", batch_size=16, **more) -> RunConfig:
    return RunConfig(
        DataConfig(num_steps=3), ModelConfig(model, 8, 2, **more), training=TrainingConfig(batch_size=batch_size)
    )


SHAPES = Shapes(4, 8, 3)


def test_the_step_of_eight_devices_sums_its_gradients_once():
    compiled = lower_train_step(OverMesh(), config(), SHAPES, 0).compile()
    found = report(compiled, find_pod("v5e:2x4"), config(), SHAPES)
    (sums,) = found["collectives"]
    parameters = 4 * 8 * 3 + 3
    # The gradients and at most a handful of scalars: the loss, its parts, the number of blocks.
    assert sums["kind"] == "all-reduce"
    assert 4 * parameters < sums["bytes"] <= 4 * (parameters + 8)
    # What Adam and its step keep; two blocks, their labels and weights; indices are for dropout, which is not here.
    assert found["memory_per_chip"]["arguments"] == 4 * (3 * parameters + 2) + 4 * 2 * (3 * 4 * 8 + 3 + 1)
    assert found["memory_per_chip"]["total"] == sum(
        found["memory_per_chip"][name] for name in ("arguments", "outputs", "temporaries", "program")
    )
    assert found["flops"]["nominal_per_step"] == 16 * 3 * 2 * (2 * 4 * 8 * 3)
    assert found["flops"]["nominal_per_chip"] == found["flops"]["nominal_per_step"] / 8


def test_a_table_is_on_every_device_and_brings_no_collectives():
    with_table = dataclasses.replace(SHAPES, num_frames=101)
    table = 101 * 4 * 8 * 2
    compiled = lower_train_step(OverMesh(), config(), with_table, table).compile()
    found = report(compiled, find_pod("v5e:2x4"), config(), with_table)
    assert [one["kind"] for one in found["collectives"]] == ["all-reduce"]
    # 101 float16 frames on each device, and 2 · 3 row numbers, in the place of 2 · 3 frames.
    assert found["memory_per_chip"]["arguments"] == 4 * (3 * 99 + 2) + 4 * 2 * (3 + 1) + table + 4 * 2 * 3
    assert refused(lambda: lower_train_step(OverMesh(), config(), with_table, table - 1)) == (
        "features_on=device: a table of 101 frames is 0.0 GiB, a chip has 0.0 GiB; use --features_on=host"
    )


@pytest.mark.parametrize(("platform", "loop"), [("tpu", "plain"), ("cpu", "fast")])
def test_the_time_loop_is_that_of_the_platform_compiled_for(monkeypatch, platform, loop):
    built, mesh = [], OverMesh()
    monkeypatch.setattr(mesh, "devices", [type("Device", (), {"platform": platform})])
    build = ahead_of_time.build_model
    monkeypatch.setattr(ahead_of_time, "build_model", lambda *args: built.append(build(*args)) or built[0])
    lower_train_step(mesh, config("average_pool"), SHAPES, 0)
    assert built[0].time_loop == loop


def test_abstract_batches_lie_where_real_ones_do():
    batch = {"weight": np.ones(16, np.float32)}
    for parallel in (choose("jit"), OverMesh()):
        abstract, real = parallel.abstract_batch(batch)["weight"], parallel.put(batch)["weight"]
        assert (abstract.shape, abstract.dtype, abstract.sharding) == (real.shape, real.dtype, real.sharding)


def test_nominal_operations():
    def products(config):
        return MODELS[config.model.model].products(config, SHAPES)

    # Gates (2·16·32 twice) and classifier (2·8·8 + 2·8·3) three times; the first state's 2·2·8·8 of two layers twice.
    assert products(config("max_pool")).training == 3 * 3 * (2 * 1024 + 176) + 2 * 2 * 256
    # And three times Eq. 4's 2·8·4 and, which is on data, Eq. 5's 2·4·8.
    assert products(config("soft_attention")).training == 3 * 3 * (2 * 1024 + 176 + 64) + 2 * (2 * 256 + 3 * 64)
    assert products(config("soft_attention")).forward == 3 * (2 * 1024 + 176 + 64) + 2 * 256 + 3 * 64
    assert products(config("soft_attention", init_layers=2)) is None
    # W_d h 128, U 64, gates 1024 and classifier 176; on data A(X) 512, the expectation 64, the first state 256.
    released = dataclasses.replace(config("released"), released=ReleasedConfig(dim_out=8, last_n=2))
    assert products(released).training == 3 * 3 * (128 + 64 + 1024 + 176) + 2 * (3 * (512 + 64) + 256)
    assert products(dataclasses.replace(released, released=ReleasedConfig(8, selector=True))) is None


def test_the_report_for_people():
    found = {
        "topology": "v5e:4x4",
        "num_chips": 16,
        "num_hosts": 4,
        "device_kind": "TPU v5 lite",
        "hbm_per_chip": 16 << 30,
        "blocks_per_chip": 128,
        "compile_seconds": 31.6,
        "versions": {"jax": "1", "libtpu": "2"},
        "features": dataclasses.asdict(Shapes()),
        "flags": {"model": "soft_attention", "batch_size": 2048, "num_steps": 30, "compute_dtype": "float32"},
        "memory_per_chip": {"arguments": 3 << 20, "outputs": 0, "temporaries": 1 << 19, "program": 0, "total": 7 << 19},
        "collectives": [{"kind": "all-reduce", "count": 2, "bytes": 43_200_100, "in_loops": 1}],
        "flops": {"nominal_per_step": 32_000_000_000, "nominal_per_chip": 2e9, "cost_analysis_per_chip": 5e8},
    }
    text = describe(found)
    assert text.splitlines()[:2] == [
        "v5e:4x4: 16 chips on 4 hosts (TPU v5 lite); compiled in 32 s by libtpu 2",
        "soft_attention, batch 2048 (128 blocks a chip), T 30, float32, features [49, 1024] in each batch",
    ]
    for line in (
        "| arguments | 3.0 |",
        "| temporaries | 0.5 |",
        "| total | 3.5 |",
        "| there are | 16384.0 |",
        "| all-reduce | 2 (1 in a loop, counted once) | 43.200 |",
        "| nominal matrix products, a step | 32.0 |",
        "| nominal matrix products, a step on one chip | 2.0 |",
    ):
        assert line in text.splitlines()
    assert "no collectives" in describe({**found, "collectives": []})


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "num_chips", "gibibytes"),
    [("v4:2x2x4", 16, 32), ("v5e:4x4", 16, 16), ("v5p:2x2x4", 16, 95), ("v6e:4x4", 16, 32), ("v5e:1x1x1", 1, 16)],
)
def test_a_name_gives_the_chips_and_the_memory_of_each(name, num_chips, gibibytes):
    assert find_pod(name).num_devices == num_chips
    assert find_pod(name).generation.hbm == gibibytes * 2**30


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("v9:4x4", "no such TPU; must be one of v4, v5e, v5p, v6e and its grid of chips, such as v5e:4x4 or v5p:2x2x4"),
        ("v5e", "no such TPU"),
        ("v5e:0x4", "no such TPU"),
        ("v5e:4x4x4", "v5e chips form a grid of 2 axes, such as 4x4"),
        ("v4:4x4", "v4 chips form a grid of 3 axes, such as 4x4x4"),
        ("v6e:32x16", "512 chips; the largest v6e pod has 256"),
    ],
)
def test_topologies_that_do_not_exist_are_refused(name, reason):
    with pytest.raises(InputError) as error:
        find_pod(name)
    assert str(error.value).startswith(f"topology={name}: {reason}")


def refused(call) -> str:
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_cannot_be_compiled_is_refused(monkeypatch):
    assert refused(lambda: compile_for("v5e:4x4", config(batch_size=100), SHAPES)).startswith(
        "batch_size=100: is not divisible by 16 devices; take 96 or 112"
    )
    on_device = dataclasses.replace(config(), runtime=RuntimeConfig(features_on="device"))
    assert "needs --num_frames" in refused(lambda: compile_for("v5e:4x4", on_device, SHAPES))
    pmap = dataclasses.replace(config(), runtime=RuntimeConfig("pmap"))
    assert refused(lambda: compile_for("v5e:4x4", pmap, SHAPES)) == "parallel=pmap: only auto is compiled ahead of time"
    monkeypatch.setattr(tpu_topologies.importlib.util, "find_spec", lambda name: None)
    assert refused(lambda: compile_for("v5e:4x4", config(), SHAPES)) == (
        "libtpu is not installed, the compiler for TPUs, which needs no TPU; pip install 'jax[tpu]' brings it"
    )


@pytest.mark.parametrize(
    "words",
    [
        "XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 20.1G of 15.75G hbm. Exceeded "
        "hbm capacity by 4.3G.\n\nTotal hbm usage >= 20.1G:\n",
        "Ran out of memory on HBM, the memory required for HLO temporaries (20.1G) exceeds available HBM (15.75G).",
    ],
)
def test_too_little_memory_is_one_line(monkeypatch, words):
    def no_room(*_):
        raise jax.errors.JaxRuntimeError(f"RESOURCE_EXHAUSTED: {words}")

    monkeypatch.setattr(ahead_of_time, "lower_train_step", no_room)
    monkeypatch.setattr(tpu_topologies.Pod, "devices", lambda pod: jax.devices())
    assert refused(lambda: compile_for("v5e:2x4", config(batch_size=80), SHAPES)) == (
        "batch_size=80: 10 blocks a chip do not fit the memory of a chip of v5e:2x4 (20.1GiB of 15.75GiB); take a "
        "smaller batch or more chips"
    )


# --- The compiler itself ----------------------------------------------------------------------------------------------


needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu, the compiler for TPUs, is not installed"
)


@needs_libtpu
def test_a_grid_that_hosts_cannot_form_is_refused():
    done = subprocess.run(
        [sys.executable, "-m", "experiments.compile_for", "--topology=v5e:3x5", "--batch_size=15"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: topology=v5e:3x5: libtpu refuses it (")
    assert done.stderr.count("\n") == 1


@needs_libtpu
@pytest.mark.parametrize(("topology", "chips", "hosts"), [("v5e:2x4", 8, 2), ("v4:2x2x1", 4, 1), ("v6e:1x1", 1, 1)])
def test_libtpu_compiles_for_a_topology_that_is_not_here(topology, chips, hosts, tmp_path):
    arguments = ["--topology=" + topology, "--num_steps=3", "--num_cells=4", "--input_dim=8", "--num_classes=3"]
    arguments += ["--hidden_dim=8", "--num_layers=2", "--batch_size=16", "--output=" + str(tmp_path / "found.json")]
    done = subprocess.run(
        [sys.executable, "-m", "experiments.compile_for", *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["num_chips"], found["num_hosts"], found["blocks_per_chip"]) == (chips, hosts, 16 // chips)
    assert [one["kind"] for one in found["collectives"]] == (["all-reduce"] if chips > 1 else [])
    assert describe(found) in done.stdout
