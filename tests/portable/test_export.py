"""`vaex export`: files that run where vaex and JAX are not, and what is refused before anything is written."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import onnx
import pytest
import safetensors.numpy
import yaml
from jax import export

import vaex
from tests.support.configurations import make
from vaex import cli, files
from vaex.device.datasets import load
from vaex.errors import InputError
from vaex.portable import interpreter, readme
from vaex.portable.formats import FORMATS
from vaex.portable.parts import Part
from vaex.portable.readme import INPUTS, OUTPUTS
from vaex.trained.model import Model

NEEDED = ("config.yaml", "manifest.json", "metrics.jsonl", "model.safetensors", "summary.json")

ONLY = """\
import sys
from importlib.metadata import packages_distributions
sys.modules |= dict.fromkeys(packages_distributions().keys() - %r)
sys.modules["vaex"] = None
import numpy as np
given = dict(np.load(sys.argv[1]))
x, z, eps, temperature = (given[name] for name in ("x", "z", "eps", "temperature"))
"""
"""A process in which only such packages can be imported; the inputs are there under their names."""

PACKAGES = {
    "npz": ["numpy", "run"],
    "onnx": ["numpy", "onnxruntime", "flatbuffers", "google", "packaging"],
    "stablehlo": ["numpy", "jax", "jaxlib", "ml_dtypes", "opt_einsum", "scipy", "flatbuffers", "etils"],
}


@pytest.fixture(scope="module")
def run(digits_run):
    return vaex.load(digits_run.directory)


def copied(run, tmp_path: Path, name: str = "run") -> Path:
    (tmp_path / name).mkdir()
    for each in NEEDED:
        shutil.copy(run.directory / each, tmp_path / name / each)
    return tmp_path / name


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return dict(archive)


def line_of_error(capfd, *arguments: object) -> str:
    """The one line that a refused export says."""
    assert cli._guarded(["export", *map(str, arguments)]) == 2
    printed, told = capfd.readouterr()
    assert not printed
    (line,) = told.splitlines()
    return line.removeprefix("vaex: ")


KEEP = """\
found = found if isinstance(found, dict) else dict(zip(%r, found))
np.savez("found_%s.npz", **found)
"""


@pytest.mark.parametrize("kind", FORMATS)
def test_the_lines_of_the_readme_run_without_vaex_and_give_what_the_run_gives(kind, tmp_path, capfd, run):
    """In another process and directory, in which nothing else can be imported."""
    out = tmp_path / "out"
    assert cli._guarded(["export", str(run.directory), str(out), "--format", kind]) == 0
    told = [Path(line).name for line in capfd.readouterr().out.splitlines()]
    assert sorted(told) == sorted(path.name for path in out.iterdir())
    assert told[-1] == "README.md"
    (lines,) = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text(), re.DOTALL)
    start, *uses = lines.split("\n\n")
    kept = [use + KEEP % (OUTPUTS[part], part) for part, use in zip(OUTPUTS, map("{}\n".format, uses), strict=True)]
    images, eps = run.data("test").images[:7], np.random.default_rng(0).standard_normal((7, 10)).astype(np.float32)
    codes, temperature = run.encode(images), np.linspace(0, 1, 7, dtype=np.float32)
    np.savez(tmp_path / "given.npz", x=images, z=codes.mu, eps=eps, temperature=temperature)
    script = "\n".join([ONLY % PACKAGES[kind], start, *kept])
    subprocess.run([sys.executable, "-c", script, tmp_path / "given.npz"], cwd=out, env={}, check=True)
    encoded, decoded, sampled = (arrays(out / f"found_{part}.npz") for part in OUTPUTS)
    kl = 0.5 * (codes.mu**2 + codes.sigma**2 - 1) - np.log(codes.sigma)
    for found, expected in (
        (encoded["mu"], codes.mu),
        (encoded["sigma"], codes.sigma),
        (encoded["kl"], kl),
        (decoded["x"], run.decode(codes.mu)),
        (sampled["x"], run.decode(temperature[:, None] * eps)),
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_files_say_where_they_come_from(tmp_path, run):
    directory = copied(run, tmp_path)
    for state in ("last", "1"):
        if state == "1":
            shutil.copytree(run.directory / "checkpoints", directory / "checkpoints")
        out = tmp_path / state
        chosen = ("--part", "decoder", "--checkpoint", state, "--format", "onnx")
        assert cli._guarded(["export", str(directory), str(out), *chosen]) == 0
        assert sorted(path.name for path in out.iterdir()) == ["README.md", "decoder.onnx"]
        model = onnx.load(out / "decoder.onnx")
        properties = {each.key: each.value for each in model.metadata_props}
        place = directory / ("model.safetensors" if state == "last" else "checkpoints/epoch_000001.ckpt")
        digest = files.sha256(place.read_bytes())
        expected = {"vaex": vaex.__version__, "part": "decoder", "run": str(directory), "model_sha256": digest}
        assert properties == expected
        assert (model.opset_import[0].version, model.ir_version) == (18, 8)
        text = (out / "README.md").read_text()
        assert digest in text
        assert ("epoch 1" in text) == (state == "1")
    first, last = ((tmp_path / state / "decoder.onnx").read_bytes() for state in ("1", "last"))
    assert first != last


def test_what_is_there_is_left_alone_unless_forced(tmp_path, capfd, run):
    (tmp_path / "encoder.npz").write_text("mine")
    arguments = (run.directory, tmp_path, "--format", "npz", "--part", "encoder")
    assert line_of_error(capfd, *arguments).startswith(f"{tmp_path / 'encoder.npz'}: is there already; ")
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.npz"]
    assert (tmp_path / "encoder.npz").read_text() == "mine"
    assert cli._guarded(["export", *map(str, arguments), "--force"]) == 0
    assert len(arrays(tmp_path / "encoder.npz")) > 8


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("RUN", "--format", "npz"), "vaex export: expected RUN DIR, got "),
        (("RUN", "OUT"), "the following arguments are required: --format"),
        (("RUN", "OUT", "loss=sigma", "--format", "onnx"), "vaex export: expected RUN DIR, got "),
        (
            ("RUN", "OUT", "--format", "onyx"),
            "--format: no 'onyx'; did you mean 'onnx'? (there are: stablehlo, onnx, npz)",
        ),
        (("RUN", "OUT", "--format", "npz", "--part", "decodr"), "--part: no 'decodr'; did you mean 'decoder'?"),
        (("RUN", "OUT", "--format", "npz", "--part="), "--part: no ''"),
        (("RUN", "OUT", "--format", "npz", "--checkpoint", "first"), "--checkpoint: expected last, best or an epoch"),
        (("RUN", "OUT", "--format", "npz", "--checkpoint", "9"), "the state of epoch 9 was not kept"),
        (("RUN", "OUT", "--format", "npz", "--parts", "encoder"), "unknown flag --parts; did you mean '--part'?"),
        (("RUN", "RUN/config.yaml", "--format", "npz"), "is a file; name a directory"),
        (("NOTHING", "OUT", "--format", "npz"), "no such run directory"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(arguments, told, tmp_path, capfd, run):
    places = {"RUN": str(run.directory), "OUT": str(tmp_path / "out"), "NOTHING": str(tmp_path / "nothing")}
    named = [word.replace("RUN", places["RUN"]) if "/" in word else places.get(word, word) for word in arguments]
    assert told in line_of_error(capfd, *named)
    assert not list(tmp_path.iterdir())


def test_without_onnx_one_line_says_how_to_get_it(tmp_path, capfd, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    told = line_of_error(capfd, run.directory, tmp_path / "out", "--format", "onnx")
    assert "pip install 'vaex-experiments[onnx]'" in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["shapes", "nan", "bytes", "plugins"])
def test_a_run_that_somebody_sent_gives_one_line_and_runs_nothing(damage, tmp_path, capfd, run):
    directory = copied(run, tmp_path)
    path, config = directory / "model.safetensors", yaml.safe_load((directory / "config.yaml").read_text())
    saved = safetensors.numpy.load_file(path)
    if damage == "plugins":
        (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'was here')!r}, 'w')")
        config["plugins"], config["loss"]["name"] = [str(tmp_path / "evil.py")], "evil"
        (directory / "config.yaml").write_text(yaml.safe_dump(config))
    elif damage == "bytes":
        path.write_bytes(b"\xff" * 100)
    else:
        name = "mu.kernel"
        saved[name] = saved[name][:-1] if damage == "shapes" else np.full_like(saved[name], np.nan)
        safetensors.numpy.save_file(saved, path)
    told = line_of_error(capfd, directory, tmp_path / "out", "--format", "npz")
    expected = {
        "shapes": "mu.kernel: ",
        "nan": "not finite",
        "bytes": "cannot be read as safetensors",
        "plugins": "evil",
    }
    assert expected[damage] in told
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "was here").exists()


NASTY = "<img src=x onerror=alert(1)>`|\n# [a](javascript:b)"


def test_names_with_html_and_newlines_are_text(tmp_path, run):
    directory = copied(run, tmp_path, NASTY)
    out = tmp_path / "out"
    assert cli._guarded(["export", str(directory), str(out), "--format", "onnx", "--part", "sampler"]) == 0
    text = (out / "README.md").read_text()
    properties = {each.key: each.value for each in onnx.load(out / "sampler.onnx").metadata_props}
    assert properties["run"].endswith(r"\x3cimg src=x onerror=alert(1)\x3e\x60\x7c\n# [a](javascript:b)")
    assert text.count(f"`{properties['run']}`") == 2
    assert "<" not in text


def test_values_with_html_are_text_in_the_page():
    """A configuration that somebody sent, its texts in the block of code."""
    config = make("dataset=arrays", "dataset.path=x.npy", "likelihood=gaussian")
    dataset = load(make("dataset=digits").dataset)
    object.__setattr__(config.dataset, "path", "</code>```\n<script>alert(1)</script>")
    text = readme.text(Model(config, {}, dataset, "0" * 64), Path("run"), "last", ["encoder"], FORMATS["npz"])
    assert "<" not in text
    assert text.count("```") == 4
    assert r"\x3cscript\x3ealert(1)" in text


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ((), "observes: the pixels themselves; bytes (uint8) are divided by 255 first."),
        (("likelihood.binarize=threshold",), "0 or 1, before the encoder: `x = (x >= 0.5)"),
        (("likelihood.binarize=stochastic",), "0 or 1, drawn before the encoder: `x = (rng.random(x.shape) < x)"),
        (("likelihood=laplace",), "`likelihood=laplace` observes: the pixels themselves"),
        (("precision.network=bfloat16",), "has 8 bits"),
        (("precision.posterior=float16",), "within 0.0039 (2^-8) of the larger of 1"),
        (("precision.matmul=tf32",), "(tf32), which only stablehlo has too."),
        (("loss=sigma",), "kl, here a logarithm of σ as the network gives it, differs by more where σ is near 0."),
    ],
)
def test_the_page_says_what_goes_in_and_how_exact_it_is(overrides, told):
    config = make("dataset=digits", *overrides)
    model = Model(config, {}, load(config.dataset), "0" * 64)
    text = readme.text(model, Path("run"), "last", list(OUTPUTS), FORMATS["stablehlo"])
    assert told in text
    assert "The values that the run was trained on lie in [0, 1]." in text
    for part, names in INPUTS.items():
        for name in names:
            assert f"| {part} | in `{name}` | N" in text


def test_what_a_graph_cannot_hold_is_named_with_the_format_that_can():
    part = Part(lambda parameters, x: {"x": jnp.sin(x)}, {}, {"x": (3,)})
    for kind in ("npz", "onnx"):
        with pytest.raises(InputError, match=f"uses JAX's sin, which cannot be exported as {kind}; --format stablehlo"):
            FORMATS[kind].files("decoder", part, {})
    (content,) = FORMATS["stablehlo"].files("decoder", part, {}).values()
    x = np.array([[0.0, 1.0, 2.0]], np.float32)
    np.testing.assert_allclose(export.deserialize(bytearray(content)).call(x)["x"], np.sin(x), rtol=1e-6)


def test_the_copy_that_runs_in_numpy_says_what_it_expects(tmp_path, run):
    assert (
        cli._guarded(["export", str(run.directory), str(tmp_path), "--format", "npz", "--part", "encoder,sampler"]) == 0
    )
    encode = interpreter.load(tmp_path, "encoder")
    assert (tmp_path / "run.py").read_bytes() == Path(interpreter.__file__).read_bytes()
    assert json.loads((tmp_path / "encoder.json").read_text())["properties"]["part"] == "encoder"
    assert encode(x=np.zeros((2, 8, 8, 1), int).tolist())["mu"].shape == (2, 10)
    for given, told in (
        ({"x": np.zeros((2, 8, 8))}, r"x: shape \(2, 8, 8\); expected N x 8 x 8 x 1"),
        ({"x": np.zeros((2, 8, 8, 1), np.uint8)}, "x: bytes; divide them by 255"),
        ({"z": np.zeros((2, 10))}, "expected x, got z"),
    ):
        with pytest.raises(ValueError, match=told):
            encode(**given)
    sample = interpreter.load(tmp_path, "sampler")
    with pytest.raises(ValueError, match=r"^inputs of different lengths: eps 3, temperature 2$"):
        sample(eps=np.zeros((3, 10)), temperature=np.ones(2))
