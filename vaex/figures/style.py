"""One style for all figures: colors that differ in print too, one font, dark letters, PNG without a date in it."""

import io
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from PIL import Image, ImageFont

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#666666"
INK, FAINT = "#222222", "#dddddd"
"""Of letters, and of what only guides the eye."""

TITLE, AXIS = 11, 10
"""Points of letters in a chart."""

EFFORT = 3
"""zlib's level: half the time of its usual one, for files that are a fifth larger."""


def chart(width: float, height: float, title: str) -> Figure:
    """An empty figure of so many inches, drawn without a display; the title is text, whatever is in it."""
    figure = Figure(figsize=(width, height), dpi=110)
    FigureCanvasAgg(figure)
    figure.suptitle(in_the_font(title), x=0.01, ha="left", fontsize=TITLE, color=INK, parse_math=False)
    return figure


def decorate(axis: Axes, title: str) -> None:
    """The frame that all charts share."""
    axis.set_title(title, loc="left", fontsize=TITLE, y=1.0)  # given, else matplotlib seeks it for 0.1 s
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color=FAINT, linewidth=0.6)
    axis.set_axisbelow(True)


def letters(size: int) -> ImageFont.FreeTypeFont:
    """The charts' font for images, letters so many pixels high."""
    return ImageFont.truetype(str(Path(mpl.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), size)


def in_the_font(text: str) -> str:
    """The text with ? for what matplotlib's font lacks: it would draw a box and warn of each."""
    font = get_font(findfont(FontProperties()))
    return "".join(character if font.get_char_index(ord(character)) else "?" for character in text)


def png(drawn: Figure | Image.Image) -> bytes:
    """The content of a PNG file."""
    buffer = io.BytesIO()
    if isinstance(drawn, Figure):
        drawn.savefig(buffer, format="png", pil_kwargs={"compress_level": EFFORT})
    else:
        drawn.save(buffer, "png", compress_level=EFFORT)
    return buffer.getvalue()
