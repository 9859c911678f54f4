"""The README.md of an export: what goes in, what comes out, how exactly, and where it comes from."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vaex import __version__
from vaex import config as configuration
from vaex.errors import printable
from vaex.portable.formats import Format
from vaex.trained.model import Model

BACKSLASHED = {ord(character): f"\\x{ord(character):02x}" for character in "`<>&|"}
"""What would end a piece of code in Markdown, or begin something in HTML."""

OUTPUTS = {"encoder": ("mu", "sigma", "kl"), "decoder": ("x",), "sampler": ("x",)}
INPUTS = {"encoder": ("x",), "decoder": ("z",), "sampler": ("eps", "temperature")}

OBSERVED = {
    "none": "the pixels themselves; bytes (uint8) are divided by 255 first",
    "threshold": "0 or 1, before the encoder: `x = (x >= 0.5).astype(np.float32)`, bytes divided by 255 before that",
    "stochastic": (
        "0 or 1, drawn before the encoder: `x = (rng.random(x.shape) < x).astype(np.float32)`, bytes divided by 255 "
        "before that"
    ),
}
"""What the encoder expects for each of a likelihood's `binarize`."""

LOW = {"float32": None, "bfloat16": 8, "float16": 11}
"""Bits of mantissa of the low precisions."""


def properties(model: Model, directory: Path, part: str) -> dict[str, str]:
    """Where an exported file comes from, for the file itself."""
    return {"vaex": __version__, "part": part, "run": code(directory), "model_sha256": model.digest}


def text(model: Model, directory: Path, state: object, parts: Sequence[str], kind: Format) -> str:
    """The page."""
    sections = [
        f"# {', '.join(parts)} of a variational autoencoder",
        f"Exported by vaex {__version__} from the run `{code(directory)}`. All arrays are float32; N is the batch, of "
        "any length from 1.",
        _arrays(model, parts),
        f"{_observed(model)} The values that the run was trained on lie in {_range(model)}.",
        "## Use",
        "```python\n" + "\n".join([kind.start, *(_use(part, kind) for part in parts)]) + "```",
        kind.about,
        "## How exactly",
        _exactness(model),
        "## From",
        _origin(model, directory, state),
    ]
    return "\n\n".join(sections) + "\n"


def code(value: Any) -> str:
    """Text that somebody may have chosen to do harm, for a piece of code in Markdown: nothing but text there."""
    return printable(value).translate(BACKSLASHED)


def _arrays(model: Model, parts: Sequence[str]) -> str:
    latents, image = f"N x {model.config.model.latent_dim}", " x ".join(map(str, ("N", *model.dataset.shape)))
    told = {
        "encoder": {
            "x": (image, "images as the likelihood observes them: below"),
            "mu": (latents, "mean of q(z\\|x)"),
            "sigma": (latents, "standard deviation of q(z\\|x), from 0"),
            "kl": (latents, "KL(q(z\\|x) ‖ N(0, 1)) of each latent, in nats"),
        },
        "decoder": {"z": (latents, "codes; the prior is N(0, I)"), "x": (image, "E[x\\|z], mean images")},
        "sampler": {
            "eps": (latents, "draws from N(0, I)"),
            "temperature": ("N", "from 0; 1 samples the prior, less nearer to its mean"),
            "x": (image, "E[x\\|z] at z = temperature · eps"),
        },
    }
    lines = ["| part | array | shape | what |", "|---|---|---|---|"]
    for part in parts:
        for name, (shape, what) in told[part].items():
            direction = "in" if name in INPUTS[part] else "out"
            lines.append(f"| {part} | {direction} `{name}` | {shape} | {what} |")
    return "\n".join(lines)


def _observed(model: Model) -> str:
    likelihood = model.config.likelihood
    ours = likelihood.name in configuration.ours("likelihood")
    observed = (
        OBSERVED[getattr(likelihood, "binarize", "none")] if ours else "what the plugin's `observe` makes of images"
    )
    return f"The encoder takes what `likelihood={code(likelihood.name)}` observes: {observed}."


def _range(model: Model) -> str:
    dataset = model.dataset
    scale = 255 if dataset.train.images.dtype == np.uint8 else 1
    return f"[{dataset.values.low / scale:.4g}, {dataset.values.high / scale:.4g}]"


def _use(part: str, kind: Format) -> str:
    names = INPUTS[part]
    return kind.use.format(
        part=part,
        values=", ".join(names),
        inputs=", ".join(f"{name}={name}" for name in names),
        feed=", ".join(f'"{name}": {name}' for name in names),
        outputs=", ".join(f'"{name}"' for name in OUTPUTS[part]),
    )


def _exactness(model: Model) -> str:
    """What a runtime may differ by."""
    precision = model.config.precision
    bits = [LOW[each] for each in (precision.network, precision.posterior) if LOW[each]]
    told = "Results are those of `vaex.load(RUN)` but for the order in which a runtime sums: "
    logarithm = " kl, here a logarithm of σ as the network gives it, differs by more where σ is near 0."
    note = logarithm if model.config.loss.name == "sigma" else ""
    if precision.matmul == "tf32":
        note += " On a GPU the run itself has products of ten bits of mantissa (tf32), which only stablehlo has too."
    if not bits:
        return f"{told}within 1e-5 of the larger of 1 and the largest value of the array.{note}"
    slack = _slack(min(bits))
    return (
        f"{told}the run computed with network={precision.network}, posterior={precision.posterior}, and the export "
        f"rounds where it did. A number in such a format has {min(bits)} bits, and what is summed in another order "
        f"may be rounded the other way, layer after layer: within {2.0**slack:.2g} (2^{slack}) of the larger of 1 and "
        f"the largest value of the array. What is not in a low precision keeps 1e-5.{note}"
    )


def _slack(bits: int) -> int:
    """A few roundings one upon the other. Measured over all models and losses: at most two thirds of 2^this."""
    return 3 - bits


def _origin(model: Model, directory: Path, state: object) -> str:
    config = yaml.safe_dump(configuration.identifying(model.config), sort_keys=False, allow_unicode=True)
    lines = "\n".join(code(line) for line in config.splitlines())
    libraries = ", ".join(f"{name} {_version(name)}" for name in ("jax", "numpy", "onnx") if _version(name))
    return (
        f"| run | `{code(directory)}` |\n|---|---|\n| state | {'' if isinstance(state, str) else 'epoch '}{state} |\n"
        f"| SHA-256 of its file | `{model.digest}` |\n"
        f"| exported with | vaex {__version__}, {libraries} |\n\n```yaml\n{lines}\n```"
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
