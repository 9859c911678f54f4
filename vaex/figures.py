"""The pictures of a run: reconstructions, samples, curves. Plain files, drawn without a display."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, PngImagePlugin

from vaex import files

GRID_COLUMNS = 12
GAP = 2
"""Pixels of white between two images of a grid, before enlargement."""

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#666666"


def draw(
    directory: Path,
    rows: Sequence[dict[str, Any]],
    originals: Float[np.ndarray, "n H W C"],
    reconstructions: Float[np.ndarray, "n H W C"],
    samples: Float[np.ndarray, "m H W C"],
    title: str,
) -> dict[str, Path]:
    """Write the three PNGs to `directory`/figures; returns them by name."""
    folder = directory / "figures"
    folder.mkdir(exist_ok=True)
    paths = {name: folder / f"{name}.png" for name in ("reconstructions", "samples", "curves")}
    pairs = [image for pair in zip(originals, reconstructions, strict=True) for image in pair]
    ordered = _pairs_above_each_other(pairs)
    _save_grid(paths["reconstructions"], ordered, "originals above their reconstructions")
    _save_grid(paths["samples"], list(samples), "samples from the prior")
    curves(rows, title).savefig(paths["curves"], dpi=110)
    return paths


def curves(rows: Sequence[dict[str, Any]], title: str) -> Figure:
    """ELBO, its two terms, the KL of each latent and the gradient norm over the epochs; nats per image."""
    figure = Figure(figsize=(11, 7.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    epochs = [row["epoch"] for row in rows]
    for split, color in (("train", BLUE), ("valid", ORANGE)):
        _line(axes[0, 0], epochs, rows, f"{split}/elbo", split, color)
        _line(axes[0, 1], epochs, rows, f"{split}/reconstruction", f"{split} reconstruction", color)
    _axis(axes[0, 0], "ELBO", "nats per image (higher is better)")
    _axis(axes[0, 1], "Reconstruction and KL", "nats per image")
    beside = axes[0, 1].twinx()
    _line(beside, epochs, rows, "valid/kl", "valid KL (right axis)", GREEN)
    beside.set_ylabel("KL, nats", color=GREEN)
    beside.spines["top"].set_visible(False)
    lines = axes[0, 1].get_lines() + beside.get_lines()
    axes[0, 1].legend(lines, [line.get_label() for line in lines], frameon=False)
    axes[0, 0].legend(frameon=False)
    _kl_per_latent(axes[1, 0], rows)
    _line(axes[1, 1], epochs, rows, "grad_norm_max", "largest", ORANGE)
    _line(axes[1, 1], epochs, rows, "grad_norm_mean", "mean", BLUE)
    _axis(axes[1, 1], "Gradient norm", "global 2-norm, before clipping")
    axes[1, 1].set_yscale("log")
    axes[1, 1].legend(frameon=False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=GREY)
    return figure


def _kl_per_latent(axis: Any, rows: Sequence[dict[str, Any]]) -> None:
    kl = sorted((value if value is not None else math.nan for value in rows[-1]["valid/kl_per_latent"]), reverse=True)
    axis.bar(range(1, len(kl) + 1), kl, color=[GREEN if value > 0.01 else GREY for value in kl])
    _axis(axis, f"KL of each latent, epoch {rows[-1]['epoch']}: {rows[-1]['active_latents']} active", "nats")
    axis.set_xlabel("latents, largest first")
    axis.xaxis.get_major_locator().set_params(integer=True)


def _line(axis: Any, epochs: list[int], rows: Sequence[dict[str, Any]], key: str, label: str, color: str) -> None:
    values = [math.nan if row[key] is None else row[key] for row in rows]
    axis.plot(epochs, values, label=label, color=color, marker="o" if len(rows) < 40 else None, markersize=3)


def _axis(axis: Any, title: str, ylabel: str) -> None:
    axis.set_title(title, loc="left", fontsize=11)
    axis.set_ylabel(ylabel)
    axis.set_xlabel("epoch")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.xaxis.get_major_locator().set_params(integer=True)


def _pairs_above_each_other(pairs: list[np.ndarray]) -> list[np.ndarray]:
    ordered = []
    for start in range(0, len(pairs), 2 * GRID_COLUMNS):
        block = pairs[start : start + 2 * GRID_COLUMNS]
        ordered += block[0::2] + block[1::2]
    return ordered


def _save_grid(path: Path, images: list[Float[np.ndarray, "H W C"]], description: str) -> None:
    """Images in rows of twelve, white between them, enlarged to whole multiples so that pixels stay square."""
    height, width, channels = images[0].shape
    columns = min(GRID_COLUMNS, len(images))
    rows = -(-len(images) // columns)
    shape = (rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3)
    canvas = np.ones(shape, np.float32)
    for index, image in enumerate(images):
        top, left = (GAP + place * (size + GAP) for place, size in zip(divmod(index, columns), (height, width)))  # noqa
        shown = image if channels in (1, 3) else image[..., :1]
        canvas[top : top + height, left : left + width] = np.nan_to_num(np.clip(shown, 0, 1))
    picture = Image.fromarray((canvas * 255 + 0.5).astype(np.uint8))
    scale = max(1, round(900 / shape[1]))
    information = PngImagePlugin.PngInfo()
    information.add_text("Description", description)
    path.parent.mkdir(exist_ok=True)
    enlarged = picture.resize((shape[1] * scale, shape[0] * scale), Image.Resampling.NEAREST)
    temporary = path.with_suffix(".tmp.png")
    enlarged.save(temporary, pnginfo=information)
    temporary.replace(path)
    files.sync_directory(path.parent)
