"""The paper's model and its baselines as ONNX: Eqs. 1 to 6, the loop over the steps as one Scan.

Each function adds a model to a graph and returns the names of its results: `logits` `<float>[B, T, C]` and, for a model
with a location softmax, `attention` and, if places are chosen, `glimpse`, both `<float>[B, T, K²]`. Dropout is off, as
at test time.
"""

from collections.abc import Callable

import numpy as np
from onnx import TensorProto, helper

from attention_ar.hard_attention import neighbourhoods
from data_prep.networks.onnx_graph import Graph


def add_softmax_regression(graph: Graph, module, params: dict, features: str, num_cells: int) -> dict[str, str]:
    """Adds the regression, which sees each frame's K²·D features.

    Args:
      graph: the graph.
      module: the Flax module.
      params: its parameters.
      features: the name of the feature cubes, `<float>[B, T, K², D]`.
      num_cells: K².
    """
    flat = graph.node("Reshape", [features, graph.integers(0, 0, -1)], "flat")
    return {"logits": _affine(graph, flat, params, "regression")}


def add_pooled_lstm(graph: Graph, module, params: dict, features: str, num_cells: int) -> dict[str, str]:
    """Adds a pooled baseline: x_t is the mean or the maximum over the locations. See `add_softmax_regression`."""
    pooled = graph.node(
        {"mean": "ReduceMean", "max": "ReduceMax"}[module.pool], [features], "pooled", axes=[2], keepdims=0
    )
    return _add_recurrent(graph, module, params, features, [pooled], lambda step, top_h, x: (x, {}))


def add_soft_attention(graph: Graph, module, params: dict, features: str, num_cells: int) -> dict[str, str]:
    """Adds the paper's model. See `add_softmax_regression`."""

    def look(step, top_h, X):
        W = params["location_softmax"]["kernel"]
        scores = step.affine(top_h, W, None, "location_scores")
        l = step.node("Softmax", [scores], "l", axis=-1)  # [Eq. 4]
        return add_look(step, module.hard, l, X, num_cells)

    return _add_recurrent(graph, module, params, features, [features], look)


def add_look(step: Graph, hard, l: str, X: str, num_cells: int) -> tuple[str, dict[str, str]]:
    """Adds x_t; returns its name, and the names of l_t and, with hard attention, of the `glimpse`.

    Args:
      step: the body of the loop.
      hard: the module's `HardAttention`, of the rule "argmax" or "expectation"; None is soft attention.
      l, X: the names of l_t `<float>[B, K²]` and of the cells `<float>[B, K², D]`.
      num_cells: K².
    """
    if hard is None or hard.glimpse_rule == "expectation":
        return add_expected_slice(step, l, X), {"attention": l}
    s = step.node("ArgMax", [l], "s", axis=-1, keepdims=0)
    near = step.array("neighbourhoods", np.float32(neighbourhoods(num_cells, hard.window)))
    in_window = step.node("Mul", [l, step.node("Gather", [near, s], "near", axis=0)], "l_near")
    total = step.node("ReduceSum", [in_window, step.integers(1)], "l_near/sum", keepdims=1)
    w = step.node("Div", [in_window, total], "w")
    return add_expected_slice(step, w, X), {"attention": l, "glimpse": w}


def add_expected_slice(step: Graph, l: str, X: str) -> str:
    """Adds x_t = Σ_i l_{t,i} X_{t,i}, `<float>[B, D]`, from l `<float>[B, K²]` and X `<float>[B, K², D]`."""
    row = step.node("Unsqueeze", [l, step.integers(1)], "l_as_row")
    return step.node("Squeeze", [step.node("MatMul", [row, X], "x_as_row"), step.integers(1)], "x")  # [Eq. 5]


def add_lstm_step(step: Graph, z: str, c: str, name: str) -> tuple[str, str]:
    """Adds Eqs. 1 to 3 after the affine map; returns the names of c_t and h_t.

    Args:
      step: the body of the loop.
      z: the affine map's result, `<float>[B, 4·d]`, the gates in the order i, f, o, g.
      c: c_{t-1}, `<float>[B, d]`.
      name: of the layer.
    """
    *sigmoid, tanh = step.nodes("Split", [z], [f"{name}/z_{gate}" for gate in "ifog"], axis=-1)
    i, f, o = (step.node("Sigmoid", [z], f"{name}/{gate}") for gate, z in zip("ifo", sigmoid, strict=True))  # [Eq. 1]
    g = step.node("Tanh", [tanh], f"{name}/g")
    kept, new = step.node("Mul", [f, c], f"{name}/kept"), step.node("Mul", [i, g], f"{name}/new")
    c = step.node("Add", [kept, new], f"{name}/c")  # [Eq. 2]
    return c, step.node("Mul", [o, step.node("Tanh", [c], f"{name}/tanh_c")], f"{name}/h")  # [Eq. 3]


def add_time_loop(
    graph: Graph,
    states: dict[str, str],
    inputs: list[str],
    add_step: Callable[[Graph, dict[str, str], list[str]], tuple[dict[str, str], dict[str, str]]],
) -> dict[str, str]:
    """Adds the loop over the T steps, one Scan.

    Args:
      graph: the graph.
      states: the names of the first states, each `<float>[B, d]`.
      inputs: the names of what has a step axis, each `<float>[B, T, ...]`.
      add_step: adds one step to the loop's body. It gets the body, the names of the states and those of the inputs at
        this step; it returns the names of the new states and of this step's results.

    Returns:
      The names of the results, `<float>[B, T, ...]`.
    """
    step = Graph(graph)
    before = {name: f"{name}/before" for name in states}
    now = [f"{name}/now" for name in inputs]
    after, results = add_step(step, before, now)
    # A Scan's outputs must be its own: what is both a state and a result has two names.
    after = [step.node("Identity", [after[name]], f"{name}/after") for name in states]
    found = [step.node("Identity", [results[name]], f"{name}/found") for name in results]
    body = step.proto(
        "step", *([_value(name) for name in names] for names in ((*before.values(), *now), (*after, *found)))
    )
    outputs = graph.nodes(
        "Scan",
        [*states.values(), *inputs],
        [*(f"{name}/last" for name in states), *results],
        body=body,
        num_scan_inputs=len(inputs),
        scan_input_axes=[1] * len(inputs),
        scan_output_axes=[1] * len(results),
    )
    return dict(zip(results, outputs[len(states) :], strict=True))


def add_mean_features(graph: Graph, features: str) -> str:
    """Adds the mean over time and locations of Eq. 6, `<float>[B, D]`."""
    return graph.node("ReduceMean", [features], "mean_features", axes=[1, 2], keepdims=0)


def _value(name: str):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def _add_recurrent(graph: Graph, module, params: dict, features: str, inputs: list[str], look) -> dict[str, str]:
    """Adds first state, loop and classifier.

    Args:
      graph, module, params, features: see `add_softmax_regression`.
      inputs: the names of what `look` needs of each frame, `<float>[B, T, ...]`.
      look: a function of the loop's body, of h_{t-1} of the top layer, and of the inputs at t. It returns x_t and a
        dict of further results.
    """
    layers = range(1, module.num_layers + 1)
    mean = add_mean_features(graph, features)
    states = {}
    for n in layers:
        for kind in "ch":
            states[f"{kind}_{n}"] = _add_perceptron(graph, mean, params, f"f_init_{kind}_{n}", module.init_layers)

    def add_step(step, before, now):
        x, results = look(step, before[f"h_{module.num_layers}"], *now)
        after = {}
        for n in layers:
            joined = step.node("Concat", [before[f"h_{n}"], x], f"lstm_{n}/input", axis=-1)
            z = _affine(step, joined, params, f"lstm_{n}")
            after[f"c_{n}"], after[f"h_{n}"] = add_lstm_step(step, z, before[f"c_{n}"], f"lstm_{n}")
            x = after[f"h_{n}"]
        return after, {"h": x, **results}

    results = add_time_loop(graph, states, inputs, add_step)
    hidden = graph.node("Tanh", [_affine(graph, results.pop("h"), params, "classifier_hidden")], "tanh_layer")
    return {"logits": _affine(graph, hidden, params, "classifier_output"), **results}


def _add_perceptron(graph: Graph, v: str, params: dict, name: str, num_layers: int) -> str:
    for k in range(1, num_layers):
        v = graph.node("Relu", [_affine(graph, v, params, f"{name}_{k}")], f"{name}_{k}/relu")
    return graph.node("Tanh", [_affine(graph, v, params, f"{name}_{num_layers}")], f"{name}/tanh")  # [Eq. 6]


def _affine(graph: Graph, x: str, params: dict, name: str) -> str:
    return graph.affine(x, np.float32(params[name]["kernel"]), np.float32(params[name]["bias"]), name)
