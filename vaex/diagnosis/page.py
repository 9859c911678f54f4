"""diagnose.html: one page that needs nothing else."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaex.report import page

STYLE = Path(page.__file__).with_name("report.css")


def html(content: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """The page of diagnose.json's content; `pictures` are PNG files by what they show."""
    shown = {name: f'<img alt="{name}" style="max-width:100%" src="{_address(png)}">' for name, png in pictures.items()}
    sections = [
        ("found", "What was found", page.items(content["lines"])),
        ("example", "The example", shown.get("example", "")),
        ("way", "How it got there", shown.get("way", "")),
        ("cures", "Cures tried", _cures(content.get("cures") or [], content.get("cheapest"))),
        ("examples", _title(content), _examples(content["worst_examples"])),
        ("sizes", "Values, in the order in which they are computed", _sizes(content["sizes"])),
    ]
    body = [f"<header><h1>{page.text(content['title'])}</h1></header>"]
    body += [page.section(*section) for section in sections if section[2]]
    return page.document(f"{content['title']} · vaex diagnose", "\n".join(body), "", STYLE.read_text("utf-8"), [])


def _title(content: Mapping[str, Any]) -> str:
    """There is no ranking of what is not finite, which diagnose.json has as null."""
    finite = [each for each in content["worst_examples"] if None not in each.values()]
    order = "by their share of the loss" if finite else "whose loss is not finite, all alike; first the one to blame"
    return f"Examples of the batch, {order}"


def _shown(value: Any) -> str:
    return page.cell("not finite (∞ or NaN)" if value is None else value)


def _cures(cures: Sequence[Mapping[str, Any]], cheapest: Mapping[str, Any] | None) -> str:
    if not cures:
        return ""
    keys = ("from", "told", "valid/elbo")
    rows = [
        [page.cell(each["title"]), page.cell(" ".join(each["overrides"])), *(page.cell(each[key]) for key in keys)]
        for each in cures
    ]
    table = page.table(("cure", "override", "tried from", "outcome", "valid/elbo, nats"), rows)
    return table + (f"<p>Cheapest: <code>{page.text(cheapest['command'], 2000)}</code></p>" if cheapest else "")


def _examples(worst: Sequence[Mapping[str, Any]]) -> str:
    rows = [[_shown(each[key]) for key in ("index", "kl", "reconstruction")] for each in worst]
    return page.table(("training image", "KL, nats", "reconstruction, nats"), rows)


def _sizes(sizes: Mapping[str, Mapping[str, Any]]) -> str:
    keys = ("largest", "of_steps", "of_examples", "unit")
    rows = [
        [page.cell(name), _shown(size["largest"]), *(page.cell(size[key]) for key in keys[1:])]
        for name, size in sizes.items()
    ]
    return page.table(("value", "largest", "times the steps before", "times the median example", "unit"), rows)


def _address(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
