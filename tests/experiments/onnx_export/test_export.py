"""Models as ONNX: onnxruntime gets the numbers of JAX, for every model and all its options, and the file says all."""

import json
from dataclasses import replace

import jax
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

import attention_ar as ar
from attention_ar.errors import InputError
from data_prep.networks.network import Network
from data_prep.networks.onnx_graph import Graph
from experiments.onnx_export import check
from experiments.onnx_export.export import WRITERS, export_onnx, onnx_model
from experiments.runs import trained
from experiments.runs.build import build_model
from experiments.runs.calibration import Temperature
from experiments.runs.config import AttentionConfig, DataConfig, ModelConfig, ReleasedConfig, RunConfig
from experiments.runs.exporting import results_of
from experiments.runs.models import MODELS

SHAPE = 4, 9, 8  # T, K², D
ALL_OPTIONS = ReleasedConfig(
    6, n_layers_att=3, n_layers_out=3, ctx2out=True, selector=True, temperature_inverse=2.5, last_n=2
)


def some_run(model="soft_attention", released=None, multi_label=False, attention=None, **options):
    """A run whose parameters are all drawn: initial biases are 0, and would hide a bias that is left out."""
    config = RunConfig(
        DataConfig(features="none", num_steps=SHAPE[0]),
        ModelConfig(model, hidden_dim=5, **options),
        released or ReleasedConfig(6),
        attention=attention or AttentionConfig(),
    )
    module = build_model(config, 3, multi_label)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *SHAPE), np.float32))["params"]
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.5, leaf.shape).astype(np.float32), shapes)
    return trained.TrainedModel(
        workdir="run",
        config=config,
        params=params,
        predictor=None,
        epoch=7,
        class_names=["jump", "rückwärts", "wave"],
        multi_label=multi_label,
        recipe={"network": "fake", "random": True},
        feature_shape=[3, 3, 8],
        split_id="none",
        temperature=Temperature(),
    )


def some_features(batch_size=3):
    return np.random.default_rng(2).normal(size=(batch_size, *SHAPE)).astype(np.float32)


def in_onnxruntime(model: bytes, x) -> dict:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: x}), strict=True))


def in_jax(run, x) -> dict:
    return jax.jit(results_of(run.config, 3, run.multi_label))(run.params, x)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("softmax_regression", {}),
        ("average_pool", {"num_layers": 2, "init_layers": 2}),
        ("max_pool", {"num_layers": 1}),
        ("soft_attention", {"num_layers": 3}),
        ("soft_attention", {"num_layers": 2, "init_layers": 3, "multi_label": True}),
        ("soft_attention", {"attention": AttentionConfig("hard"), "num_layers": 2}),
        ("soft_attention", {"attention": AttentionConfig("window", window=1)}),
        ("soft_attention", {"attention": AttentionConfig("hard", glimpse_rule="expectation")}),
        ("released", {"attention": AttentionConfig("window", window=1)}),
        ("released", {}),
        ("released", {"released": ALL_OPTIONS, "init_layers": 3}),
        ("released", {"released": replace(ALL_OPTIONS, n_layers_att=2), "dropout": 0.0, "multi_label": True}),
    ],
)
@pytest.mark.slow
def test_onnxruntime_gets_the_numbers_of_jax(model, options):
    run = some_run(model, **options)
    graph = onnx_model(run)
    parsed = onnx.load_model_from_string(graph)
    onnx.checker.check_model(parsed, full_check=True)
    assert [node.op_type for node in parsed.graph.node].count("Scan") == (model != "softmax_regression")
    features = some_features()
    expected, found = in_jax(run, features), in_onnxruntime(graph, features)
    assert found.keys() == expected.keys()
    assert ("attention" in found) == MODELS[model].has_attention
    for name, array in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], array, atol=2e-6, rtol=0, err_msg=name)
    # What one block gives does not depend on the others, nor on their number.
    alone = in_onnxruntime(graph, features[1:2])
    for name, array in found.items():
        np.testing.assert_allclose(alone[name], array[1:2], atol=1e-6, rtol=0)


def test_every_model_is_there():
    assert {model.module for model in MODELS.values()} == WRITERS.keys()


@pytest.mark.slow
def test_the_file_says_what_it_is(small_run, tmp_path):
    path = tmp_path / "predictor.onnx"
    about, _ = export_onnx(small_run, path)
    model = onnx.load(path)
    assert (model.ir_version, [opset.version for opset in model.opset_import]) == (8, [17])
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["class_names"]) == ["jump", "run", "wave"]
    assert (metadata["num_steps"], metadata["fps"], metadata["multi_label"]) == ("4", "10.0", "false")
    assert (metadata["model"], metadata["checkpoint"]) == ("soft_attention", "best")
    assert float(metadata["temperature"]) == trained.load(small_run).temperature.value
    assert json.loads(metadata["recipe"]) == trained.load(small_run).recipe
    assert json.loads(metadata["input"]) == {"name": "features", "shape": ["B", 4, 9, 8], "dtype": "float32"}
    assert metadata.keys() == about.keys()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == metadata
    assert [(given.name, given.shape, given.type) for given in session.get_inputs()] == [
        ("features", ["batch_size", 4, 9, 8], "tensor(float)")
    ]
    assert {output.name: output.shape for output in session.get_outputs()} == {
        "predictions": ["batch_size", 4, 3],
        "block_predictions": ["batch_size", 3],
        "attention": ["batch_size", 4, 9],
    }
    assert list(tmp_path.iterdir()) == [path]


# With the network

MAPS = np.random.default_rng(3).normal(size=(3, 8)).astype(np.float32)


def means_of_cells(frames):
    """A network of 6×6 frames: eight mixtures of the mean blue, green and red of every cell."""
    cells = frames.reshape(len(frames), 3, 2, 3, 2, 3).mean(axis=(2, 4), dtype=np.float32)
    return (cells / 100 @ MAPS).astype(np.float16)


def add_means_of_cells(graph: Graph, frames: str) -> str:
    x = graph.node("Cast", [frames], "f", to=TensorProto.FLOAT)
    x = graph.node("Transpose", [x], "maps_first", perm=[0, 3, 1, 2])
    x = graph.node("AveragePool", [x], "means", kernel_shape=[2, 2], strides=[2, 2])
    x = graph.affine(graph.node("Transpose", [x], "maps_last", perm=[0, 2, 3, 1]), MAPS / 100, None, "mixed")
    return graph.node("Cast", [x], "half", to=TensorProto.FLOAT16)


def small_network(add_to=add_means_of_cells):
    recipe = {"network": "means", "random": True, "input_size": [6, 6]}
    return Network(recipe, means_of_cells, (3, 3, 8), add_to=add_to)


def test_frames_in_probabilities_out():
    run = some_run()
    frames = np.random.default_rng(4).integers(0, 256, (2, 4, 6, 6, 3), np.uint8)  # red, green, blue
    features = means_of_cells(frames[..., ::-1].reshape(-1, 6, 6, 3)).reshape(2, *SHAPE).astype(np.float32)
    graph = onnx_model(run, small_network())
    onnx.checker.check_model(onnx.load_model_from_string(graph), full_check=True)
    expected, found = in_jax(run, features), in_onnxruntime(graph, frames)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=5e-4, rtol=0, err_msg=name)  # a digit of float16
    swapped = in_onnxruntime(graph, frames[..., ::-1])
    assert np.abs(swapped["predictions"] - found["predictions"]).max() > 0.01


def test_a_network_that_cannot_be_written_is_one_line():
    with pytest.raises(InputError, match="with_network: the network means cannot be written as ONNX; leave"):
        onnx_model(some_run(), small_network(add_to=None))


def test_places_that_are_drawn_have_no_graph():
    run = some_run(attention=AttentionConfig("hard", glimpse_rule="sample"))
    with pytest.raises(InputError, match="model=soft_attention with glimpse_rule=sample has no ONNX graph yet; export"):
        onnx_model(run)


def test_a_model_without_a_graph_is_one_line(monkeypatch):
    monkeypatch.delitem(WRITERS, ar.SoftAttentionLSTM)
    with pytest.raises(InputError, match="model=soft_attention has no ONNX graph yet; export it with --format=jax"):
        onnx_model(some_run())


def test_an_option_without_a_graph_is_one_line(monkeypatch):
    class LooksElsewhere(ar.SoftAttentionLSTM):
        elsewhere: bool = False

    run = some_run()
    monkeypatch.setitem(WRITERS, LooksElsewhere, WRITERS[ar.SoftAttentionLSTM])
    build = "experiments.onnx_export.export.build_model"
    monkeypatch.setattr(build, lambda *_: LooksElsewhere(3, hidden_dim=5, elsewhere=True))
    with pytest.raises(InputError, match="model=soft_attention with elsewhere=True has no ONNX graph yet; export it"):
        onnx_model(run)
    monkeypatch.setattr(build, lambda *_: LooksElsewhere(3, hidden_dim=5))
    assert onnx_model(run)


# The table


@pytest.mark.parametrize("network", [None, small_network()], ids=["features", "frames"])
def test_the_table_shows_errors_and_rates(network, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "_ROUNDS", 1)
    monkeypatch.setattr(check, "_SECONDS", 0.0)
    run, path = some_run(), tmp_path / "x.onnx"
    path.write_bytes(onnx_model(run, network))
    found = check.compare(run, path, network, batch_size=2)
    assert found["errors"].keys() == {"predictions", "block_predictions", "attention"}
    assert 0 < max(found["errors"].values()) < (1e-3 if network else 1e-5)
    head, _, *rows = check.table(run, path, network, batch_sizes=(2, 3)).splitlines()
    assert head == "| batch | largest error | JAX, blocks/s | onnxruntime, blocks/s |"
    assert [row.split(" | ")[0] for row in rows] == ["| 2", "| 3"]
    assert all(float(rate) > 0 for row in rows for rate in row.strip("| ").split(" | ")[2:])


def test_another_model_shows_in_the_table(tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(onnx_model(some_run()))
    other = some_run()
    other.params["classifier_output"]["bias"][0] += 1
    assert check.compare(other, path)["errors"]["predictions"] > 0.05
