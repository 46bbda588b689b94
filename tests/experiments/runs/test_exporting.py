"""The exported predictor: the model's own numbers, from a program that has JAX and nothing of ours."""

import hashlib
import json
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.export
import numpy as np
import pytest

from attention_ar.errors import InputError
from attention_ar.loop import loop_for
from data_prep.features.opening import open_features
from data_prep.features.recipe import recipe_hash
from experiments.runs import exporting, trained
from experiments.runs.build import build_model, feature_dtype
from experiments.runs.config import DataConfig, ModelConfig, ReleasedConfig, RunConfig, with_flags
from experiments.runs.exporting import export_model, export_predictor

ALONE = """
import json, os, sys
import numpy as np
import jax, jax.export
found = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
results = found.call(np.load("features.npy"))
np.savez("results.npz", **results)
for module in ("flax", "optax", "attention_ar", "experiments", "tensorflow"):
    assert module not in sys.modules, module
print(*found.platforms)
"""


@pytest.fixture(scope="module")
def exported(small_run, tmp_path_factory):
    """The exported file, and what its JSON says."""
    path = tmp_path_factory.mktemp("exported") / "predictor.jaxexport"
    assert export_predictor(small_run, path) == json.loads(path.with_name(path.name + ".json").read_text())
    return path, json.loads(path.with_name(path.name + ".json").read_text())


def some_features(batch_size):
    return np.random.default_rng(0).uniform(0, 3, (batch_size, 4, 9, 8)).astype(np.float32)


@pytest.mark.slow
def test_jax_alone_gets_the_models_numbers(small_run, exported, tmp_path):
    path, _ = exported
    features = some_features(5)
    np.save(tmp_path / "features.npy", features)
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", ALONE, path],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["cpu", "cuda", "tpu"]
    with np.load(tmp_path / "results.npz") as results:
        assert {name: results[name].shape for name in results} == {
            "predictions": (5, 4, 3),
            "block_predictions": (5, 3),
            "attention": (5, 4, 9),
        }
        model = trained.load(small_run)
        arrays = {"features": np.repeat(features, 8, axis=0)}
        keep = ("predictions", "attention")
        expected = model.predictor(model.params, model.predictor.parallel.put(arrays), keep)
        for name in keep:
            assert results[name].dtype == np.float32
            np.testing.assert_allclose(results[name], expected[name][::8], atol=5e-6)
        np.testing.assert_allclose(results["block_predictions"], results["predictions"].mean(axis=1), atol=1e-6)
        np.testing.assert_allclose(results["attention"].sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    "time_loop, loops", [("auto", {"fast on cpu", "fast on cuda", "plain on tpu"}), ("fast", {"fast"})]
)
def test_the_program_for_each_platform_has_its_time_loop(time_loop, loops, monkeypatch):
    config = with_flags(RunConfig(model=ModelConfig(hidden_dim=2)), num_steps=1, dim_out=2, time_loop=time_loop)
    taken = set()

    def noted(config, num_classes, multi_label):
        taken.add(config.runtime.time_loop)
        return lambda params, features: {"predictions": features.mean(axis=2)}

    monkeypatch.setattr(exporting, "results_of", noted)
    named = lambda platform: f"{loop_for(platform)} on {platform}"  # noqa: E731
    monkeypatch.setattr(exporting, "loop_for", named)
    monkeypatch.setattr(
        exporting, "with_flags", lambda config, time_loop: SimpleNamespace(runtime=SimpleNamespace(time_loop=time_loop))
    )
    export_model(config, {}, (2, 2, 3), 3, multi_label=False)
    assert taken == loops


def test_what_stands_beside_it(small_run, exported, tiny_features):
    path, about = exported
    assert about["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert about["features"] == {"shape": ["B", 4, 9, 8], "dtype": "float32"}
    assert about["class_names"] == ["jump", "run", "wave"]
    assert (about["num_steps"], about["fps"], about["multi_label"]) == (4, 10.0, False)
    assert about["epoch"] == trained.load(small_run).epoch
    assert about["recipe_sha256"] == recipe_hash(open_features(tiny_features).recipe)
    assert list(about["results"]) == ["predictions", "block_predictions", "attention"]
    assert [p.name for p in sorted(path.parent.iterdir())] == ["predictor.jaxexport", "predictor.jaxexport.json"]


def test_other_shapes_are_refused_by_the_file_itself(exported):
    call = jax.export.deserialize(bytearray(exported[0].read_bytes())).call
    with pytest.raises(ValueError, match="Shape mismatch"):
        call(some_features(2)[:, :3])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "compute_dtype"),
    [("softmax_regression", "bfloat16"), ("released", "float32")],
)
def test_every_model_can_be_exported(model, compute_dtype):
    config = RunConfig(
        DataConfig(num_steps=4), ModelConfig(model, 8, 1, compute_dtype=compute_dtype), ReleasedConfig(8)
    )
    module, features = build_model(config, 3, multi_label=False), some_features(2)
    variables = jax.jit(module.init)(jax.random.key(0), features)
    exported = export_model(config, variables["params"], [3, 3, 8], 3, multi_label=False)
    results = jax.export.deserialize(exported.serialize()).call(features)
    logits, out = jax.jit(module.apply)(variables, features.astype(feature_dtype(config.model)))
    np.testing.assert_allclose(results["predictions"], jax.nn.softmax(logits), atol=1e-6)
    assert ("attention" in results) == ("attention" in out) == (model == "released")


def test_bad_input_is_one_line(small_run, tmp_path):
    def refused(workdir, output, *parts):
        with pytest.raises(InputError) as error:
            export_predictor(workdir, output)
        assert "\n" not in str(error.value)
        for part in parts:
            assert part in str(error.value)

    refused(tmp_path, tmp_path / "out", "config.json: No such file or directory", "--workdir must name a trained run")
    refused(small_run, tmp_path / "none" / "out", "none/out: there is no folder", "make it")
    refused(small_run, tmp_path, "is a folder; name a file")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_file(small_run, exported, tmp_path, monkeypatch):
    path = tmp_path / "predictor"
    path.write_bytes(b"old")
    monkeypatch.setattr("experiments.runs.exporting.write_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_predictor(small_run, path)
    assert path.read_bytes() == b"old"
