"""Images side by side under a heading: pixels enlarged, never smoothed; data of N x D arrays as lines over the columns.

Shades and heights are on one scale a figure, which its heading says.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from vaex.figures import style
from vaex.figures.subject import type_of_images

SIZE, GAP, BETWEEN, MARGIN, NARROWEST = 112, 4, 12, 16, 560
"""Pixels: of an image once enlarged (about), between images, between groups, around the grid; of the least width."""

TEXT, SMALL = 22, 18
"""Pixels of a letter in the heading (7 points where the figure is as wide as a page) and beside an image."""

FINE = 3
"""Lines are drawn so many times as large, and then made smaller, which smooths them."""

COLORS = (style.GREY, style.BLUE)
"""Of the lines in one tile."""


class Look(NamedTuple):
    """How a run's images are shown: as lines or as pixels, the values at the two ends of the scale, how large."""

    lines: bool
    black: float
    white: float
    size: int = SIZE

    @property
    def columns(self) -> int:
        """Images in a row."""
        return 6 if self.lines else 12

    @property
    def scale(self) -> str:
        """What the heading says of the scale; nothing where it is the usual one, 0 to 1."""
        if self.lines:
            return f"; from {self.black:.3g} (bottom) to {self.white:.3g} (top)".replace("-", "−")
        told = f"; black is {self.black:.3g}, white {self.white:.3g}".replace("-", "−")
        return "" if (self.black, self.white) == (0, 1) else told

    def errors(self, x: type_of_images, mean: type_of_images) -> tuple[Float[np.ndarray, "_ H W 1"], str]:
        """|x − x̂| as images of this look, 0 white (or at the bottom), and what the heading says of their scale."""
        error = np.abs(x.astype(np.float64) - mean).max(axis=-1, keepdims=True)  # of the channels the one furthest off
        largest = float(np.max(error, initial=0.0, where=np.isfinite(error))) or 1.0
        share = error / largest
        told = f"bottom 0, top {largest:.3g}" if self.lines else f"white 0, black {largest:.3g}"
        return self.black + (self.white - self.black) * (share if self.lines else 1 - share), told


def look(images: type_of_images) -> Look:
    """The look of a run, by the originals that it is shown by."""
    finite = images[np.isfinite(images)]
    low, high = np.min(finite, initial=0.0), np.max(finite, initial=1.0)
    return Look(images.shape[1] == images.shape[3] == 1, float(low), float(high))


def grid(
    groups: Sequence[Sequence[Float[np.ndarray, "_ H W _"]]],
    heading: str,
    look: Look,
    names: Sequence[str] = (),
    above: Sequence[str] = (),
    below: Sequence[Sequence[str]] = (),
) -> Image.Image:
    """Rows of images, the rows of a group close together.

    `names` has a name for each row, shown left of it; `above` one for each column; `below` what stands under each image
    of a group's last row. A name may have several lines.
    """
    width, height = (side + GAP for side in _size(groups[0][0].shape[1:3], look))
    columns = max(len(row) for rows in groups for row in rows)
    small = style.letters(SMALL)
    left = MARGIN + max((round(_width(small, name)) + MARGIN for name in names), default=0)
    below = below or [()] * len(groups)
    depths = [max((_height(text, SMALL) + GAP for text in texts), default=0) for texts in below]
    extent = sum(len(rows) for rows in groups) * height + sum(depths) + (len(groups) - 1) * BETWEEN
    canvas, top = _canvas(heading, left + columns * width + MARGIN, extent, SMALL + GAP if above else 0)
    draw = ImageDraw.Draw(canvas)
    centres = [left + (column + 0.5) * width for column in range(columns)]
    for centre, name in zip(centres, above, strict=False):
        draw.text((centre, top - GAP), name, style.INK, small, anchor="ms")
    beside = iter(names)
    for rows, texts, depth in zip(groups, below, depths, strict=True):
        for row in rows:
            draw.text((MARGIN, top + height // 2), next(beside, ""), style.INK, small, anchor="lm")
            for column, image in enumerate(row):
                canvas.paste(tile(image, look), (left + column * width, top))
            top += height
        for centre, text in zip(centres, texts, strict=False):
            draw.text((centre, top), text, style.INK, small, anchor="ma", align="center")
        top += depth + BETWEEN
    return canvas


def _canvas(heading: str, width: int, extent: int, above: int) -> tuple[Image.Image, int]:
    """White, as large as it must be, with the heading; where the images begin, `extent` pixels high in all."""
    width = max(width, NARROWEST)
    font = style.letters(TEXT)
    heading = _wrapped(heading, font, width - 2 * MARGIN)
    top = 2 * MARGIN + _height(heading, TEXT) + above
    canvas = Image.new("RGB", (width, top + extent + MARGIN), "white")
    ImageDraw.Draw(canvas).text((MARGIN, MARGIN), heading, style.INK, font, spacing=TEXT // 4)
    return canvas, top


def tile(image: Float[np.ndarray, "H W C"], look: Look) -> Image.Image:
    """One image; what lies beyond black and white is shown as the nearer of them, what is no number as 0."""
    shades = np.nan_to_num(np.clip((image - look.black) / (look.white - look.black), 0, 1))
    size = _size(image.shape[:2], look)
    return _lines(shades[0].T, size) if look.lines else _enlarged(shades, size)


def _size(shape: tuple[int, int], look: Look) -> tuple[int, int]:
    """Width and height of a tile."""
    if look.lines:
        return 2 * look.size, look.size
    scale = max(1, round(look.size / max(shape)))
    return shape[1] * scale, shape[0] * scale


def _enlarged(shades: Float[np.ndarray, "H W C"], size: tuple[int, int]) -> Image.Image:
    """Grey or RGB; of any other number of channels the first."""
    shown = shades if shades.shape[2] == 3 else shades[..., 0]
    return Image.fromarray((shown * 255 + 0.5).astype(np.uint8)).resize(size, Image.Resampling.NEAREST)


def _lines(heights: Float[np.ndarray, "C D"], size: tuple[int, int]) -> Image.Image:
    """A line for each channel over the columns, in a frame; a single column is a line across."""
    width, height = FINE * size[0], FINE * size[1]
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, 0, width - 1, height - 1), outline=style.FAINT, width=FINE)
    values = np.repeat(heights, 2, axis=1) if heights.shape[1] == 1 else heights
    x = np.linspace(2 * FINE, width - 1 - 2 * FINE, values.shape[1])
    for line, color in zip(values, COLORS[-len(values) :], strict=True):
        y = (1 - line) * (height - 1 - 4 * FINE) + 2 * FINE
        draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), color, 2 * FINE, joint="curve")
    return canvas.resize(size, Image.Resampling.BOX)


def _width(font: ImageFont.FreeTypeFont, text: str) -> float:
    return max(font.getlength(line) for line in text.split("\n"))


def _height(text: str, letter: int) -> int:
    """Of a text of one or more lines."""
    lines = text.count("\n") + 1
    return lines * letter + (lines - 1) * (letter // 2)


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The text with a line break where a line would be wider."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)
