"""The way to a step as small charts, and the example to blame as a picture."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, SymmetricalLogLocator
from PIL import Image

from vaex.data.dataset import type_of_images
from vaex.figures import style, tiles
from vaex.inspection.look import Look

COLORS = (style.BLUE, style.ORANGE, style.GREEN, style.GREY)

SCALE = 24
"""Images whose values say how the example is shown."""

FEW = 6
"""Ticks at most of an axis that would have one a decade."""

DECADES = 4
"""Under the largest value, of an axis that has 0 too."""

LARGEST = 1e300
"""What a logarithmic axis can hold."""

RECORDED = (
    ("loss and its terms, nats", ("loss", "reconstruction", "kl")),
    ("norms of gradient and update", ("grad_norm", "update_norm")),
    ("|σ|, smallest and largest", ("sigma_min", "sigma_max")),
)
"""What steps.npz has of every step."""

LOOKED = (
    ("largest |μ| and |raw|", ("mu", "raw")),
    ("largest output of a layer", "layer "),
    ("largest gradient at a layer's output", "gradient of layer "),
)
"""What a look inside has."""


def way(
    title: str, place: int, recorded: Mapping[str, np.ndarray], looks: Mapping[int, Look], latent: int | None
) -> Figure:
    """Charts over the steps up to `place`, and |log p| by pixel at it; × marks what is not finite, ▾ what is 0.

    `recorded` has the columns of steps.npz over the steps `recorded["step"]`.
    """
    figure = style.chart(12, 9.6, title)
    axes = [figure.add_subplot(4, 2, number) for number in range(1, 9)]
    steps = recorded["step"]
    for axis, (name, columns) in zip(axes, RECORDED, strict=False):
        _lines(axis, name, {column: (steps, recorded[column]) for column in columns})
    for axis, (name, wanted) in zip(axes[3:], LOOKED, strict=False):
        _lines(axis, name, {each: (list(looks), largest) for each, largest in _sizes(looks, wanted).items()})
    _latents(axes[6], looks, latent)
    for axis in axes[:7]:
        axis.plot([place, place], [0, 1], color=style.FAINT, zorder=0, transform=axis.get_xaxis_transform())
        axis.set_xlim(steps[0] - 0.5, place + 0.7)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    _pixels(axes[7], looks[place])
    figure.subplots_adjust(left=0.07, right=0.9, top=0.92, bottom=0.04, hspace=0.42, wspace=0.6)
    return figure


def _sizes(looks: Mapping[int, Look], wanted: str | Sequence[str]) -> dict[str, list[float]]:
    """The largest of some values at each step, by name."""
    names = next(iter(looks.values())).sizes
    chosen = [name for name in names if (name.startswith(wanted) if isinstance(wanted, str) else name in wanted)]
    largest = {name: [look.sizes[name].largest for look in looks.values()] for name in chosen}
    return {name.partition("layer ")[2] or name: values for name, values in largest.items()}


def _latents(axis: Axes, looks: Mapping[int, Look], latent: int | None) -> None:
    """The KL of each latent, the one to blame in color."""
    kl = np.array([look.terms["kl_per_latent"] for look in looks.values()], np.float64)
    style.decorate(axis, "KL of each latent, nats")
    _symmetric(axis, [kl])
    for number in range(kl.shape[1]):
        if number != latent:
            axis.plot(list(looks), _placed(kl[:, number]), color=style.FAINT, linewidth=1)
    if latent is not None and latent < kl.shape[1]:
        _curve(axis, list(looks), kl[:, latent], f"latent {latent}", style.ORANGE)
        _legend(axis)


def _pixels(axis: Axes, look: Look) -> None:
    """The largest |log p| of each pixel in the batch."""
    axis.set_title("largest |log p| of a pixel, nats", loc="left", fontsize=style.TITLE, y=1.0)
    pixels = _placed(look.sizes["pixels"].units.reshape(look.shape).max(axis=2).astype(np.float64))
    if not np.isfinite(pixels).any():
        axis.set_axis_off()
        axis.text(0.0, 0.5, "of no pixel is it finite", transform=axis.transAxes, color=style.GREY)
        return
    if look.shape[0] == 1:
        axis.plot(pixels[0], color=style.BLUE)
        return
    axis.set_axis_off()
    shown = axis.imshow(pixels, cmap="magma_r")
    axis.figure.colorbar(shown, ax=axis, fraction=0.05, format=FuncFormatter(lambda value, _: f"{value:.2g}"))


def _lines(axis: Axes, name: str, curves: Mapping[str, tuple[Any, Any]]) -> None:
    style.decorate(axis, name)
    may_be_negative = name.startswith(("loss", "KL"))
    if may_be_negative:
        _symmetric(axis, [np.asarray(y, np.float64) for _, y in curves.values()])
    else:
        axis.set_yscale("log")
    for number, (label, (x, y)) in enumerate(curves.items()):
        line = "-" if number < len(COLORS) else "--"
        _curve(axis, x, np.asarray(y, np.float64), label, COLORS[number % len(COLORS)], line)
    if curves:
        _legend(axis)


def _symmetric(axis: Axes, values: Sequence[np.ndarray]) -> None:
    """Logarithmic on both sides of 0, linear near it: up to four decades under the largest, so that no ticks meet."""
    sizes = [float(np.nanmax(np.abs(placed))) for each in values if np.isfinite(placed := _placed(each)).any()]
    linear = 10.0 ** max(0, math.floor(math.log10(max([1.0, *sizes]))) - DECADES)
    axis.set_yscale("symlog", linthresh=linear)
    locator = SymmetricalLogLocator(base=10, linthresh=1.001 * linear)  # log 1000 / log 10 is below 3
    locator.set_params(numticks=FEW)
    axis.yaxis.set_major_locator(locator)


def _legend(axis: Axes) -> None:
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _curve(
    axis: Axes, x: Sequence[int], y: Float[np.ndarray, " steps"], label: str, color: str, line: str = "-"
) -> None:
    values = _placed(y)
    axis.plot(x, values, line, color=color, label=style.in_the_font(label), linewidth=1.4, marker=".", markersize=4)
    if axis.get_yscale() == "log":  # which has no place for 0: marked at its foot
        zeros = [place for place, value in zip(x, values, strict=True) if value == 0.0]
        axis.plot(zeros, [0.03] * len(zeros), "v", color=color, transform=axis.get_xaxis_transform(), clip_on=False)
    bad = [place for place, value in zip(x, values, strict=True) if not np.isfinite(value)]
    axis.plot(bad, [0.96] * len(bad), "x", color=color, transform=axis.get_xaxis_transform(), clip_on=False)


def _placed(values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Numbers that a chart can place; others leave a gap."""
    return np.where(np.isfinite(values) & (np.abs(values) < LARGEST), values, np.nan)


def example(images: type_of_images, index: int, scale: type_of_images) -> Image.Image:
    """One image, shown on the scale of some others."""
    as_float = [each.astype(np.float32) / (255 if each.dtype == np.uint8 else 1) for each in (images[index], scale)]
    look = tiles.look(as_float[1])
    shown = np.nan_to_num(as_float[0], nan=look.black, posinf=look.white, neginf=look.black)
    return tiles.grid([[shown[None]]], f"training image {index}{look.scale}", look)
