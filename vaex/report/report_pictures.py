"""The report's samples and reconstructions: one run a variant."""

from collections.abc import Sequence

from vaex.report import page
from vaex.report.charts import Panel, Plotter
from vaex.study.stability import number
from vaex.study.study import StudyRun

MOST_PICTURED = 8
"""Variants whose pictures are shown."""


def section(plotter: Plotter, links: Sequence[str]) -> str:
    """The pictures of one run a variant, or nothing where none of these has any; `links` are the runs' addresses."""
    study = plotter.study
    chosen = [_representative(plotter, variant) for variant in study.variants[:MOST_PICTURED]]
    if not any(run is not None and (run.directory / "figures").is_dir() for run in chosen):
        return ""
    shown = "".join(_pictured(plotter, run, links[plotter.number[id(run)]]) for run in chosen if run is not None)
    about = "One run a variant: of those that finished, the one with the median validation ELBO."
    left = len(study.variants) - MOST_PICTURED
    about += f" {left} more variants are not shown." if left > 0 else ""
    return f'<p class="about">{about}</p><div class="pictures">{shown}</div>'


def _pictured(plotter: Plotter, run: StudyRun, href: str) -> str:
    parts = []
    for name in ("reconstructions", "samples"):
        address, problem = page.picture(run.directory, name)
        image = f'<img src="{address}" alt="{page.text(f"{name} of {run.name}")}">'
        parts.append(f'<p class="note warn">figures/{name}.png {problem}</p>' if problem else image)
    href = page.text(href, 10_000)
    ended = "" if run.status == "finished" else f", {run.status}"
    head = f"<h3>{swatch(plotter, run.variant)} {page.text(run.variant)}</h3>"
    caption = f'<figcaption>{head}<p><a href="{href}">{page.text(run.name)}</a>{ended}</p></figcaption>'
    return f"<figure>{caption}{''.join(parts)}</figure>"


def swatch(plotter: Plotter, variant: str) -> str:
    """A spot in the variant's color."""
    return f'<span class="swatch" style="background:{plotter.color(variant)}"></span>'


def _representative(plotter: Plotter, variant: str) -> StudyRun | None:
    """The finished run with the median valid/elbo (of the first one's quantity), else the first that left pictures."""
    runs = [run for run in plotter.study.runs if run.variant == variant]
    finals = {id(run): number(run.summary.get("valid/elbo")) for run in runs if run.status == "finished"}
    known = [run for run in runs if finals.get(id(run)) is not None]
    if known:
        alike = sorted(plotter.alike(Panel("", known), "bound")[0].runs, key=lambda run: finals[id(run)] or 0.0)
        return alike[(len(alike) - 1) // 2]
    return next((run for run in runs if (run.directory / "figures").is_dir()), None)
