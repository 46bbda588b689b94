"""The README's worked changes of an equation: each is applied to a copy of the package, which is then trained."""

import functools
import importlib
import re
import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import attention_ar

PACKAGE = Path(attention_ar.__file__).parent
SECTION = (PACKAGE / "README.md").read_text("utf-8").split("## Change an equation\n")[1].split("\n## ")[0]
DIFFS = re.findall(r"^```diff\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)


def apply_diff(diff: str, folder: Path):
    """Replaces every run of removed lines, which must stand in the file once, by the added lines after it."""
    for part in re.split(r"^--- ", diff, flags=re.MULTILINE)[1:]:
        name, _, body = part.partition("\n")
        path = folder / name
        text = path.read_text("utf-8")
        body = body.partition("\n")[2]  # The line with +++.
        for removed, added in re.findall(r"((?:^-.*\n)+)((?:^\+.*\n)+)", body, re.MULTILINE):
            old, new = (re.sub(r"^[-+]", "", lines, flags=re.MULTILINE) for lines in (removed, added))
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        path.write_text(text, "utf-8")


@pytest.fixture
def changed(request, tmp_path, monkeypatch):
    """The package with a diff applied, imported in the place of ours while the test runs."""
    copy = tmp_path / "attention_ar"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    apply_diff(request.param, tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "attention_ar"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    package = importlib.import_module("attention_ar")
    assert Path(package.__file__).parent == copy
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "attention_ar"]:
        del sys.modules[name]  # Before ours come back.


def test_there_are_two_and_they_are_short():
    assert len(DIFFS) == 2
    for diff in DIFFS:
        lines = diff.splitlines()
        assert sum(line.startswith("+++ ") for line in lines) <= 2
        assert len([line for line in lines if not line.startswith(("+++ ", "--- ", "@@"))]) <= 15


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "new"),
    list(zip(DIFFS, (["u"], ["A", "W", "U"]), strict=True)),
    indirect=["changed"],
    ids=["term", "mlp"],
)
def test_a_changed_equation_trains_the_same_in_both_loops(x64, changed, new):
    steps, loss = (importlib.import_module(f"attention_ar.{name}") for name in ("training.steps", "loss"))
    random = np.random.default_rng(0)
    batch = {
        "features": random.uniform(0, 2, (2, 3, 4, 5)),
        "labels": np.eye(3)[:2],
        "weight": np.ones(2),
        "index": np.arange(2, dtype=np.int32),
    }
    objective, optimizer = loss.PaperObjective(1.0, 1e-3), optax.sgd(1.0)
    models = {
        name: changed.SoftAttentionLSTM(3, hidden_dim=4, num_layers=1, time_loop=name) for name in ("fast", "plain")
    }
    shapes = jax.eval_shape(models["fast"].init, jax.random.key(0), batch["features"])["params"]
    assert set(new) <= set(shapes["location_softmax"])
    params = jax.tree.map(lambda s: 0.5 * random.normal(size=s.shape), shapes)

    # A step of descent at rate 1: the parameters before and after it differ by the gradient.
    state, found = steps.TrainState(np.int32(0), params, optimizer.init(params)), {}
    for name, model in models.items():
        step = functools.partial(steps.train_step, model=model, objective=objective, optimizer=optimizer, seed=1)
        compiled = jax.jit(step)
        found[name] = compiled(state, batch)
    for a, b in zip(*map(jax.tree.leaves, found.values()), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    gradient = jax.tree.map(np.subtract, params, found["fast"][0].params)["location_softmax"]

    for name in new:
        direction = random.normal(size=gradient[name].shape)

        def loss_at(distance, name=name, direction=direction):
            location = params["location_softmax"] | {name: params["location_softmax"][name] + distance * direction}
            return float(compiled(state.replace(params=params | {"location_softmax": location}), batch)[1]["loss"])

        slope = (loss_at(1e-5) - loss_at(-1e-5)) / 2e-5
        assert abs(slope) > 1e-4
        assert slope == pytest.approx(float(np.sum(gradient[name] * direction)), rel=1e-6)

    # Of bfloat16, the types: nothing in a step is promoted without its being asked for.
    single = {name: array.astype(np.float32) if array.dtype == np.float64 else array for name, array in batch.items()}
    single["features"] = single["features"].astype(jnp.bfloat16)
    state = jax.tree.map(lambda a: np.asarray(a, np.float32 if a.dtype == np.float64 else None), state)
    for model in models.values():
        step = functools.partial(steps.train_step, objective=objective, optimizer=optimizer, seed=1)
        after, _ = jax.eval_shape(functools.partial(step, model=model.clone(compute_dtype="bfloat16")), state, single)
        assert {leaf.dtype for leaf in jax.tree.leaves(after.params)} == {np.dtype(np.float32)}
