"""Reads an ONNX file from outside, and runs a graph in onnxruntime on a CPU."""

from collections.abc import Iterator

from attention_ar.errors import InputError, one_line, some


def parse_model(path, data: bytes):
    """Returns the `onnx.ModelProto` of a file's bytes; opens nothing beside them, whatever they say of external data.

    Raises:
      InputError: they are no model, or only a part of one; `path` is the file's name for that.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError, TypeError) as error:
        raise InputError(f"{path}: is not an ONNX file, or a damaged one ({one_line(error)})") from None
    tensors = (message for message in _messages(model) if isinstance(message, onnx.TensorProto))
    external = [tensor.name for tensor in tensors if onnx.external_data_helper.uses_external_data(tensor)]
    if external:  # onnxruntime would open it.
        raise InputError(f"{path}: keeps {some(external, 3)} in other files; one file with everything is needed")
    return model


def _messages(message) -> Iterator:
    """Yields all messages within one: a tensor may be an array of the graph, an attribute, or in a graph within."""
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in [value] if hasattr(value, "ListFields") else value:
                yield from _messages(inner)


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
