"""What a part of a model is exported as: the files of each format, and how they are used."""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jax import export

from vaex import files
from vaex.errors import InputError
from vaex.portable import interpreter, onnx_model
from vaex.portable.graph import Graph
from vaex.portable.parts import Part

PLATFORMS = ("cpu", "cuda")
"""What StableHLO is lowered for, whatever this machine has."""


class Format(NamedTuple):
    """`files` makes what `names` announces, of the part of a name; `ready` raises `InputError` where that cannot be."""

    ready: Callable[[], object]
    names: Callable[[str], tuple[str, ...]]
    files: Callable[[str, Part, Mapping[str, str]], dict[str, bytes]]
    start: str
    """The lines of Python with which its use begins, …"""
    use: str
    """… and those of a part; {part}, {inputs} (`x=x`), {values} (`x`), {feed} (`"x": x`), {outputs} are filled in."""
    about: str
    """Markdown: what the files are, and with which versions they go."""


def _graph(part: Part, kind: str) -> Graph:
    try:
        return part.graph()
    except InputError as error:
        raise InputError(f"{error} as {kind}; --format stablehlo takes what JAX itself can export") from error


def _onnx(name: str, part: Part, properties: Mapping[str, str]) -> dict[str, bytes]:
    return {f"{name}.onnx": onnx_model.model(_graph(part, "onnx"), name, properties)}


def _npz(name: str, part: Part, properties: Mapping[str, str]) -> dict[str, bytes]:
    graph, archive = _graph(part, "npz"), io.BytesIO()
    np.savez(archive, allow_pickle=False, **graph.constants)
    return {
        f"{name}.json": json.dumps({"properties": dict(properties), **graph.as_json()}, indent=1).encode(),
        f"{name}.npz": archive.getvalue(),
        "run.py": Path(interpreter.__file__).read_bytes(),
    }


def _stablehlo(name: str, part: Part, properties: Mapping[str, str]) -> dict[str, bytes]:
    try:
        return {f"{name}.stablehlo": bytes(part.export(PLATFORMS).serialize())}
    except (ValueError, NotImplementedError) as error:  # a call into a library, or what a platform has not
        raise InputError(f"the {name} cannot be exported by JAX: {files.first_line(error)}") from error


FORMATS: dict[str, Format] = {
    "stablehlo": Format(
        lambda: None,
        lambda part: (f"{part}.stablehlo",),
        _stablehlo,
        """\
from pathlib import Path
from jax import export  # JAX is all that it needs
""",
        """{part} = export.deserialize(bytearray(Path("{part}.stablehlo").read_bytes()))
found = {part}.call({values})  # a dictionary: {outputs}
""",
        f"""\
The files are `jax.export`'s, for {" and ".join(PLATFORMS)}, parameters included, with calling convention version
{export.maximum_supported_calling_convention_version}. The JAX that wrote them reads versions
{export.minimum_supported_calling_convention_version} to {export.maximum_supported_calling_convention_version}. JAX
promises to run them with a jaxlib released up to 6 months after the one that wrote them, and up to 3 weeks before
([compatibility guarantees](https://docs.jax.dev/en/latest/export/export.html#compatibility-guarantees)): for longer,
keep the run and export it again. The StableHLO itself, for other compilers, is `.mlir_module_serialized` of what
`deserialize` gives (IREE 3.13 ran it with the same numbers once its shapes were refined to those of one batch).""",
    ),
    "onnx": Format(
        onnx_model.library,
        lambda part: (f"{part}.onnx",),
        _onnx,
        """\
import onnxruntime
""",
        """{part} = onnxruntime.InferenceSession("{part}.onnx", providers=["CPUExecutionProvider"])
found = {part}.run([{outputs}], {{{feed}}})  # a list
""",
        f"""\
The files are ONNX models of opset {onnx_model.OPSET}, IR version {onnx_model.IR_VERSION}: onnxruntime takes them from
1.14 on. The axis `batch` may have any length. Where they come from is in their `metadata_props`.""",
    ),
    "npz": Format(
        lambda: None,
        lambda part: (f"{part}.json", f"{part}.npz", "run.py"),
        _npz,
        """\
from pathlib import Path
import run  # beside this file; NumPy is all that it needs
""",
        """{part} = run.load(Path("."), "{part}")
found = {part}({inputs})  # a dictionary: {outputs}
""",
        """\
`PART.json` is a list of plain operations on named arrays, `PART.npz` has those that are constants, and `run.py`, which
runs the list in NumPy, says in a line each what an operation means: enough to write it anew in any language.""",
    ),
}
