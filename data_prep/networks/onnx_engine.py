"""Runs an ONNX graph in onnxruntime, on a CPU."""


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
