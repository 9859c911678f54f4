"""The curves of a run: its bound, σ and gradients over the epochs."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, StrMethodFormatter

from vaex.disk import metrics
from vaex.figures import style
from vaex.figures.style import BLUE, GREEN, GREY, ORANGE
from vaex.figures.subject import Subject


def curves(subject: Subject) -> Figure:
    """Those of all epochs so far."""
    return of_rows(subject.rows, subject.title)


def of_rows(rows: Sequence[dict[str, Any]], title: str) -> Figure:
    """ELBO, its two terms, the KL of each latent, σ and the gradient norm over the epochs; nats per image."""
    figure = style.chart(13.0, 7.0, title[:140])
    axes = figure.subplots(2, 3)
    # Room for "−1.25e+08" at every axis; matplotlib's own layout would take 0.2 s to find as much.
    figure.subplots_adjust(left=0.065, bottom=0.07, right=0.985, top=0.9, wspace=0.23, hspace=0.32)
    for axis, term, name in zip(
        axes[0], ("elbo", "reconstruction", "kl"), ("ELBO", "Reconstruction", "KL"), strict=True
    ):
        _lines(axis, rows, {f"train/{term}": ("train", BLUE), f"valid/{term}": ("valid", ORANGE)})
        _decorate(axis, f"{name}, nats per image" + (", higher is better" if term == "elbo" else ""))
    _kl_per_latent(axes[1, 0], rows[-1])
    sigmas = {"sigma_max": ("largest", ORANGE), "sigma_mean": ("mean", BLUE), "sigma_min": ("smallest", GREEN)}
    _lines(axes[1, 1], rows, sigmas)
    _decorate(axes[1, 1], "|σ| of the posterior", log=True)
    norms = {"grad_norm_max": ("largest", ORANGE), "grad_norm_mean": ("mean", BLUE)}
    _lines(axes[1, 2], rows, norms)
    _decorate(axes[1, 2], "Gradient norm, global, before clipping", log=True)
    return figure


def _kl_per_latent(axis: Axes, row: dict[str, Any]) -> None:
    """Bars, largest first; grey ones are not active."""
    kl = sorted((value if value is not None else math.nan for value in row["valid/kl_per_latent"]), reverse=True)
    axis.bar(range(1, len(kl) + 1), kl, color=[GREEN if value > metrics.ACTIVE_NATS else GREY for value in kl])
    _decorate(axis, f"KL of each latent, nats, {row['active_latents']} of {len(kl)} active")
    axis.set_xlabel("latents, largest first")


def _lines(axis: Axes, rows: Sequence[dict[str, Any]], keys: dict[str, tuple[str, str]]) -> None:
    """One line a key, with its label and color."""
    epochs = [row["epoch"] for row in rows]
    for key, (label, color) in keys.items():
        values = [math.nan if row[key] is None else row[key] for row in rows]
        axis.plot(epochs, values, label=label, color=color, marker="o" if len(rows) < 40 else None, markersize=3)
    axis.legend(frameon=False)


def _decorate(axis: Axes, title: str, log: bool = False) -> None:
    style.decorate(axis, title)
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    positive = [value for line in axis.get_lines() for value in np.asarray(line.get_ydata()) if 0 < value < math.inf]
    if log and positive:
        axis.set_yscale("log")
        few = max(positive) < 100 * min(positive)
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
        axis.yaxis.set_minor_formatter("")
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:.7g}"))
