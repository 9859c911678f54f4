"""A trained model without JAX: a list of plain operations on arrays, for ONNX, for NumPy, for a page's JavaScript.

parts.py         encoder, decoder, sampler: functions of JAX
tracing.py       JAX's trace of a function -> a graph (building.py, primitives.py: of what operations)
graph.py         the list of operations; interpreter.py: what each means, in NumPy
onnx_model.py    a graph as ONNX
formats.py       the files of each format        readme.py    the page beside them
"""
