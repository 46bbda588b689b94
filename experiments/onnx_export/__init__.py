"""A trained model as an ONNX file."""
