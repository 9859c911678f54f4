"""`vaex evaluate RUN|SWEEP… [evaluation.KEY=VALUE …]`: measure finished runs, several side by side."""

import logging
import queue
import shlex
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from vaex import config as configuration
from vaex import files
from vaex.commands import flags
from vaex.config import compose
from vaex.config.evaluation import SECTION
from vaex.device import backend
from vaex.disk import saved, sweep, threads
from vaex.disk.directory import named_path, read_manifest, refuse_links
from vaex.disk.saved import read_saved
from vaex.errors import ConfigError, InputError, VaexError, printable
from vaex.terminal.evaluation import EvaluationDisplay
from vaex.terminal.screen import say
from vaex.terminal.stop import Signals
from vaex.tracking.telling import Teller

log = logging.getLogger("vaex")

TAKEN = (f"{SECTION}.", "plugins=", f"{saved.PLACE}=")


def parser() -> flags.Parser:
    """It has no flags: what is measured is a configuration's section."""
    found = flags.Parser("evaluate", __doc__)
    found.add_argument("words", nargs="*", metavar="RUN")
    return found


def main(arguments: Sequence[str]) -> int:
    """The verb; exit code 0, or 1 when something could not be measured."""
    arguments = parser().read(arguments).words
    overrides = [item for item in arguments if "=" in item and not Path(item).exists()]
    _check(overrides)
    named = [Path(item) for item in arguments if item not in overrides]
    named = [path for path in named if not path.is_file()]  # SWEEP/* also gives sweep.csv and the like
    if not named:
        named_path("evaluate", [])
    sweeps = [path for path in named if (path / sweep.NAME).exists() or (path / "multirun.yaml").exists()]
    directories = [run for path in named for run in (_left_to_evaluate(path) if path in sweeps else [_run(path)])]
    directories = list(dict.fromkeys(directories))
    _refuse_nothing(directories, overrides)
    backend.start(next(filter(None, map(_manifest, directories)), {}))
    display, stop = EvaluationDisplay(len(directories)), Signals("stopping; what has been measured is kept")
    teller = Teller()
    try:
        failed = _evaluate_all(directories, overrides, display, stop, teller)
    finally:
        display.close()
    _write_tables(sweeps)
    teller.wait()
    if stop.signal:
        return 128 + stop.signal
    return 1 if failed else 0


def _check(overrides: Sequence[str]) -> None:
    """Raise `ConfigError` for what is wrong whatever the run: an unknown key, an unknown metric, a wrong value."""
    known = {**saved.completed({}), "plugins": []}
    for item in overrides:
        if not item.startswith(TAKEN):
            raise ConfigError(
                f"{item}: vaex evaluate takes {SECTION}.KEY=VALUE, plugins=[...] and {saved.PLACE}=..., "
                f"as in `vaex evaluate RUN {SECTION}.metrics=[elbo,nll]`"
            )
    values, _ = compose.override(known, [item for item in overrides if not item.startswith(saved.PLACE)])
    plugins = values["plugins"] if isinstance(values["plugins"], list) else []
    configuration.parse_evaluation(values, list(map(str, plugins)))


def _refuse_nothing(directories: Sequence[Path], overrides: Sequence[str]) -> None:
    """Raise `InputError` where no run, nor the command, says what to measure."""
    named = [item.partition("=")[2] for item in overrides if item.startswith(f"{SECTION}.metrics=")]
    if named and named[-1].strip("[] "):
        return
    for directory in directories if not named else ():
        with suppress(InputError, LookupError, TypeError):  # a damaged one is named in its turn
            if saved.read_values(directory / "config.yaml")[SECTION]["metrics"]:
                return
    raise InputError(f"vaex evaluate: {directories[0]} {_nothing()}")


def _nothing() -> str:
    known = ", ".join(configuration.ours(SECTION))
    return f"names no metric; add {SECTION}.metrics=[elbo,nll] (metrics: {known})"


def _left_to_evaluate(path: Path) -> list[Path]:
    """The jobs of a sweep, less those that its rule has stopped: these are counted in a line."""
    from vaex.disk import results  # late: pandas takes long to import

    jobs = results.job_directories(path)
    left = [job for job in jobs if not _was_stopped(job)]
    if jobs and not left:
        raise InputError(f"{path}: no job is left to evaluate: all were stopped early")
    if len(left) < len(jobs):
        say(printable(f"{path}: {len(jobs) - len(left)} jobs were stopped early and are not evaluated"))
    return left


def _was_stopped(directory: Path) -> bool:
    with suppress(InputError):  # a damaged one is named in its turn
        return sweep.status_of(directory) == "stopped"
    return False


def _run(path: Path) -> Path:
    named_path("evaluate", [str(path)])
    return path


def _manifest(directory: Path) -> dict[str, object]:
    with suppress(InputError):
        return read_manifest(directory)
    return {}


def _evaluate_all(
    directories: Sequence[Path], overrides: Sequence[str], display: EvaluationDisplay, stop: Signals, teller: Teller
) -> int:
    """Evaluate runs, one on each core at a time; returns how many of them left something unmeasured."""
    # Late, since with them comes jax, after the thread count is set; here, since threads had better not import.
    from vaex.trained import evaluation, model  # noqa: F401
    from vaex.training.run import wait

    waiting: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for directory in directories:
        waiting.put(directory)
    failed: list[Path] = []

    def work() -> None:
        with suppress(queue.Empty):
            while not stop.asked:
                directory = waiting.get_nowait()
                if not _evaluate(directory, overrides, display, stop, teller):
                    failed.append(directory)

    lanes = min(threads.cores(), len(directories))
    wait([threading.Thread(target=work, name=f"lane {number}") for number in range(lanes)], stop)
    return len(failed)


def _evaluate(
    directory: Path, overrides: Sequence[str], display: EvaluationDisplay, stop: Signals, teller: Teller
) -> bool:
    """Evaluate one run; returns whether all was measured. What was not is one line on stderr."""
    from vaex.trained import evaluation
    from vaex.trained.model import read_model

    try:
        refuse_links(directory)
        status = files.read_json(directory / "summary.json").get("status")
        if status != "finished":
            ended = status if isinstance(status, str) else "its summary.json has no status"
            raise InputError(
                f"{directory}: {printable(ended)}: only a finished run is evaluated{_hint(directory, status)}"
            )
        config = read_saved(directory, overrides)
        if not config.evaluation.common.metrics:
            raise InputError(f"{directory}: {_nothing()}")
        with files.locked(directory):
            model = read_model(directory, config)
            display.start(directory, config.evaluation.common.metrics)
            done = evaluation.evaluate(
                model, config.evaluation, directory, stop, lambda text: display.tell(directory, text)
            )
        display.end(directory, done.found)
        if done.columns:
            teller.tell(config, directory, _manifest(directory).get("run_id"), done.columns)
        return not done.failed
    except VaexError as error:
        log.error("%s", error)
    except Exception as error:
        log.error("%s: %s", directory, printable(f"{type(error).__name__}: {files.first_line(error)}"))
    display.end(directory, {})
    return False


def _hint(directory: Path, status: object) -> str:
    resume = f"; `vaex resume {shlex.quote(str(directory))}"
    hints = {"interrupted": f"{resume}` goes on with it", "stopped": f"{resume} training.epochs=N` takes it to its end"}
    return hints.get(str(status), "")


def _write_tables(sweeps: Sequence[Path]) -> None:
    """Write sweep.csv of the sweeps again, with what has been measured."""
    for directory in sweeps:
        from vaex.disk import results

        try:
            results.write_sweep_csv(directory)
        except (OSError, InputError) as error:
            log.warning("%s: not written (%s)", directory / "sweep.csv", files.first_line(error))
