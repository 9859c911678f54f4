"""`vaex reproduce RUN`: run it again from what is on disk, and say whether it came out the same (study/verdict.py).

Nothing is executed from the directory: its configuration is data, and plugins must be named again.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from vaex import config as configuration
from vaex import files
from vaex.checks import expectations
from vaex.commands import flags
from vaex.config import Config, compose
from vaex.config.overrides import among
from vaex.data import packed
from vaex.device import backend, compilation, hosts
from vaex.disk import provenance, saved
from vaex.disk.alterations import find_altered
from vaex.disk.directory import named_path, read_manifest, refuse_existing, reserve
from vaex.disk.saved import parse_saved
from vaex.errors import printable
from vaex.study import quantities
from vaex.study.verdict import Recorded, Verdict, compare, read_recorded
from vaex.terminal.screen import say
from vaex.terminal.tables import show
from vaex.tracking import tracker

NO_VARIATION = (
    *(key for key in configuration.NOT_IDENTITY if key != "compile"),
    saved.PLACE,
    configuration.PLACED,
    "hydra.run.dir",
)
"""What may be overridden without making another run of it; how it is compiled is the original's too."""

SHOWN = ("status", "epoch", "train/elbo", "valid/elbo", "valid/reconstruction", "valid/kl", "test/elbo")
"""Values of a variation that stand beside the original's."""


def main(arguments: Sequence[str]) -> int:
    """The verb; returns its exit code."""
    flags.refuse("reproduce", arguments)
    path, overrides = named_path("reproduce", arguments), list(arguments[1:])
    file = path / "config.yaml" if path.is_dir() else path
    written = saved.read_values(file)
    values, keys = compose.override(written, overrides)
    values = saved.with_data_found(values, keys, file.parent)
    if isinstance(values.get("tracking"), dict) and "tracking.mode" not in keys:
        values["tracking"]["mode"] = None  # a run that somebody sent does not decide that something goes online
    original = parse_saved(file, written | {"plugins": values.get("plugins")}, keys)
    config = tracker.resolved(parse_saved(file, values, keys))
    manifest = read_manifest(file.parent)
    if not all(among(key, NO_VARIATION) for key in keys):
        return _vary(file.parent, manifest, original, replace(config, expect=()), overrides)
    altered = find_altered(file.parent, manifest, original)
    if altered:
        return _tell(Verdict("different", altered))
    return _repeat(file.parent, manifest, config, overrides)


def _repeat(original: Path, manifest: dict[str, Any], config: Config, overrides: list[str]) -> int:
    """Run it again and compare."""
    then = read_recorded(original)
    backend.start(manifest, config.training.devices)
    from vaex.training import run  # late: with it comes jax, after the thread count is set

    with saved.telling_where_data_were_sought(config, original):
        run.check(config)
    expected = manifest.get("dataset_sha256")
    if expected and run.load(config.dataset).digest != expected:
        return _tell(Verdict("different", (_other_data(config),)))
    if damaged := _damaged(config):
        return _tell(Verdict("different", damaged))
    if not hosts.leads():
        return _follow(config)
    if expectations.is_a_job(original):  # what is expected there is of all jobs
        config = replace(config, expect=())
    changes = provenance.changes(manifest)
    for line in changes:
        say(f"not as then: {line}")
    directory, code = _run(original, manifest, config, overrides)
    if code > 1:
        return code
    if not then.rows and not then.summary:
        say("nothing was recorded to compare with: this is a first run of the configuration")
        return code
    causes = (*changes, *compilation.doubts(manifest))
    return _tell(compare(then, read_recorded(directory), causes), directory, original, changes)


def _damaged(config: Config) -> tuple[str, ...]:
    """Files of packed data that are not what their index says, whose digest is recorded: a run looks at sizes only."""
    folder = Path(getattr(config.dataset, "path", None) or "")
    if not packed.is_packed(folder):
        return ()
    return tuple(f"{folder / name}: {state} (SHA-256)" for name, state in packed.states(folder) if state != "here")


def _other_data(config: Config) -> str:
    path = getattr(config.dataset, "path", None)
    if path is None:
        return "the dataset here is not the one of the run (SHA-256 differs)"
    variation = f"dataset={config.dataset.name} {saved.PLACE}=..."
    return printable(
        f"{saved.named_data(config.dataset)} is not the run's (SHA-256 differs); {variation} is a variation"
    )


def _vary(original: Path, manifest: dict[str, Any], before: Config, config: Config, overrides: list[str]) -> int:
    """Run it otherwise and show both results side by side."""
    then = read_recorded(original)
    backend.start(manifest, config.training.devices)
    from vaex.training import run

    with saved.telling_where_data_were_sought(config, original):
        run.check(config)
    if not hosts.leads():
        return _follow(config)
    data = manifest.get("dataset_sha256"), run.load(config.dataset).digest
    moved = {f"{saved.PLACE}: "} if data[0] == data[1] else set()  # the same data elsewhere are no other data
    changed = [
        line
        for line in provenance.differences(configuration.dump(before), configuration.dump(config))
        if not line.startswith(tuple(moved))
    ]
    say("a variation:", *(f"  {line}" for line in changed))
    directory, code = _run(original, {}, config, overrides)
    if code > 1:
        return code
    _side_by_side(then, read_recorded(directory))
    both = zip((before, config), data, strict=True)
    say(*quantities.apart(quantities.Source(configuration.dump(each), str(digest)) for each, digest in both))
    content = {"original": str(original), "verdict": None, "overrides": overrides, "changed": changed}
    files.write_json(directory / "reproduce.json", content)
    return code


def _follow(config: Config) -> int:
    """Train with the first process, which compares."""
    from vaex.sweeping import ending
    from vaex.training import run

    return ending.of_run(run.run([[run.Job(config, Path(), "")]]))


def _run(original: Path, manifest: dict[str, Any], config: Config, overrides: list[str]) -> tuple[Path, int]:
    """Train in a new directory, in the pack that `manifest` names; returns the directory and the exit code."""
    from vaex.sweeping import ending
    from vaex.training import run

    chosen = [item.partition("=")[2].strip("'\"") for item in overrides if item.startswith("hydra.run.dir=")]
    wanted = Path(chosen[-1]) if chosen else Path(datetime.now().strftime("outputs/%Y-%m-%d/%H-%M-%S"))

    def packed(directory: Path) -> list[run.Job]:
        return run.with_its_pack(run.Job(config, directory, printable(f"reproduce {original}")), manifest)

    packed(wanted)  # refused before there is a directory
    directory = wanted if chosen else reserve(wanted)
    refuse_existing(directory)
    return directory, ending.of_run(run.run([packed(directory)]))


def _tell(verdict: Verdict, directory: Path | None = None, original: Path = Path(), changes: Sequence[str] = ()) -> int:
    """Print the verdict and put it into the new directory, if there is one; returns the exit code."""
    say(f"reproduce: {verdict.name}", *(f"  {reason}" for reason in verdict.reasons))
    if directory is not None:
        content = {
            "original": str(original),
            "verdict": verdict.name,
            "reasons": list(verdict.reasons),
            "environment": list(changes),
        }
        files.write_json(directory / "reproduce.json", content)
    return verdict.exit_code


def _side_by_side(then: Recorded, now: Recorded) -> None:
    say(f"  {'':<22}{'original':>24}{'variation':>24}")
    for key in SHOWN:
        before, after = ((side.summary or {}).get(key, "–") for side in (then, now))
        say(printable(f"  {key:<22}{_cell(before):>24}{_cell(after):>24}"))
    say("no verdict")


def _cell(value: Any) -> str:
    """A value as it is recorded; a number that nobody would read to its end is short."""
    return show(value) if isinstance(value, float) and abs(value) >= 1e9 else str(value)
