"""How a run or sweep stands, in lines for people: one each for several, a few for one alone."""

import shlex
import time
from pathlib import Path

from rich.text import Text

from vaex.errors import printable
from vaex.live import slurm_queue
from vaex.live import sweep as live_sweep
from vaex.live.run import Live
from vaex.live.sweep import STATUSES, LiveJob, LiveSweep
from vaex.searched.populations import Population
from vaex.searched.trials import STATES, Search
from vaex.terminal.tables import COLOR, brief, clock, show

MOST_JOBS = 32
"""Running jobs that have a line each."""

STYLE = COLOR | {"running": "cyan", "damaged": "red"}

DASH = "–"


def lines(found: Live | LiveSweep) -> list[Text]:
    """All there is to say of the one thing that was asked for."""
    return _of_sweep(found) if isinstance(found, LiveSweep) else _of_run(found)


def line(found: Live | LiveSweep, folder: Path) -> Text:
    """One line of several."""
    place = found.directory.relative_to(folder) if found.directory.is_relative_to(folder) else found.directory
    name = Text(f"{printable(place)}  ")
    if isinstance(found, LiveSweep):
        best = _best_trial(found.search) if found.search else f"best {_best_of(found)}"
        return name + Text("  ".join(filter(None, (f"sweep, {_counts(found)}", best, _done(found)))))
    return name + _status(found) + Text(f"  {_numbers(found)}")


def _of_run(live: Live) -> list[Text]:
    told = [_status(live), Text(f"speed  {_speed(live)}"), Text(f"best   {_best(live)}")]
    told.append(Text(f"last   elbo train {show(live.train)} valid {show(live.valid)}"))
    if live.status == "running":
        told.append(Text(f"done   {_ready(live.left)}"))
    if live.status == "interrupted":
        told.append(_to_go_on(live.directory))
    return told[:1] if live.status in ("damaged", "waiting") else told


def _of_sweep(found: LiveSweep) -> list[Text]:
    told = [Text(_counts(found)), Text(f"best   {_best_of(found)}")]
    if found.running:
        rate = live_sweep.rate(found.running)
        told.append(Text(f"speed  {DASH if rate is None else f'{rate:,.0f}'} examples/s"))
    told += [Text(f"done   {_done(found)}" if found.alive else _done(found))] if _done(found) else []
    told += [Text(part) for part in _of_search(found, found.search)] if found.search else []
    told += _of_population(found, found.population) if found.population else []
    told += [_of_job(job) for job in found.running[:MOST_JOBS]]
    if len(found.running) > MOST_JOBS:
        told.append(Text(f"  and {len(found.running) - MOST_JOBS} more"))
    told += [Text(f"not as it should be: {problem}", style="red") for problem in found.problems]
    if not (found.alive or found.over):
        told.append(_to_go_on(found.directory))
    return told


def _of_job(job: LiveJob) -> Text:
    """A job that trains: how far, how good and how long first, since a narrow terminal cuts the end off."""
    live, (number, _, label) = job.live, job.label.partition(": ")
    far = Text(f"epoch {live.epoch} of {live.epochs or DASH}", style=STYLE["running"])
    elbo = f"  elbo {show(live.valid)}, best {show(live.best)}"
    return Text(f"  {number}  ") + far + Text(f"{elbo}  {_ready(live.left)}  {brief(label)}".rstrip())


def _of_search(found: LiveSweep, search: Search) -> list[str]:
    """Trials by state, and the best: of several objectives there is none."""
    trials = found.trials
    counts = ", ".join(f"{trials[state]} {state}" for state in (*STATES, "interrupted") if trials[state])
    of = f" of {search.wanted}" if search.wanted is not None else ""
    best = search.best
    point = "  " + brief(" ".join(f"{key}={value}" for key, value in best.point.items())) if best else ""
    return [f"trials {trials.total()}{of}: {counts or DASH}", *([f"{_best_trial(search)}{point}"] if best else [])]


def _best_trial(search: Search) -> str:
    """The best trial and its value: the mean of its seeds; nothing where there is none."""
    best = search.best
    if best is None:
        return ""
    spread = f" ± {show(best.spread)}" if best.spread is not None else ""
    return f"best trial {best.number}: {search.objectives[0]} {show(best.values[0])}{spread}"


def _of_population(found: LiveSweep, known: Population) -> list[Text]:
    """The rounds, and the best member, which is made again as it came to be."""
    epochs = max((job.live.epochs or 0 for job in found.jobs), default=0)
    told = [Text(f"round {len(known.rounds)} of {known.in_all(epochs)} has ended; best {known.told()}")]
    if found.over and known.best:
        told.append(Text(f"again: vaex reproduce {shlex.quote(printable(found.directory / str(known.best[0])))}"))
    return told


def _status(live: Live) -> Text:
    """How it stands, and how far: `running at epoch 3 of 25, step 1290`."""
    far = "" if live.status in ("damaged", "waiting") else f" at epoch {live.epoch} of {live.epochs or DASH}"
    step = f", step {live.step}" if far and live.step is not None else ""
    why = f": {live.why}" if live.why else ""
    return Text(live.status + far + step + why, style=STYLE.get(live.status, ""))


def _numbers(live: Live) -> str:
    if live.status in ("damaged", "waiting"):
        return ""
    left = f"  {_ready(live.left)}" if live.status == "running" else ""
    return f"elbo valid {show(live.valid)} best {_best(live)}  {_speed(live)}{left}"


def _best(live: Live) -> str:
    return DASH if live.best is None else f"{show(live.best)} at epoch {live.best_epoch or DASH}"


def _speed(live: Live) -> str:
    rate = DASH if live.rate is None else f"{live.rate:,.0f}"
    epoch = "" if live.seconds is None else f", {_short(live.seconds)} an epoch"
    return f"{rate} examples/s{epoch}"


def _short(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else clock(seconds)


def _ready(left: float | None) -> str:
    """How long it takes, and at what time of day it is done."""
    if left is None:
        return "not known yet when"
    there = time.localtime(time.time() + left)
    day = "%a %H:%M" if left > 12 * 3600 else "%H:%M"
    return f"{clock(left)} left, about {time.strftime(day, there)}"


def _counts(found: LiveSweep) -> str:
    counts = [f"{found.counts[status]} {status}" for status in STATUSES if found.counts[status]]
    return f"{found.ended}/{len(found.jobs)} jobs ended: {', '.join(counts) or DASH}"


def _best_of(found: LiveSweep) -> str:
    best = found.best
    if best is None:
        return DASH if found.ranked else f"{DASH} (the jobs' ELBOs are not one quantity)"
    return f"elbo {show(best.live.best)} ({brief(best.label)}, epoch {best.live.best_epoch})"


def _done(found: LiveSweep) -> str:
    """When all is done; nothing where it is."""
    if found.queued and not found.running:
        jobs = ",".join(slurm_queue.jobs_of(found.queued))
        return f"{len(found.queued)} tasks are in Slurm's queue: squeue -j {jobs}"
    if found.alive:
        return _ready(found.left)
    return "" if found.over else "nobody trains here"


def _to_go_on(directory: Path) -> Text:
    return Text(f"to go on: vaex resume {shlex.quote(printable(directory))}")
