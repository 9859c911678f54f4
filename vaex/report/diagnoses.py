"""What `vaex diagnose` found of diverged runs, where somebody asked it: its lines, and the cure that it proved."""

from collections.abc import Sequence

from vaex.report import page
from vaex.study.run import StudyRun

MOST = 24
"""Diagnoses that are written out."""


def section(runs: Sequence[StudyRun], links: Sequence[str]) -> str:
    """The diagnoses of a study's runs; those without one are named by a command that makes it."""
    diverged = [(run, link) for run, link in zip(runs, links, strict=True) if run.status == "diverged"]
    known = [(run, link) for run, link in diverged if run.diagnosis]
    if not known:
        return ""
    about = f"{len(known)} of {len(diverged)} diverged runs have a diagnosis; `vaex diagnose RUN` makes one."
    about += f" The first {MOST}." if len(known) > MOST else ""
    parts = [f"<h3>{_linked(run, link)}</h3>{page.items(run.diagnosis)}" for run, link in known[:MOST]]
    return f'<p class="about">{page.text(about)}</p>{"".join(parts)}'


def _linked(run: StudyRun, link: str) -> str:
    """The run's name, which leads to the page of its diagnosis where that is there."""
    name = page.text(run.name)
    return f'<a href="{link}diagnose.html">{name}</a>' if (run.directory / "diagnose.html").exists() else name
