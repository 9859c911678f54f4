"""What `vaex diagnose` found of diverged runs, where somebody asked it: its lines, and the cure that it proved."""

from collections.abc import Sequence

from vaex.report import page
from vaex.study.run import StudyRun

MOST = 24
"""Diagnoses that are written out."""

LONGEST = 5000
"""Characters of a line."""


def section(runs: Sequence[StudyRun], links: Sequence[str]) -> str:
    """The diagnoses of a study's runs, and by which command the others would have one."""
    diverged = [(run, link) for run, link in zip(runs, links, strict=True) if run.status == "diverged"]
    known = [(run, link) for run, link in diverged if run.diagnosis]
    if not known:
        return ""
    about = f"{len(known)} of {len(diverged)} diverged runs have a diagnosis; `vaex diagnose RUN` makes one."
    about += f" The first {MOST}." if len(known) > MOST else ""
    parts = [f"<h3>{_linked(run, link)}</h3>{_lines(run.diagnosis)}" for run, link in known[:MOST]]
    return f'<p class="about">{page.text(about)}</p>{"".join(parts)}'


def _lines(lines: Sequence[str]) -> str:
    """As a list; a command is to be pasted, so it is there to its end."""
    return "<ul>" + "".join(f"<li>{page.text(line, LONGEST)}</li>" for line in lines) + "</ul>"


def _linked(run: StudyRun, link: str) -> str:
    """The run's name, which leads to the page of its diagnosis where that is there."""
    name = page.text(run.name)
    return f'<a href="{link}diagnose.html">{name}</a>' if (run.directory / "diagnose.html").exists() else name
