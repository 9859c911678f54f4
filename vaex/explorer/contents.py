"""What a page holds of each run: encoder and decoder as graphs, its latents in numbers, curves, test images."""

import contextlib
import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaex.api.run import Run
from vaex.config import implementation
from vaex.config.hydra_errors import flat_keys
from vaex.disk import checkpoint
from vaex.errors import InputError, printable
from vaex.explorer import weights
from vaex.figures.tiles import look
from vaex.judging import information
from vaex.portable import parts
from vaex.trained.model import Model

ACTIVE = 0.01
"""Nats of KL above which a latent is used: as `active_latents` counts them."""

CHECKED = 64
"""Test images at which the number format of the weights is chosen."""

MEANT = 2000
"""Test images over which the mean KL and σ of each latent are taken."""

SCATTERED = 500
"""Test images whose means are scattered where the page holds no images."""

MOST_BYTES = 1_400_000
"""Of the weights of all states, where nobody says how many there are to be: a page that can be mailed."""

LONGEST = 200
"""Characters of a text from the run."""

TOLD = ("model.latent_dim", "seed", "optimizer.learning_rate", "kl_weight.beta", "training.epochs", "model.hidden")
"""Keys by which runs are told apart, beside the options of groups."""

UNTOLD = ("tracking.", "checkpoint.", "sweep.", "pack.", "figures.", "evaluation.")

LARGEST = 1e300
"""Of a number from a file, which may say anything."""


class Source(NamedTuple):
    """A run, the state of an epoch of it, and the epochs of earlier states, with what reads one of them."""

    run: Run
    epoch: int
    model: Model
    earlier: Sequence[int]
    at: Callable[[int], Model]


def contents(sources: Sequence[Source], count: int, states: int | None) -> dict[str, Any]:
    """All that the page's scripts need; raises `InputError` where the runs' images differ.

    `count` test images; so many earlier states of each run, or as many as `MOST_BYTES` have room for.
    """
    first = sources[0].model
    for source in sources[1:]:
        if source.model.dataset.shape != first.dataset.shape:
            raise InputError(
                f"{source.run.directory}: its images are {_by(source.model.dataset.shape)}, those of "
                f"{sources[0].run.directory} {_by(first.dataset.shape)}: one page shows runs on the same images"
            )
        if source.model.dataset.digest != first.dataset.digest:
            raise InputError(f"{source.run.directory}: its data are not those of {sources[0].run.directory}")
    rows = first.dataset.test.take(slice(count or SCATTERED)).in_memory()
    observed = {source.model.config.likelihood: source.model.observe(rows.images, 0) for source in sources}
    shown = look(first.observe(first.dataset.test.images[:24]))
    labels = rows.labels
    return {
        "shape": list(first.dataset.shape),
        "pictures": _takes_pictures(first),
        "look": {"lines": shown.lines, "black": shown.black, "white": shown.white},
        "labels": [] if labels is None else [_labels(name, labels[:, i]) for i, name in enumerate(_names(first))],
        "count": count and len(rows.images),
        "scattered": len(rows.images),
        "images": [weights.images(seen) for seen in observed.values()] if count else [],
        "runs": [
            run | {"images": list(observed).index(source.model.config.likelihood), "differs": differs}
            for run, source, differs in zip(
                _runs(sources, rows.images, states), sources, _differences([each.run for each in sources]), strict=True
            )
        ],
    }


def _takes_pictures(model: Model) -> bool:
    """Whether a picture's bytes mean what the run's data mean: one rule with `vaex encode`."""
    height, width, channels = model.dataset.shape
    values, white = model.dataset.values, 255 if model.dataset.train.images.dtype == np.uint8 else 1
    return height == width and channels in (1, 3) and values.low >= 0 and values.high <= white


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _names(model: Model) -> tuple[str, ...]:
    return model.dataset.labels_named


def _labels(name: str, column: np.ndarray) -> dict[str, Any]:
    """A factor's values as texts, each once, and which of them each image has."""
    values, indices = np.unique(column, return_inverse=True)
    texts = [f"{value:.6g}" if isinstance(value, float) else str(value) for value in values.tolist()]
    return {
        "name": printable(name),
        "values": [printable(text)[:LONGEST] for text in texts],
        "of": indices.tolist(),
    }


def _runs(sources: Sequence[Source], images: np.ndarray, states: int | None) -> list[dict[str, Any]]:
    """Each run, with its last state and as many earlier ones as there is room for, evenly chosen."""
    last = [_state(source.epoch, source.model, images) for source in sources]
    size = sum(len(part["bytes"]) for state in last for part in state["constants"].values())
    room = max(0, MOST_BYTES // size - 1) if states is None else states
    found = []
    for source, state in zip(sources, last, strict=True):
        earlier = []
        for epoch in evenly(source.earlier, room):
            with contextlib.suppress(InputError):  # a damaged checkpoint is one that is left out
                earlier.append(_state(epoch, source.at(epoch), images))
        found.append(_run(source, [*earlier, state], len(source.earlier) - len(earlier)))
    return found


def _run(source: Source, states: list[dict[str, Any]], left_out: int) -> dict[str, Any]:
    run, config = source.run, source.model.config
    return {
        "title": printable("/".join(Path(os.path.normpath(run.directory.absolute())).parts[-2:]))[:LONGEST],
        "chosen": _chosen(run),
        "about": _about(config.loss),
        "loss": config.loss.name,
        "likelihood": config.likelihood.name,
        "binarize": getattr(config.likelihood, "binarize", "none"),
        "seed": config.seed,
        "precision": sorted({config.precision.network, config.precision.posterior} - {"float32"}),
        "test": _finite(run.summary.get("test/elbo")) if source.epoch == len(run.metrics) else None,
        "epochs": len(run.metrics),
        "curves": _curves(run),
        "left_out": left_out,
        "checked": min(CHECKED, len(source.model.dataset.test.images)),
        "states": states,
    }


def _differences(runs: Sequence[Run]) -> list[str]:
    """What tells each run from the others, in a few words: loss=sigma, model.latent_dim=2."""
    flat = [{key: _value_at(run.config, key) for key in flat_keys(run.config)} for run in runs]
    flat = [{key: value for key, value in each.items() if not isinstance(value, Mapping)} for each in flat]
    keys = [key for key in flat[0] if len({str(each.get(key)) for each in flat}) > 1 and not key.startswith(UNTOLD)]
    short = [key for key in keys if key.endswith(".name")] + [key for key in keys if key in TOLD]
    told = (short or keys)[:3]
    return [
        printable(", ".join(f"{key.removesuffix('.name')}={each.get(key)}" for key in told))[:LONGEST] for each in flat
    ]


def _value_at(values: Any, key: str) -> Any:
    for name in key.split("."):
        values = values[name]
    return values


def _chosen(run: Run) -> list[str]:
    """What distinguishes it: loss, latents, and so on, as its configuration says."""
    config = run.config
    keys = ("dataset", "model", "loss", "likelihood", "optimizer")
    named = [f"{key}={config[key]['name']}" for key in keys]
    return [printable(item)[:LONGEST] for item in (*named, f"latents={config['model']['latent_dim']}")]


def _about(loss: Any) -> str:
    """What the second head means: the head of the loss's own docstring, formula included."""
    lines = inspect.cleandoc(implementation(loss).__doc__ or "").split("\n\n")[:2]
    text = re.sub(" {5,}", "    ", "\n\n".join(lines))
    return "\n".join(map(printable, text.split("\n")))[: 5 * LONGEST]


def _curves(run: Run) -> dict[str, list[float | None]]:
    names = ("train/elbo", "valid/elbo")
    return {name: [_finite(value) for value in run.metrics[name]] for name in names if name in run.metrics}


def _finite(value: Any) -> float | None:
    """A number that JSON has; None for what is none, whatever a file says."""
    return float(value) if isinstance(value, (int, float)) and abs(value) < LARGEST else None


def _state(epoch: int, model: Model, images: np.ndarray) -> dict[str, Any]:
    """A state's graphs, weights and latents, and the means of the images."""
    graphs = {"encoder": parts.encoder(model).graph(), "decoder": parts.decoder(model).graph()}
    seen = model.observe(images[:CHECKED], 0)
    mu, _ = model.encode(images, 0)
    form, error = weights.shortest(graphs, {"encoder": {"x": seen}, "decoder": {"z": mu[:CHECKED]}})
    many = model.encode(model.dataset.test.images[:MEANT], 0)
    with np.errstate(all="ignore"):  # of a run that diverged
        kl = information.kl_per_latent(*many).mean(axis=0)
    return {
        "epoch": epoch,
        "form": form,
        "error": error,
        "graphs": {name: graph.as_json() for name, graph in graphs.items()},
        "constants": {name: weights.constants(graph.constants, form) for name, graph in graphs.items()},
        "kl": list(map(_finite, kl.tolist())),
        "sigma": list(map(_finite, many[1].mean(axis=0).tolist())),
        "active": [bool(each > ACTIVE) for each in kl],
        "mu": weights.packed(np.ascontiguousarray(mu, "<f4").tobytes()),
    }


def evenly(epochs: Sequence[int], most: int) -> list[int]:
    """So many of the epochs, the first and the last among them, evenly chosen."""
    if len(epochs) <= most or not most:
        return list(epochs)[:most]
    places = np.unique(np.linspace(0, len(epochs) - 1, most).round().astype(int))
    return [epochs[place] for place in places]


def earlier_epochs(directory: Path, last: int) -> list[int]:
    """The epochs before the last one of which the run kept a checkpoint, oldest first."""
    return sorted(epoch for epoch in checkpoint.epochs(directory) if epoch < last)
