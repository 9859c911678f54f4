"""The codes of the validation images as points in the plane, colored by label."""

import importlib

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from vaex.figures import style
from vaex.figures.subject import Subject, UnfitError
from vaex.judging.label_probes import holds_classes

CLASSES = 20
"""Labels of more classes than there are colors for are shown as a quantity, if they are numbers."""

type_of_points = Float[np.ndarray, "N 2"]


def scatter(subject: Subject) -> Figure:
    """The means of the codes in the plane, by label: K = 2 as they are, else on their two principal components."""
    mu, labels = _labelled(subject)
    if mu.shape[1] == 2:
        return _by_label(subject, mu, labels, ("latent 0", "latent 1"), "means of the codes")
    points, shares = principal(mu)
    axes = [f"principal component {i + 1}, {share:.0%} of the variance" for i, share in enumerate(shares)]
    return _by_label(subject, points, labels, (axes[0], axes[1]), f"means of the codes ({mu.shape[1]} latents)")


def tsne(subject: Subject) -> Figure:
    """The same by t-SNE (van der Maaten & Hinton 2008), where openTSNE is installed."""
    mu, labels = _labelled(subject)
    try:
        library = importlib.import_module("openTSNE")
    except ImportError as error:
        raise UnfitError(f"needs openTSNE, which is not here ({error}); `pip install openTSNE` brings it") from error
    perplexity = min(30.0, (len(mu) - 1) / 3)
    fitted = library.TSNE(perplexity=perplexity, random_state=0, n_jobs=1, neighbors="exact").fit(mu.astype(np.float64))
    title = f"means of the codes ({mu.shape[1]} latents) by t-SNE, perplexity {perplexity:.3g}"
    return _by_label(subject, np.asarray(fitted), labels, ("distances between groups say little", ""), title)


def principal(mu: Float[np.ndarray, "N K"]) -> tuple[type_of_points, Float[np.ndarray, " 2"]]:
    """Coordinates on the two principal components, and their shares of the variance.

    The sign, which is free, is such that the largest loading is positive.
    """
    centred = mu.astype(np.float64) - mu.mean(axis=0, dtype=np.float64)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] * np.sign(axes[[0, 1], np.abs(axes[:2]).argmax(axis=1)])[:, None]
    return centred @ axes.T, singular[:2] ** 2 / (np.sum(singular**2) or 1.0)


def _labelled(subject: Subject) -> tuple[Float[np.ndarray, "N K"], Shaped[np.ndarray, " N"]]:
    """The means, and the first label of each image."""
    codes = subject.codes("valid")
    if codes.labels is None:
        raise UnfitError("needs labels, and the dataset has none")
    if codes.mu.shape[1] < 2:
        raise UnfitError("needs two latents, and model.latent_dim is 1")
    known = np.isfinite(codes.mu).all(axis=1)
    if known.sum() < 3:
        raise UnfitError("needs three images whose codes are finite")
    return codes.mu[known], codes.labels[known, 0]


def _by_label(
    subject: Subject, points: type_of_points, labels: Shaped[np.ndarray, " N"], axes: tuple[str, str], what: str
) -> Figure:
    """Points by the first label: classes in colors with their names at their medians, a quantity with a scale."""
    figure = style.chart(8.6, 7.6, f"{what}; {subject.title}")
    axis = figure.subplots()
    figure.subplots_adjust(left=0.11, bottom=0.08, right=0.97, top=0.88)
    size = float(np.clip(20000 / len(points), 6, 30))
    names, place = np.unique(labels, return_inverse=True)
    if holds_classes(labels) and len(names) <= CLASSES:
        colors = mpl.color_sequences["tab10" if len(names) <= 10 else "tab20"]
        axis.scatter(*points.T, s=size, c=[colors[i] for i in place], alpha=0.7, linewidths=0)
        for number, name in enumerate(names):
            text = f"{name:g}" if name.dtype.kind == "f" else f"{name}"
            _name(axis, np.median(points[place == number], axis=0), text, colors[number])
    else:
        quantity = labels if labels.dtype.kind in "fiu" else place
        drawn = axis.scatter(*points.T, s=size, c=quantity.astype(np.float64), cmap="viridis", linewidths=0)
        figure.colorbar(drawn, ax=axis, fraction=0.04, pad=0.02)
    style.decorate(axis, _colored(subject, len(points)))
    axis.set_xlabel(axes[0])
    axis.set_ylabel(axes[1])
    return figure


def _colored(subject: Subject, count: int) -> str:
    """What the colors are of: the first of the dataset's labels."""
    first, *others = subject.labels_named
    rest = f" (not by {', '.join(others)})" if others else ""
    return style.in_the_font(f"{count} validation images by {first}{rest}")


def _name(axis: Axes, place: Float[np.ndarray, " 2"], name: str, color: ColorType) -> None:
    """A plate in the color of the class, which says whose it is where classes overlap."""
    plate = {"facecolor": color, "edgecolor": "white", "boxstyle": "round,pad=0.2"}
    text = style.in_the_font(name[:20])
    axis.text(float(place[0]), float(place[1]), text, ha="center", va="center", bbox=plate, parse_math=False)
