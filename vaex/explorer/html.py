"""The page as one file: its style and scripts inside it, a policy that allows them and nothing else, and the data."""

from pathlib import Path
from typing import Any

from vaex.report import page

SCRIPTS = ("runtime", "model", "draw", "pad", "view", "input", "main")
"""In the order of the data's walk."""

FOLDER = Path(__file__).with_name("page")


def document(contents: dict[str, Any]) -> str:
    """The whole page."""
    runs = [str(run["title"]) for run in contents["runs"]]
    title = f"vaex: {' and '.join(runs)}"
    body = (
        f"<header><h1>{page.text(title)}</h1><p class=facts>A trained variational autoencoder that runs in this page: "
        "no server, no network.</p></header>\n<main><p>unpacking …</p></main>\n"
        "<footer><p>Made by vaex explore.</p></footer>"
    )
    style = (FOLDER / "style.css").read_text(encoding="utf-8")
    script = "\n".join((FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    return page.document(title, body, page.island("data", contents), style, [script])
