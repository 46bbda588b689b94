"""The benchmark: its arithmetic with contenders whose timings are given, and a whole run at toy size."""

import dataclasses
import json
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import ClassVar

import jax
import numpy as np
import pytest

from attention_ar.errors import InputError
from experiments.benchmarks import batch, evaluation, framework, loading, report, train_step
from experiments.benchmarks.framework import Contender
from experiments.benchmarks.machine import parse_cores
from experiments.benchmarks.settings import Settings
from experiments.runs import provenance
from experiments.runs.models import MODELS, Model

SIZES = {"num_steps": 3, "num_cells": 4, "input_dim": 8, "hidden_dim": 8, "num_layers": 2, "product_size": 16}
TOY = {"batch_sizes": "2", "rounds": 2, "seconds": 0, "torch": "false", **SIZES}
TIMINGS = {"product": [1.0, 2.0, 1.0], "fast": [0.5, 1.0, 0.25], "slow": [2.0, 2.0, 2.0], "dies": [1.0]}


class FakeProcess:
    """Stands for a worker whose rounds take given seconds."""

    asked: ClassVar[list] = []

    def __init__(self, benchmark, contender, settings, platform, cores):
        self.name = contender
        self.left = list(TIMINGS.get(contender, []))

    def ask(self, do, **question):
        self.asked.append((do, self.name))
        if self.name == "absent":
            return {"skipped": "no camera"}
        if do == "build":
            amount, flops = {"product": (1, 100.0), "fast": (10, 40.0)}.get(self.name, (10, None))
            return {"unit": "block", "amount": amount, "flops": flops, "facts": {"size": self.name.upper()}}
        return {"seconds": self.left.pop(0)} if self.left else {"failed": "ended with status -9 (out of memory)"}

    def close(self):
        self.asked.append(("close", self.name))


@pytest.fixture
def rows(monkeypatch):
    contenders = [
        Contender("product", None),
        Contender("fast", None, reference="product"),
        Contender("slow", None, compare_to="fast"),
        Contender("dies", None, compare_to="fast"),
        Contender("absent", None),
        Contender("other", None, needs=["json", "no_such_module"]),
    ]
    fake = SimpleNamespace(__doc__="A title.\n\nNotes.", contenders=lambda settings, platform: contenders)
    monkeypatch.setattr(framework, "Process", FakeProcess)
    for module in (framework, report):
        monkeypatch.setattr(module, "load", lambda name: fake)
    FakeProcess.asked.clear()
    found = framework.run_benchmark("fake", Settings(rounds=3), "cpu", [0], tell=lambda line: None)
    return {row.name: row for row in found}


def test_rates_ratios_and_fractions(rows):
    assert rows["fast"].rate == 10 / 0.5
    assert rows["slow"].rate == 10 / 2.0
    # Round by round 4, 2 and 8 times as fast: the median, which the ratio of the median rates need not be.
    assert rows["slow"].ratio == 4
    # 40 / 0.5, 40 / 1, 40 / 0.25 over 100 / 1, 100 / 2, 100 / 1.
    assert rows["fast"].fraction == 0.8
    assert rows["product"].ratio is rows["product"].fraction is None


def test_contenders_take_turns_and_are_ended(rows):
    runs = [name for do, name in FakeProcess.asked if do == "run"]
    assert runs == ["product", "fast", "slow", "dies", "product", "fast", "slow", "dies", "product", "fast", "slow"]
    assert sorted(name for do, name in FakeProcess.asked if do == "close") == sorted(
        ["product", "fast", "slow", "dies", "absent"]
    )


def test_what_cannot_run_is_named(rows):
    assert rows["dies"].status == "failed: ended with status -9 (out of memory)"
    assert rows["dies"].rate is rows["dies"].ratio is None
    assert rows["absent"].status == "skipped: no camera"
    assert rows["other"].status == "skipped: no_such_module is not installed"


def test_table(rows):
    lines = report.document({"fake": list(rows.values())}, {"processor": "abacus"}).splitlines()
    assert lines[2] == "* processor: abacus"
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert table[0] == ["", "rate", "from – to", "GFLOP/s", "size", "of the product rate", "against it"]
    assert table[3] == ["fast", "20 blocks/s", "10 – 40", "0.0", "FAST", "0.800", ""]
    assert table[4] == ["slow", "5 blocks/s", "5 – 5", "", "SLOW", "", "fast: 4.00× as fast"]
    assert table[6][:3] == ["absent", "skipped: no camera", ""]
    assert "## A title" in lines
    assert lines[-1] == "Notes."


def test_flops_of_the_paper_sizes():
    """Against the sums worked out by hand."""
    step = 2 * 1536 * 2048 + 2 * (2 * 1024 * 2048) + 2 * 512 * 49 + 2 * 512 * 512 + 2 * 512 * 11
    data = 30 * 2 * 49 * 1024 + 6 * 2 * 1024 * 512
    assert Settings().products().forward == 30 * step + data
    assert Settings().products().training == 3 * 30 * step + 2 * data


@pytest.mark.slow
def test_a_model_without_counted_products_is_timed(monkeypatch):
    entry = dataclasses.replace(MODELS["softmax_regression"], products=Model("", "", None).products)
    monkeypatch.setitem(MODELS, "softmax_regression", entry)
    settings = Settings(model="softmax_regression", num_steps=2, num_cells=4, input_dim=3)
    assert settings.products() is None
    for build in (train_step.build_ours, evaluation.build_evaluation):
        workload = build(settings, 2, "float32")
        workload.run()
        assert (workload.amount, workload.flops) == (2, None)


def test_cores_and_sizes_are_checked():
    assert parse_cores("") == sorted(os.sched_getaffinity(0))
    for text in ("x", "0,", "4096"):
        with pytest.raises(InputError, match=r"cores=.*must be numbers of cores"):
            parse_cores(text)
    assert Settings().sizes("cpu") == [64]
    assert Settings().sizes("gpu") == [128, 512, 2048]
    assert Settings().dtypes("tpu") == ["float32", "bfloat16"]
    with pytest.raises(InputError, match="batch_sizes=64,0"):
        Settings(batch_sizes="64,0").sizes("cpu")
    with pytest.raises(InputError, match="compute_dtypes=float16"):
        Settings(compute_dtypes="float16").dtypes("cpu")


def test_contenders_on_a_gpu():
    """Both time loops and torch, in both types; on a TPU there is no torch, and the other loop is the fast one."""
    of_one = ["attention_ar", "the plain time loop", "torch eager", "torch.compile"]
    settings = Settings(batch_sizes="128")
    names = [one.name for one in train_step.contenders(settings, "gpu")]
    assert names == [f"{dtype} matrix product" for dtype in ("float32", "bfloat16")] + [
        f"{name}, batch 128, {dtype}" for dtype in ("float32", "bfloat16") for name in of_one
    ]
    names = [one.name for one in train_step.contenders(settings, "tpu")]
    assert names[2:4] == ["attention_ar, batch 128, float32", "the fast time loop, batch 128, float32"]
    assert not any("torch" in name for name in names)


def test_a_large_batch_repeats_its_blocks():
    found = batch.device_batch(Settings(num_steps=1, num_cells=1, input_dim=2, num_classes=3), 130, "bfloat16")
    features = np.asarray(found["features"], np.float32)
    assert features.shape == (130, 1, 1, 2) and found["labels"].shape == (130, 3)
    np.testing.assert_array_equal(features[64:128], features[:64])
    np.testing.assert_array_equal(features[128:], features[:2])
    assert len(np.unique(features[:64].sum(axis=(1, 2, 3)))) > 30


def test_results_name_the_accelerator(monkeypatch):
    assert provenance.accelerator() == {}
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert provenance.accelerator() == {"accelerator": "8 cpu"}
    assert provenance.provenance()["machine"]["accelerator"] == "8 cpu"


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", ["train_step", "released"])
def test_the_other_steps_run_at_toy_size(benchmark):
    settings = Settings(batch_sizes="2", torch=False, **SIZES)
    *_, ours = framework.load(benchmark).contenders(settings, "cpu")
    workload = ours.build()
    workload.run()
    assert workload.amount == {"train_step": 2, "released": 1}[benchmark]
    assert workload.flops > 0


@pytest.mark.slow
def test_hard_attention_stands_beside_soft_and_says_what_it_reads():
    settings = Settings(batch_sizes="2", **{**SIZES, "num_cells": 16, "num_layers": 1})
    found = {c.name: c for c in framework.load("attention").contenders(settings, "cpu")}
    assert [name for name, c in found.items() if c.compare_to is None] == [
        "training, soft, batch 2, float32",
        "evaluation, soft, batch 2, float32",
    ]
    for name, slices in (
        ("training, hard, N = 1, batch 2, float32", "16 of 16"),
        ("evaluation, window, batch 2, float32", "9 of 16"),
        ("evaluation, two levels, batch 2, float32", "80 of 80"),
        ("evaluation, hard, batch 2, float32", "1 of 16"),
    ):
        workload = found[name].build()
        workload.run()
        assert (workload.amount, workload.facts["slices"]) == (2, slices)
    assert workload.facts["bytes"] == "0.0 kB"  # 8 channels of 4 bytes.


@pytest.mark.slow
def test_a_baseline_lowers_the_variance_of_the_gradient(small_run, monkeypatch):
    benchmark = framework.load("gradient_variance")
    monkeypatch.setattr(benchmark, "DRAWS", 12)
    assert [c.name for c in benchmark.contenders(Settings(), "cpu")] == ["N = 1, none"]
    with pytest.raises(framework.Skip, match="needs --run"):
        benchmark.build(Settings(), 1, "none")
    settings = Settings(run=str(small_run))
    assert len(benchmark.contenders(settings, "cpu")) == 11
    found = {what: benchmark.build(settings, 2, what).facts for what in ("none", "leave-one-out")}
    assert float(found["leave-one-out"]["variance"]) < float(found["none"]["variance"])
    assert float(found["none"]["× N"]) == pytest.approx(2 * float(found["none"]["variance"]), rel=0.01)


@pytest.mark.slow
def test_training_and_evaluation_read_the_disk():
    settings = Settings(**{**TOY, "torch": False, "num_videos": 3, "num_layers": 1})
    found = {contender.name.split(",")[0]: contender for contender in loading.contenders(settings, "cpu")}
    assert list(found) == ["one batch held", "host", "disk", "device", "evaluation from disk"]
    for name, amount in (("disk", 2), ("evaluation from disk", 12)):
        workload = found[name].build()
        workload.run()
        assert (workload.unit, workload.amount) == ("block", amount)


@pytest.mark.slow
def test_a_whole_run_at_toy_size(tmp_path):
    """Every benchmark of the model with real processes, without torch so that it takes seconds."""
    flags = [f"--{name}={value}" for name, value in TOY.items()]
    core = min(os.sched_getaffinity(0))
    environment = {**os.environ, "XLA_FLAGS": os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1")}
    found = subprocess.run(
        [
            *(sys.executable, "-m", "experiments.benchmark", "--only=evaluation,memory"),
            *(f"--output={tmp_path / 'out'}", f"--profile={tmp_path / 'traces'}", f"--cores={core}", *flags),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-2:] == [
        f"tables: {tmp_path / 'out' / 'benchmark.md'}, {tmp_path / 'out' / 'benchmark.json'}",
        f"traces: {tmp_path / 'traces'}",
    ]
    saved = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert saved["about"]["device"] == "cpu (cpu)"
    assert saved["about"]["cores used"] == str(core)
    rows = {row["name"]: row for row in saved["results"]["evaluation"]}
    assert list(rows) == ["float32 matrix product", "evaluation, batch 2, float32", "training, batch 2, float32"]
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert {len(row["seconds"]) for row in rows.values()} == {2}
    assert rows["evaluation, batch 2, float32"]["fraction"] > 0
    assert rows["training, batch 2, float32"]["ratio"] > 0
    assert "evaluation, batch 2, float32" in (tmp_path / "out" / "benchmark.md").read_text()
    (memory,) = saved["results"]["memory"]
    assert memory["seconds"] == []
    # Two blocks of three steps: inputs, gates, states, softmax in four bytes each, and masks in one.
    assert memory["facts"]["backpropagation keeps"] == f"{6 * (4 * (16 + 64 + 32 + 4) + 32) / 1e6:.0f} MB"
    assert list((tmp_path / "traces" / "evaluation").rglob("*.xplane.pb"))
