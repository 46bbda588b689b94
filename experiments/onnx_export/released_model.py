"""The authors' released model as ONNX, with all its options. See `attention_ar.released.model` for the equations."""

import itertools

import numpy as np

from attention_ar.released.model import KEEP
from data_prep.networks.onnx_graph import Graph
from experiments.onnx_export.paper_models import (
    add_look,
    add_lstm_step,
    add_mean_features,
    add_time_loop,
)


def add_released(graph: Graph, module, params: dict, features: str, num_cells: int) -> dict[str, str]:
    """Adds the model; returns the names of its results, see `paper_models`.

    Its sigmoid is the plain one. The program's own is exactly 1 above 15, where the plain one is within 4e-7 of it.

    Args:
      graph: the graph.
      module: the Flax module.
      params: its parameters, a flat dict.
      features: the name of the feature cubes, `<float>[B, T, K², D]`.
      num_cells: K².
    """

    def affine(to, x, name):
        return to.affine(x, np.float32(params[f"{name}_W"]), np.float32(params[f"{name}_b"]), name)

    def matrix(to, x, name):
        return to.affine(x, np.float32(params[name]), None, f"{name}/product")

    def at_test_time(x):  # Its dropout is not inverted: all units count half.
        return graph.node("Mul", [x, graph.array("keep", np.float32(KEEP))], f"{x}/kept") if module.use_dropout else x

    def relu(x):
        return graph.node("Relu", [x], f"{x}/relu")

    v = add_mean_features(graph, features)
    for n in range(1, module.n_layers_init):
        v = at_test_time(relu(affine(graph, v, f"ff_init_{n}")))
    states = {
        "c": graph.node("Tanh", [affine(graph, v, "ff_memory")], "first_c"),
        "h": graph.node("Tanh", [affine(graph, v, "ff_state")], "first_h"),
    }
    A = graph.affine(features, np.float32(params["decoder_Wc_att"]), np.float32(params["decoder_b_att"]), "cells_0")
    for n in itertools.takewhile(lambda n: f"decoder_W_att_{n}" in params, itertools.count(1)):
        A = graph.node("Tanh", [A], f"{A}/tanh") if n > 1 else A
        kernel, bias = (np.float32(params[f"decoder_{what}_att_{n}"]) for what in "Wb")
        A = graph.affine(A, kernel, bias, f"cells_{n}")

    def add_step(step, before, now):
        X, A = now
        of_state = step.node("Unsqueeze", [matrix(step, before["h"], "decoder_Wd_att"), step.integers(1)], "of_state")
        hidden = step.node("Tanh", [step.node("Add", [A, of_state], "looking")], "looking/tanh")
        scores = step.node("Squeeze", [matrix(step, hidden, "decoder_U_att"), step.integers(2)], "scores")
        scores = step.node("Add", [scores, step.array("decoder_c_tt", np.float32(params["decoder_c_tt"]))], "e")
        sharpness = step.array("temperature_inverse", np.float32(module.temperature_inverse))
        l = step.node("Softmax", [step.node("Mul", [scores, sharpness], "e/sharpened")], "l", axis=-1)
        x, looked = add_look(step, module.hard, l, X, num_cells)
        if module.selector:
            kernel, bias = (np.float32(params[f"decoder_{what}_sel"]) for what in "Wb")
            gate = step.node("Sigmoid", [step.affine(before["h"], kernel, bias, "decoder_sel")], "selector")
            x = step.node("Mul", [gate, x], "x/selected")
        of_x, of_h = matrix(step, x, "decoder_W"), matrix(step, before["h"], "decoder_U")
        bias = step.array("decoder_b", np.float32(params["decoder_b"]))
        z = step.node("Add", [step.node("Add", [of_h, of_x], "z/product"), bias], "z")
        c, h = add_lstm_step(step, z, before["c"], "lstm")
        return {"c": c, "h": h}, {"hidden_state": h, **looked} | ({"attended": x} if module.ctx2out else {})

    results = add_time_loop(graph, states, [features, A], add_step)
    hidden = affine(graph, at_test_time(results.pop("hidden_state")), "ff_logit_lstm")
    if module.ctx2out:
        hidden = graph.node("Add", [hidden, affine(graph, results.pop("attended"), "ff_logit_ctx")], "ff_logit/sum")
    hidden = at_test_time(graph.node("Tanh", [hidden], "tanh_layer"))
    for n in range(1, module.n_layers_out):
        hidden = at_test_time(relu(affine(graph, hidden, f"ff_logit_h{n}")))
    return {"logits": affine(graph, hidden, "ff_logit"), **results}
