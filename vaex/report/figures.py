"""The pictures of a run: reconstructions, samples, curves. Plain files, drawn without a display."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import LogLocator, MaxNLocator, StrMethodFormatter
from PIL import Image, ImageDraw, ImageFont

from vaex import files
from vaex.disk import metrics

COLUMNS = 12
"""Images in a row of a grid."""

SIZE, GAP, MARGIN, TEXT = 112, 4, 16, 16
"""Pixels: of an image once enlarged (about), between images, around the grid, of a letter."""

FINAL, BESIDE_TRAINING = 6, 1
"""zlib's levels of compression: most of what a grid costs."""

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#666666"

Images = Float[np.ndarray, "_ H W C"]


def draw(
    directory: Path,
    rows: Sequence[dict[str, Any]],
    originals: Float[np.ndarray, "n H W C"],
    reconstructions: Float[np.ndarray, "n H W C"],
    samples: Float[np.ndarray, "m H W C"],
    title: str,
) -> dict[str, Path]:
    """Write the three PNGs to `directory`/figures; returns them by name."""
    with np.errstate(all="ignore"):  # what explodes overflows here too, in pixels and axes: it has been told already
        pictures = grids(len(rows), originals, reconstructions, samples, SIZE) | {"curves": curves_png(rows, title)}
    return _write(directory / "figures", pictures)


def draw_grids(
    folder: Path,
    epoch: int,
    originals: Float[np.ndarray, "n H W C"],
    reconstructions: Float[np.ndarray, "n H W C"],
    samples: Float[np.ndarray, "m H W C"],
) -> dict[str, Path]:
    """Write the two grids of an epoch, drawn while it trains, to a folder; returns them by name.

    Half as large as at the end: a quarter of the work.
    """
    with np.errstate(all="ignore"):  # as in `draw`
        return _write(folder, grids(epoch, originals, reconstructions, samples, SIZE // 2))


def grids(
    epoch: int,
    originals: Float[np.ndarray, "n H W C"],
    reconstructions: Float[np.ndarray, "n H W C"],
    samples: Float[np.ndarray, "m H W C"],
    size: int,
) -> dict[str, bytes]:
    """The grids of reconstructions and of samples as PNGs, their images of about `size` pixels."""
    parts = range(0, len(originals), COLUMNS)
    pairs = [(originals[k : k + COLUMNS], reconstructions[k : k + COLUMNS]) for k in parts]
    drawn = [samples[k : k + COLUMNS] for k in range(0, len(samples), COLUMNS)]
    black, white = min(0.0, float(originals.min())), max(1.0, float(originals.max()))
    range_shown = "" if (black, white) == (0, 1) else f", black is {black:.3g}, white {white:.3g}"
    heading = f"validation images above their reconstructions, epoch {epoch}{range_shown}"
    below = f"samples from the prior, epoch {epoch}{range_shown}"
    made = {
        "reconstructions": grid(pairs, heading, black, white, size),
        "samples": grid([drawn], below, black, white, size),
    }
    if size == SIZE:
        return {name: _png(image, FINAL) for name, image in made.items()}
    mode = "RGB" if originals.shape[3] == 3 else "L"  # a third of the work where all is grey
    return {name: _png(image.convert(mode), BESIDE_TRAINING) for name, image in made.items()}


def _write(folder: Path, pictures: dict[str, bytes]) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in pictures.items():
        files.write(folder / f"{name}.png", content)
    return {name: folder / f"{name}.png" for name in pictures}


def grid(
    groups: Sequence[Sequence[Images]], heading: str, black: float = 0.0, white: float = 1.0, size: int = SIZE
) -> Image.Image:
    """Rows of images under a heading, the rows of a group close together; pixels are enlarged, never smoothed.

    `black` and `white` are the values shown as such; what lies beyond is shown as the nearer of them.
    """
    shape = groups[0][0].shape[1:3]
    scale = max(1, round(size / max(shape)))
    height, width = (side * scale + GAP for side in shape)
    columns = max(len(row) for rows in groups for row in rows)
    between = 3 * GAP
    total = sum(len(rows) for rows in groups) * height + (len(groups) - 1) * between
    canvas = np.full((total + 3 * MARGIN + TEXT, columns * width + 2 * MARGIN, 3), 255, np.uint8)
    top = 2 * MARGIN + TEXT
    for rows in groups:
        for row in rows:
            enlarged = shades(row, black, white).repeat(scale, axis=1).repeat(scale, axis=2)
            for column, image in enumerate(enlarged):
                left = MARGIN + column * width
                canvas[top : top + height - GAP, left : left + width - GAP] = image
            top += height
        top += between
    drawn = Image.fromarray(canvas)
    ImageDraw.Draw(drawn).text((MARGIN, MARGIN), heading, GREY, ImageFont.load_default(TEXT))
    return drawn


def shades(images: Images, black: float, white: float) -> UInt8[np.ndarray, "_ H W channels"]:
    """Bytes of one channel or three; of any other number of channels the first is shown."""
    shown = images if images.shape[3] == 3 else images[..., :1]
    values = np.clip((shown - black) / (white - black), 0, 1)
    return (np.nan_to_num(values) * 255 + 0.5).astype(np.uint8)


def curves_png(rows: Sequence[dict[str, Any]], title: str) -> bytes:
    """The curves as the content of a PNG file."""
    buffer = io.BytesIO()
    curves(rows, title).savefig(buffer, format="png")
    return buffer.getvalue()


def curves(rows: Sequence[dict[str, Any]], title: str) -> Figure:
    """ELBO, its two terms, the KL of each latent, σ and the gradient norm over the epochs; nats per image."""
    figure = Figure(figsize=(13, 7), dpi=110)
    FigureCanvasAgg(figure)
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
    figure.suptitle(_in_the_font(title[:140]), x=0.01, ha="left", fontsize=11, color=GREY, parse_math=False)
    return figure


def _in_the_font(text: str) -> str:
    """The text with ? for what matplotlib's font lacks: it would draw a box and warn of each."""
    font = get_font(findfont(FontProperties()))
    return "".join(character if font.get_char_index(ord(character)) else "?" for character in text)


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
    axis.set_title(title, loc="left", fontsize=11)
    axis.set_xlabel("epoch")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    positive = [value for line in axis.get_lines() for value in np.asarray(line.get_ydata()) if 0 < value < math.inf]
    if log and positive:
        axis.set_yscale("log")
        few = max(positive) < 100 * min(positive)
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
        axis.yaxis.set_minor_formatter("")
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:.7g}"))


def _png(image: Image.Image, level: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png", compress_level=level)
    return buffer.getvalue()
