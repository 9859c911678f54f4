"""Latent by latent: which carry something, and how the aggregate posterior lies against the prior."""

import math

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, StrMethodFormatter

from vaex.disk import metrics
from vaex.figures import style
from vaex.figures.decoded import kl
from vaex.figures.images import by_size
from vaex.figures.style import BLUE, FAINT, GREEN, GREY, INK
from vaex.figures.subject import Subject, UnfitError
from vaex.judging import information

MARGINALS = 7
"""Latents whose aggregate posterior is shown beside the radius of all."""

DRAWS = 10
"""Of z for each image, for the radius."""

LEAST = 1e-4
"""Where a logarithmic axis begins: less is shown as this."""

type_of_codes = Float[np.ndarray, "N K"]

WIDEST = 4.0
"""Marginals are shown from −WIDEST to WIDEST: what lies beyond has no share in the prior that a curve could show."""


def latents(subject: Subject) -> Figure:
    """KL and Var_x E[z|x] of each latent, by KL, on logarithmic axes: full dots are active."""
    nats, mu = kl(subject), subject.codes("valid").mu
    if len(mu) < 2 or not np.isfinite(mu).all():
        raise UnfitError("needs two images, and codes that are finite")
    variance = information.active_units(mu, subject.threshold).variance
    order = by_size(nats)
    figure = style.chart(13.0, 4.2, f"what each latent carries, full dots are active; {subject.title}")
    figure.subplots_adjust(left=0.055, bottom=0.14, right=0.985, top=0.82, wspace=0.14)
    axes = figure.subplots(1, 2)
    _dots(axes[0], nats[order], order, metrics.ACTIVE_NATS, "KL, nats")
    _dots(axes[1], variance[order], order, subject.threshold, "Var E[z|x]")
    return figure


def aggregate(subject: Subject) -> Figure:
    """q(z), the mean of q(z|x) over the images, against N(0, I): its radius, and the latents of most KL one by one."""
    codes = subject.codes("valid")
    mu, sigma = _finite(codes.mu.astype(np.float64), np.abs(codes.sigma.astype(np.float64)))
    order = by_size(kl(subject))[:MARGINALS]
    rows = math.ceil((len(order) + 1) / 4)
    title = f"aggregate posterior of {len(mu)} validation images (blue), the prior (dashed); {subject.title}"
    figure = style.chart(13.0, 0.9 + 2.6 * rows, title)
    axes = figure.subplots(rows, min(4, len(order) + 1), squeeze=False).ravel()
    figure.subplots_adjust(left=0.055, right=0.985, top=1 - 0.8 / (0.9 + 2.6 * rows), bottom=0.1, hspace=0.4)
    _radius(axes[0], mu, sigma, subject)
    for axis, latent in zip(axes[1:], order, strict=False):
        _marginal(axis, mu[:, latent], sigma[:, latent], f"latent {latent}")
    for axis in axes[len(order) + 1 :]:
        axis.set_axis_off()
    return figure


def chi(radius: Float[np.ndarray, " R"], size: int) -> Float[np.ndarray, " R"]:
    """The density of |z| for z ~ N(0, I) in `size` dimensions."""
    with np.errstate(divide="ignore"):
        log = (size - 1) * np.log(radius) if size > 1 else np.zeros_like(radius)
    return np.exp(log - radius**2 / 2 - (size / 2 - 1) * math.log(2) - math.lgamma(size / 2))


def _dots(axis: Axes, values: Float[np.ndarray, " K"], order: np.ndarray, threshold: float, what: str) -> None:
    """A dot for each latent, the active ones full; a dashed line at the threshold."""
    active, known = values > threshold, values[np.isfinite(values)]
    highest = float(np.max(known, initial=1.0))
    shown = np.clip(np.nan_to_num(values, nan=LEAST, posinf=highest), LEAST, highest)
    places = np.arange(len(values))
    axis.vlines(places, LEAST, shown, color=FAINT, linewidth=2)
    axis.scatter(places[active], shown[active], s=40, color=GREEN, zorder=3)
    axis.scatter(places[~active], shown[~active], s=40, facecolor="white", edgecolor=GREY, zorder=3)
    axis.axhline(threshold, color=INK, linestyle="--", linewidth=1)
    axis.set_yscale("log")
    axis.set_ylim(bottom=LEAST / 1.5)
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))  # powers set as formulas take half a second
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set_xlim(-0.5, len(values) - 0.5)
    infinite = f", {len(values) - len(known)} not finite" if len(known) < len(values) else ""
    style.decorate(axis, f"{what}: {active.sum()} of {len(values)} latents above {threshold:g}{infinite}")
    every = math.ceil(len(order) / 25)
    axis.xaxis.set_major_locator(FixedLocator(places[::every].tolist()))
    axis.set_xticklabels([str(latent) for latent in order[::every]])
    axis.set_xlabel("latent, by KL")


def _finite(mu: type_of_codes, sigma: type_of_codes) -> tuple[type_of_codes, type_of_codes]:
    known = np.isfinite(mu).all(axis=1) & np.isfinite(sigma).all(axis=1)
    if not known.any():
        raise UnfitError("needs an image whose code is finite")
    return mu[known], sigma[known]


def _radius(axis: Axes, mu: type_of_codes, sigma: type_of_codes, subject: Subject) -> None:
    """|z| of draws from q(z) as a histogram against the chi density."""
    size = mu.shape[1]
    z = np.tile(mu, (DRAWS, 1)) + np.tile(sigma, (DRAWS, 1)) * subject.noise(DRAWS * len(mu))
    radius = np.linalg.norm(z, axis=1)
    furthest = max(math.sqrt(size) + 4, float(np.quantile(radius, 0.999)))
    axis.hist(radius, bins=60, range=(0, furthest), density=True, color=BLUE, alpha=0.6)
    places = np.linspace(0, furthest, 300)
    axis.plot(places, chi(places, size), color=INK, linestyle="--")
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    style.decorate(axis, f"|z|; of the prior: chi({size})")


def _marginal(axis: Axes, mu: Float[np.ndarray, " N"], sigma: Float[np.ndarray, " N"], name: str) -> None:
    """q(zᵢ), a mixture of N normals, exactly, against N(0, 1)."""
    from scipy.special import ndtr  # late: it takes 0.1 s, and a run's end draws no marginals

    z = np.linspace(-WIDEST, WIDEST, 241)
    density = normal((z[:, None] - mu) / sigma) / sigma
    axis.fill_between(z, density.mean(axis=1), color=BLUE, alpha=0.6, linewidth=0)
    axis.plot(z, normal(z), color=INK, linestyle="--")
    outside = float(np.mean(ndtr((-WIDEST - mu) / sigma) + ndtr((mu - WIDEST) / sigma)))
    style.decorate(axis, name + (f", {outside:.0%} of it outside" if outside >= 0.005 else ""))


def normal(z: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The density of N(0, 1)."""
    return np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
