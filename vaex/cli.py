"""The command line: a first bare word is a verb, anything else is a Hydra override and trains."""

import argparse
import contextlib
import gc
import io
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vaex import __version__
from vaex.errors import InputError, VaexError, printable
from vaex.terminal import process

HELP = """\
vaex: an experiment framework for variational autoencoders

  vaex [train] [key=value ...]     train; the default is the book's VAE on Fashion-MNIST
  vaex -m key=a,b ...              sweep: one run for each combination
  vaex resume DIR [key=value ...]  go on with an interrupted run or sweep, exactly; training.epochs=50: train for longer
  vaex reproduce RUN [overrides]   run it again and compare: exit 0 the same, 1 different; overrides: a variation
  vaex compare DIR...              tables, verdicts and report.html of sweeps and runs: --by --against --target --out
  vaex figures RUN...              draw the figures of runs again (large sweeps draw none by themselves)
  vaex data list|fetch|verify      the datasets and their files

Groups and their options (vaex loss=sigma dataset=digits ...):
{groups}

Other keys: seed, training.*, precision.*, tracking.*, checkpoint.*, sweep.*,
pack.*, plugins; `vaex --cfg job` prints them all.
Hydra's flags work as everywhere: --cfg, --config-dir, --config-name, --multirun, --shell-completion, --hydra-help.
"""


def main() -> None:
    """Run the command line; every error is one line on stderr."""
    process.prepare()
    gc.set_threshold(10_000)  # importing and tracing make many objects and little garbage: 0.6 s less of searching
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that has no σ or ─ must not stop a run
    code = _guarded(sys.argv[1:])
    gc.freeze()  # the interpreter's last searches through all objects take 0.6 s more
    sys.exit(code)


def _guarded(arguments: list[str]) -> int:
    full = os.environ.get("HYDRA_FULL_ERROR") == "1"
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()  # here, where a closed pipe is handled, not at the interpreter's exit
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if full:
            traceback.print_exc()
        error = _without_place(error)
        with contextlib.suppress(OSError):  # standard error may be as full as the disk
            print(f"vaex: {_line(error)}", file=sys.stderr)
        return error.exit_code if isinstance(error, VaexError) else 3


def _without_place(error: Exception) -> Exception:
    """An error, which also says where it may come from when the working directory has been deleted."""
    try:
        Path.cwd()
    except FileNotFoundError:
        gone = "the working directory was deleted; cd to one that exists"
        if isinstance(error, FileNotFoundError):
            return InputError(gone)
        if isinstance(error, InputError):
            return InputError(f"{error} ({gone})")
    return error


def _line(error: Exception) -> str:
    """What went wrong, and where that is not said, how to find out."""
    if isinstance(error, VaexError):
        return str(error)
    if isinstance(error, PermissionError) and error.filename:
        return printable(f"{error.filename}: {error.strerror}")
    return f"{type(error).__name__}: {printable(' '.join(str(error).split()))} (HYDRA_FULL_ERROR=1 shows where)"


def _dispatch(arguments: list[str]) -> int:
    first = arguments[0] if arguments else ""
    if "--version" in arguments:
        print(f"vaex {__version__}")
        return 0
    if "--help" in arguments or "-h" in arguments:
        print(HELP.format(groups=_groups()))
        return 0
    if first.startswith(("-", "+", "~")) or "=" in first or not first:
        return _train(arguments)
    if first not in VERBS:
        from vaex.config.validation import nearest

        raise InputError(
            f"{first!r} is neither a command nor key=value{nearest(first, VERBS)} (commands: {', '.join(VERBS)})"
        )
    return VERBS[first](arguments[1:])


def _train(arguments: list[str]) -> int:
    """Compose and check everything, then let Hydra run it: one job, or a sweep."""
    parsed = _parse(arguments)
    overrides = set(parsed.overrides)
    flags = [item for item in arguments if item not in overrides]
    arguments = [*flags, *parsed.overrides]  # as Hydra wants them
    if parsed.experimental_rerun:
        raise InputError("--experimental-rerun would unpickle a file, which runs code; use `vaex reproduce RUN`")
    if parsed.hydra_help or parsed.shell_completion or parsed.info:
        return _print_by_hydra(arguments)
    from vaex.config.compose import compose

    command = compose(parsed)
    if parsed.cfg:
        return _print_by_hydra(arguments)
    from vaex.commands import train

    return train.train(command, lambda task, extra: _hydra([*flags, *command.asked, *extra], task))


def _parse(arguments: list[str]) -> argparse.Namespace:
    """Hydra's flags and the overrides; raises `InputError` where argparse would print its usage and exit."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        parsed, unknown = parser.parse_known_intermixed_args(arguments)
    except argparse.ArgumentError as error:
        raise InputError(f"{error}; `vaex --hydra-help` lists the flags") from error
    if unknown:
        raise InputError(f"unknown flag {unknown[0]!r}; `vaex --help` and `vaex --hydra-help` list what there is")
    return parsed


def _hydra(arguments: list[str], task: Callable[[Any], Any]) -> int:
    """Hand the command line to Hydra itself."""
    import hydra
    from hydra.errors import HydraException

    from vaex.config.compose import conf_directory

    asked = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would print before it exits by itself
    typed, sys.argv = sys.argv, ["vaex", *arguments]

    def as_typed(job: Any) -> Any:
        sys.argv = typed  # what a manifest records
        return task(job)

    try:
        hydra.main(config_path=str(conf_directory()), config_name="config", version_base="1.3")(as_typed)()
    except HydraException as error:
        raise InputError(" ".join(str(error).split())) from error
    finally:
        sys.argv = typed
        os.environ["HYDRA_FULL_ERROR"] = asked or "0"
    return 0


def _print_by_hydra(arguments: list[str]) -> int:
    """For Hydra's flags that print something and run nothing: what goes wrong there is the command line."""
    try:
        return _hydra(arguments, lambda _: None)
    except SystemExit as end:
        return 2 if end.code else 0
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        raise InputError(" ".join(str(error).split())) from error


def _figures(arguments: list[str]) -> int:
    from vaex.commands import figures as figures_command

    return figures_command.main(arguments)


def _data(arguments: list[str]) -> int:
    from vaex.commands import data as data_command

    return data_command.main(arguments)


def _resume(arguments: list[str]) -> int:
    from vaex.commands import resume

    return resume.main(arguments)


def _reproduce(arguments: list[str]) -> int:
    from vaex.commands import reproduce

    return reproduce.main(arguments)


def _compare(arguments: list[str]) -> int:
    from vaex.commands import compare

    return compare.main(arguments)


VERBS: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    "resume": _resume,
    "reproduce": _reproduce,
    "compare": _compare,
    "figures": _figures,
    "data": _data,
}


def _groups() -> str:
    """The groups of conf/ with their options, read from the file names: no import of Hydra, no delay."""
    inside = Path(__file__).parent / "conf"
    conf = inside if inside.is_dir() else Path(__file__).parent.parent / "conf"
    groups = sorted(path for path in conf.iterdir() if path.is_dir() and path.name != "hydra")
    return "\n".join(f"  {group.name:<12}{', '.join(sorted(p.stem for p in group.glob('*.yaml')))}" for group in groups)
