"""The report's parts on searches and early stopping: which charts there are of the sweeps that are compared."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from vaex.disk import stops
from vaex.errors import InputError
from vaex.report import page
from vaex.report.charts import Chart
from vaex.report.search import history, look, outcome, population, rungs, space
from vaex.report.search.look import Shown
from vaex.searched import importance, populations, trials
from vaex.searched.populations import Population
from vaex.searched.trials import Search
from vaex.study.runs import Study

log = logging.getLogger("vaex")

Charts = Callable[[Iterable[Chart | None], str], str]
"""Puts charts side by side below a line about them."""

ABOUT = "Line: the best so far. Diamonds: stopped early; × at the lower edge: failed. Hover names the trial."


def of_searches(study: Study, charts: Charts) -> str:
    """The searches among a study's directories."""
    return "".join(_each(study, trials.there, lambda directory, runs: _search(trials.read(directory), runs, charts)))


def of_populations(study: Study, charts: Charts) -> str:
    """The populations among a study's directories."""
    return "".join(
        _each(study, populations.there, lambda directory, runs: _population(populations.read(directory), runs, charts))
    )


def title(study: Study) -> str:
    """What the page of searches or populations is called, by what they are; "" where that cannot be read."""
    found: list[str] = []
    for directory in study.directories:
        try:
            if populations.there(directory):
                found.append(population.title(populations.read(directory)))
            elif trials.there(directory):
                found.append(look.title(trials.read(directory)))
        except InputError:  # which its own part of the page says
            return ""
    return ", ".join(found)


def of_stops(study: Study, charts: Charts) -> str:
    """Early stopping in a study's directories."""
    return "".join(_each(study, stops.there, lambda directory, runs: _stops(study, directory, runs, charts)))


def _each(study: Study, there: Callable[[Path], bool], draw: Callable[[Path, dict[str, int]], str]) -> Iterable[str]:
    """What `draw` makes of each directory in which something is `there`; a damaged file is a warning and a line."""
    for directory in study.directories:
        if not there(directory):
            continue
        head = f"<h3>{page.text(directory)}</h3>" if len(study.directories) > 1 else ""
        try:
            yield head + draw(directory, _runs(study, directory))
        except InputError as error:
            log.warning("%s; it is left out of the report", error)
            yield f'{head}<p class="note warn">{page.text(error)}</p>'


def _runs(study: Study, directory: Path) -> dict[str, int]:
    """The numbers of a sweep's runs in the report, by their jobs' numbers: sweep.json has the directory of each."""
    folder = directory.resolve()
    places = {
        str(run.directory.relative_to(folder)): place
        for place, run in enumerate(study.runs)
        if run.directory.is_relative_to(folder)
    }
    named = trials.job_directories(directory)  # without a record a directory's name is what there is
    return {number: places[name] for number, name in named.items() if name in places} if named else places


def _search(search: Search, runs: dict[str, int], charts: Charts) -> str:
    drawn, objectives = Shown(search, runs), range(len(search.objectives))
    if not search.trials or not search.objectives:
        return '<p class="about">No trial has been asked for yet.</p>'
    several = len(objectives) > 1
    parts = [_best(search), charts([history.chart(drawn, each) for each in objectives], ABOUT)]
    if several:
        parts.append(charts(outcome.fronts(drawn), "The Pareto front: what one objective costs in the other."))
    found = [importance.of(search, each) for each in objectives]
    bars = [outcome.importance(search.objectives[n], each) for n, each in enumerate(found)]
    parts.append(charts(bars, importance.METHOD))
    parts += [
        f'<p class="about">{page.text(line, 500)}</p>'
        for line in dict.fromkeys(line for each in found for line in (each.why, each.left_out))
        if line
    ]
    for each in objectives:
        name = search.objectives[each]
        parts.append(charts([space.parallel(drawn, each)], "A line a trial, from key to key to its value."))
        parts.append(charts(space.slices(drawn, each), f"{name} against each key."))
    return "".join(parts)


def _population(found: Population, runs: dict[str, int], charts: Charts) -> str:
    if not found.rounds:
        return '<p class="about">No round has come to its end yet.</p>'
    told, best = "", found.best
    if best is not None:
        score = f"{found.metric} {page.shown(best[1], 6)} after epoch {found.rounds[-1].epoch}"
        told = f"<p>Best: member {best[0]}, {page.text(score)}.</p>"
    parts = [told, charts([population.scores(found, runs)], "Every round the worst members go on from the best.")]
    parts.append(charts(population.values(found), "What each member had of each key, from epoch to epoch."))
    return "".join([*parts, population.table(found)])


def _best(search: Search) -> str:
    """The best trial in a line."""
    best = search.best
    if best is None:
        return ""
    point = " ".join(f"{key}={text}" for key, text in best.point.items())
    spread = f" ± {page.shown(best.spread, 3)} over its runs" if best.spread is not None else ""
    value = f"{search.objectives[0]} {page.shown(best.values[0], 6)}{spread}"
    return f"<p>Best: trial {best.number}, {page.text(value)}: <code>{page.text(point, 1000)}</code></p>"


def _went_on(study: Study, runs: dict[str, int], job: int) -> bool:
    """Whether a job that was stopped has been taken up again since."""
    place = runs.get(str(job))
    return place is not None and study.runs[place].status != "stopped"


def _stopped(stopped: set[int], judged: int | None, went_on: set[int]) -> str:
    """Of a rule without rungs it is not known how many were judged."""
    jobs = "jobs" if judged is None else f"of {judged} jobs that were judged"
    about = f"{len(stopped)} {jobs} were stopped early"
    if went_on:
        about += f", {len(went_on)} of them {'have' if len(went_on) > 1 else 'has'} gone on since"
    still = len(stopped) - len(went_on)
    return f"{about}; {'those that still are' if went_on else 'they'} are in no mean." if still else f"{about}."


def _stops(study: Study, directory: Path, runs: dict[str, int], charts: Charts) -> str:
    decisions, damaged = stops.read_all(directory)
    if damaged:
        log.warning("%s: %d lines are no decisions; they are left out", directory / stops.NAME, damaged)
    warned = f'<p class="note warn">{damaged} lines of {stops.NAME} are no decisions.</p>' if damaged else ""
    if not decisions:
        return warned
    found = rungs.groups(decisions)
    stopped = {each.job for each in decisions if each.stopped}
    judged = {each.job for each in decisions}
    known = None if all(each.rung is None for each in decisions) else len(judged)
    about = _stopped(stopped, known, {job for job in stopped if _went_on(study, runs, job)})
    tables = "".join(
        (f"<h4>{page.text(title)}</h4>" if len(found) > 1 else "") + rungs.table(some) for title, some in found
    )
    return warned + charts([rungs.chart(title, some, runs) for title, some in found], about) + tables
