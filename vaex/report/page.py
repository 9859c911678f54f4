"""HTML in which nothing read from disk can be more than text: escaping, tables, pictures, and the page's frame."""

import base64
import hashlib
import html
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vaex.errors import printable

LONGEST = 300
"""Characters of a text from disk that are shown; the rest is cut off."""

MOST_BYTES = 2_000_000
"""Of one picture."""

CHART_SIGNS = {ord(sign): f"&#{ord(sign)};" for sign in "%${"}

NUMBER = '<td class="number"'

PNG = b"\x89PNG\r\n\x1a\n"


def text(value: object, longest: int = LONGEST) -> str:
    """Any value as HTML text: markup, control and bidirectional characters are shown, not obeyed."""
    shown = printable(value)
    return html.escape(shown if len(shown) <= longest else shown[: longest - 1] + "…")


def label(value: object, longest: int = 60) -> str:
    """The same for a chart, where Plotly obeys a few tags and fills in %{…}, and the page's script {…}."""
    return text(value, longest).translate(CHART_SIGNS)


def shown(value: float | int | None, digits: int = 4) -> str:
    """A number as one reads it, with a true minus sign; a dash for none."""
    return "–" if value is None else f"{value:.{digits}g}".replace("-", "−")


def island(name: str, value: Any) -> str:
    """Data for the page's script, which no string in it can end or leave."""
    content = json.dumps(value, allow_nan=False, separators=(",", ":"))  # ASCII: U+2028 is written as an escape
    for sign in "<>&":
        content = content.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json" id="{name}">{content}</script>'


def link(directory: Path, folder: Path) -> str:
    """From a page in `folder` to a directory, as a relative address that no name can turn into another scheme."""
    return quote(os.fsencode(f"./{os.path.relpath(directory, folder)}/"))


def picture(directory: Path, name: str) -> tuple[str, str | None]:
    """A run's figures/`name`.png as a data address, or "" and why there is none. Never leaves the run's directory."""
    path = directory / "figures" / f"{name}.png"
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(directory.resolve()):
            return "", "lies outside the run's directory: not shown"
        if not real.is_file():
            return "", "is not a file: not shown"
        if real.stat().st_size > MOST_BYTES:
            return "", f"is larger than {MOST_BYTES // 1_000_000} MB: not shown"
        content = real.read_bytes()
    except (OSError, RuntimeError):  # RuntimeError: links in a circle
        return "", "is missing"
    if not content.startswith(PNG):
        return "", "is not a PNG picture: not shown"
    return "data:image/png;base64," + base64.b64encode(content).decode(), None


def cell(value: Any, href: str | None = None) -> str:
    """A table's cell; numbers are aligned right and keep their full value for sorting."""
    if isinstance(value, float | int) and not isinstance(value, bool):
        return f'{NUMBER} data-value="{float(value)!r}">{shown(value, 5)}</td>'
    if value is None or value == "":
        return f'{NUMBER} data-value="">–</td>' if value is None else "<td></td>"
    content = text(value)
    if href is not None:
        return f'<td class="name"><a href="{html.escape(href)}">{content}</a></td>'
    return f"<td{' class=text' if len(str(value)) > 40 else ''}>{content}</td>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], sortable: bool = False) -> str:
    """A table of ready cells in a box that scrolls by itself, so that the page never does sideways."""
    ready = list(rows)
    names = [f"<button>{text(name)}</button>" if sortable else text(name) for name in head]
    numbers = [any(row[column].startswith(NUMBER) for row in ready) for column in range(len(head))]
    kinds = [' class="number"' if number else "" for number in numbers]
    header = "".join(f'<th scope="col"{kind}>{name}</th>' for kind, name in zip(kinds, names, strict=True))
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in ready)
    content = f"<thead><tr>{header}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="scroll" tabindex="0"><table>{content}</table></div>'


def items(lines: Iterable[str]) -> str:
    """A list of texts."""
    return "<ul>" + "".join(f"<li>{text(line)}</li>" for line in lines) + "</ul>"


def section(name: str, title: str, content: str) -> str:
    """One part of the page."""
    return f'<section id="{name}"><h2>{title}</h2>{content}</section>'


def of_charts() -> tuple[str, list[str]]:
    """The style and scripts of a page with charts."""
    from plotly.offline import get_plotlyjs  # late: a quarter of a second

    style, script = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    return style, [get_plotlyjs(), script]


def document(title: str, body: str, islands: str, style: str, scripts: Sequence[str]) -> str:
    """The whole page. Its policy allows its own scripts, its style and pictures inside it; no network at all."""
    digests = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    policy = (
        f"default-src 'none'; script-src {digests}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{text(title)}</title><style>{style}</style></head>\n<body>\n{body}\n{islands}\n"
        + "\n".join(f"<script>{script}</script>" for script in scripts)
        + "\n</body></html>\n"
    )
