"""A trained model without JAX: a list of plain operations on arrays, for ONNX, for NumPy, for a page's JavaScript."""
