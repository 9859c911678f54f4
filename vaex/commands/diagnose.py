"""`vaex diagnose RUN [--step N]`: why it diverged, by replaying it to that step, and which change gets it past.

Names term, latent unit, layer and training image, and the limit of the number format. Then tries cures, each until 500
steps behind the place; the last line is the cheapest that holds from the run's start. Writes diagnose.json, .html and
.png into the run's directory (or --out), and changes nothing else there.
"""

import argparse
import contextlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaex import files
from vaex.commands import flags
from vaex.device import backend
from vaex.diagnosis import place
from vaex.disk import metrics, saved
from vaex.disk.alterations import find_altered
from vaex.disk.directory import read_manifest, refuse_links
from vaex.errors import InputError, VaexError, printable
from vaex.terminal.screen import say


def parser() -> flags.Parser:
    """Its flags."""
    found = flags.Parser("diagnose", __doc__)
    found.set_defaults(checkpoint="last")
    found.add_argument("words", nargs="*", metavar="RUN", help="its directory")
    found.add_argument("--step", type=flags.COUNT, metavar="N", help="look at this step (where it diverged)")
    found.add_argument("--steps", type=flags.COUNT, default=500, metavar="N", help="of a cure behind the place (500)")
    found.add_argument("--no-cures", action="store_true", help="only look")
    found.add_argument("--out", type=Path, metavar="DIR", help="where the files go (RUN)")
    found.add_argument("--force", action="store_true", help="write over files in DIR")
    return found


def main(arguments: Sequence[str]) -> int:
    """The verb; 0 when the run was looked at, or had nothing to look at."""
    chosen = parser().read(arguments)
    (directory,) = flags.words(chosen, "diagnose", ("RUN",))
    refuse_links(directory)
    steps = metrics.read_steps(directory / "steps.npz")
    step = chosen.step or place.of_divergence(steps)
    if step is None:
        return _finite(directory, place.of_largest_spike(steps), len(steps["loss"]))
    if step > len(steps["loss"]):
        raise InputError(f"--step: expected 1 to {len(steps['loss'])}, the steps of {directory}, got {step}")
    folder = _folder(chosen, directory)
    with files.locked(directory) if folder == directory else contextlib.nullcontext():
        return _diagnose(directory, chosen, step, steps, folder)


def _finite(directory: Path, spike: place.Spike | None, count: int) -> int:
    """What is said of a run whose last step was finite."""
    path = directory / "summary.json"
    summary = files.read_json(path) if path.exists() else {"status": "has not ended"}
    if summary.get("culprit") == "skip_above":
        say(printable(f"{directory} was given up at step {count}: too many steps in a row above training.skip_above"))
    else:
        say(printable(f"{directory} did not diverge: {summary.get('status')}, {count} steps, the last one finite"))
    if spike is None:
        say(f"its loss never rose above the median of the {metrics.SPIKE_WINDOW} steps before")
        return 0
    hint = f"vaex diagnose {shlex.quote(str(directory))} --step {spike.step}"
    above = f"{spike.nats:.3g} nats above the median of the {metrics.SPIKE_WINDOW} steps before"
    say(printable(f"its loss rose highest at step {spike.step}, {above}: `{hint}` looks at it"))
    return 0


def _folder(chosen: argparse.Namespace, directory: Path) -> Path:
    """Where the files go; raises `InputError` where they would replace others."""
    from vaex.diagnosis.diagnosis import NAMES

    if chosen.out is None:
        _refuse_losing_cures(directory, chosen)
        return directory
    there = [name for name in NAMES if (chosen.out / name).exists()]
    if there and not chosen.force:
        raise InputError(f"{chosen.out / there[0]}: exists already; name another --out, or write over it by --force")
    try:
        chosen.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out: {chosen.out}: {files.first_line(error)}") from error
    return chosen.out


def _diagnose(
    directory: Path, chosen: argparse.Namespace, step: int, steps: dict[str, np.ndarray], folder: Path
) -> int:
    manifest, config = read_manifest(directory), saved.read_saved(directory, chosen.overrides)
    backend.start(manifest)
    from vaex.diagnosis.diagnosis import Diagnosis  # late: after the thread count is set
    from vaex.training import run

    with saved.telling_where_data_were_sought(config, directory):
        dataset = run.load(config.dataset)
    if manifest.get("dataset_sha256"):
        saved.refuse_other_data(directory, config.dataset, dataset.digest, manifest["dataset_sha256"])
    plugins = [word for word in chosen.overrides if word.startswith("plugins=")]
    for line in find_altered(directory, manifest, saved.read_as_written(directory, plugins)):
        say(printable(f"not as the run left it: {line}"))
    diagnosis = Diagnosis(directory, chosen.overrides, manifest, step, steps)
    say(*map(printable, diagnosis.content["lines"]))
    _write(folder, diagnosis.files())
    if not diagnosis.content["diverged"]:
        say("the step was finite: nothing to cure")
    elif not chosen.no_cures:
        return _cure(diagnosis, chosen.steps, folder)
    return 0


def _cure(diagnosis: Any, beyond: int, folder: Path) -> int:
    """Try the cures; what is known of them is written, also where the rest is cut off."""
    say("cures:")
    try:
        for line in diagnosis.try_cures(beyond):
            say(printable(line))
    except KeyboardInterrupt:
        say(printable(diagnosis.interrupted()))
        raise
    finally:
        _write(folder, diagnosis.files())
    return 0


def _refuse_losing_cures(folder: Path, chosen: argparse.Namespace) -> None:
    """Raise `InputError` where a second look would write over the cures of the first: they took minutes."""
    before = {}
    with contextlib.suppress(InputError):  # none, or a damaged one
        before = files.read_json(folder / "diagnose.json")
    if before.get("cures") and not chosen.force:
        raise InputError(
            f"{folder / 'diagnose.json'}: has cures already; name another --out, or write over it by --force"
        )


def _write(folder: Path, contents: dict[str, bytes]) -> None:
    try:
        for name, content in contents.items():
            files.write(folder / name, content)
    except OSError as error:
        raise VaexError(f"{folder}: cannot be written ({files.first_line(error)})") from error
