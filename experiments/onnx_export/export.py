"""A trained model as one ONNX file, with or without the network that makes its features."""

import dataclasses
import json

import jax
import numpy as np
from onnx import TensorProto, helper

import attention_ar as ar
from attention_ar.errors import InputError
from data_prep.common.files import write_whole
from data_prep.networks.network import Network
from data_prep.networks.onnx_graph import Graph
from experiments.onnx_export import paper_models, released_model
from experiments.onnx_export.check import table
from experiments.runs import trained
from experiments.runs.build import build_model
from experiments.runs.exporting import checked_output, description
from experiments.runs.matching_network import matching_network

WRITERS = {
    ar.SoftmaxRegression: paper_models.add_softmax_regression,
    ar.PooledLSTM: paper_models.add_pooled_lstm,
    ar.SoftAttentionLSTM: paper_models.add_soft_attention,
    ar.ReleasedAttentionLSTM: released_model.add_released,
}
"""What adds a model to a graph, by the class of its Flax module."""

_KNOWN = {
    *("num_classes", "hidden_dim", "num_layers", "dropout", "init_layers", "compute_dtype", "time_loop", "pool"),
    *("dim_out", "n_layers_att", "n_layers_out", "n_layers_init", "ctx2out", "selector", "temperature_inverse"),
    *("use_dropout", "last_n", "multi_label", "parent", "name"),
}
"""The modules' attributes that the writers know, or that do not change what a trained model computes."""

FEATURES, FRAMES = "features", "frames"


def export_onnx(
    workdir,
    output,
    checkpoint: str = "best",
    with_network: bool = False,
    network: str | None = None,
    network_options: dict[str, str] | None = None,
    check: bool = False,
) -> tuple[dict, str]:
    """Writes a run's model to an ONNX file, atomically. The file carries the description, one JSON text an entry.

    Args:
      workdir: the run.
      output: the file.
      checkpoint: "best" or "latest".
      with_network: whether it takes frames, and not features.
      network, network_options: with the network, the user's choice, see `matching_network`.
      check: whether to compare the file with the model, see `check.table`.

    Returns:
      The description, and the table or "".

    Raises:
      InputError: where there is no run, no folder for the file, no ONNX graph for this model, or see
        `matching_network`.
    """
    output = checked_output(output, "predictor.onnx")
    run = trained.load(workdir, checkpoint)
    run.require_one_level("an ONNX file")
    found = matching_network(run, network, network_options) if with_network else None
    about = {"input": _input_of(run, found), **description(run, checkpoint)}
    write_whole(output, onnx_model(run, found, {name: as_text(value) for name, value in about.items()}))
    return about, table(run, output, found) if check else ""


def as_text(value) -> str:
    """Returns a text as it is, and anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def onnx_model(
    run: trained.TrainedModel, network: Network | None = None, metadata: dict[str, str] | None = None
) -> bytes:
    """Returns a trained model as a serialised ONNX model.

    It takes "features" `<float32>[B, T, K², D]` or, with the network, "frames" `<uint8>[B, T, height, width, 3]`, RGB,
    for any B. Its outputs are the `exporting.RESULTS` that the model has. All products are in float32, whatever the
    run's compute_dtype.

    Args:
      run: the model.
      network: what makes features of frames, or None.
      metadata: texts by name, which the file carries.

    Raises:
      InputError: where the model, or the network, has no ONNX graph.
    """
    num_steps, num_classes = run.config.data.num_steps, len(run.class_names)
    side, _, num_maps = run.feature_shape
    num_cells, name = side * side, run.config.model.model
    module = build_model(run.config, num_classes, run.multi_label)
    _refuse_unknown(module, f"{run.workdir}: model={name}")
    graph = Graph()
    features, shape = FEATURES, [num_steps, num_cells, num_maps]
    x = _value(FEATURES, TensorProto.FLOAT, shape)
    if network:
        x = _value(FRAMES, TensorProto.UINT8, [num_steps, *network.input_size, 3])
        features = _add_network(graph, network, shape)
    results = WRITERS[type(module)](graph, module, jax.tree.map(np.asarray, run.params), features)
    squash = {"kind": "Sigmoid"} if run.multi_label else {"kind": "Softmax", "axis": -1}
    graph.node(inputs=[results["logits"]], name="predictions", **squash)
    graph.node("ReduceMean", ["predictions"], "block_predictions", axes=[1], keepdims=0)
    outputs = {"predictions": [num_steps, num_classes], "block_predictions": [num_classes]}
    if "attention" in results:
        outputs["attention"] = [num_steps, num_cells]
    described = [_value(output, TensorProto.FLOAT, shape) for output, shape in outputs.items()]
    return graph.model(name, [x], described, metadata)


def _refuse_unknown(module, what: str):
    """Refuses a model of a class, or with an option, that no writer knows: its graph would be another model's."""
    way_out = "has no ONNX graph yet; export it with --format=jax"
    if type(module) not in WRITERS:
        raise InputError(f"{what} {way_out}")
    for field in dataclasses.fields(module):
        value = getattr(module, field.name)
        if field.name not in _KNOWN and value != field.default:
            raise InputError(f"{what} with {field.name}={value} {way_out}")


def _add_network(graph: Graph, network: Network, shape: list[int]) -> str:
    """Adds the network; returns the name of the features, `<float>[B, T, K², D]`."""
    if network.add_to is None:
        raise InputError(
            f"with_network: the network {network.recipe['network']} cannot be written as ONNX; leave --with_network "
            "out, and give the file features"
        )
    flat = graph.node("Reshape", [FRAMES, graph.integers(-1, *network.input_size, 3)], "all_frames")
    bgr = graph.node("Gather", [flat, graph.integers(2, 1, 0)], "bgr_frames", axis=-1)
    # Rounded to float16, as the features are that the model was trained on.
    x = graph.node("Cast", [network.add_to(graph, bgr)], "float_features", to=TensorProto.FLOAT)
    return graph.node("Reshape", [x, graph.integers(-1, *shape)], FEATURES)


def _input_of(run: trained.TrainedModel, network: Network | None) -> dict:
    num_steps, (side, _, num_maps) = run.config.data.num_steps, run.feature_shape
    if network is None:
        return {"name": FEATURES, "shape": ["B", num_steps, side * side, num_maps], "dtype": "float32"}
    return {"name": FRAMES, "shape": ["B", num_steps, *network.input_size, 3], "dtype": "uint8", "colour": "rgb"}


def _value(name: str, kind: int, shape: list[int]):
    return helper.make_tensor_value_info(name, kind, ["batch_size", *shape])
