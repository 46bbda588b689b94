"""Runs an ONNX graph in onnxruntime, on all cores of a CPU."""

from collections.abc import Callable

import numpy as np

from data_prep.networks.network import num_cores

CPU_BATCH = 8  # frames at a time on one core


def open_session(model: bytes):
    """Returns a session of onnxruntime in which a call keeps one core busy, so that the bits depend on nothing else.

    Args:
      model: a serialised ONNX model.

    Raises:
      Whatever onnxruntime raises for a model that it cannot run.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors alone; what else it finds to say is about its own optimisations
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def calls_in_flight() -> int:
    """Returns how many calls at a time keep the machine busy: one a core."""
    return num_cores()


def onnx_engine(model: bytes, output: str, input_name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function that a graph of one input is, as NumPy arrays; may be called from several threads."""
    session = open_session(model)
    return lambda frames: session.run([output], {input_name: frames})[0]
