"""`vaex [train] [key=value…]`, `vaex -m …`: the command line is composed and checked, then Hydra runs it."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vaex.errors import InputError

if TYPE_CHECKING:
    from vaex.config.compose import Command


def main(arguments: list[str]) -> int:
    """Compose and check everything, then let Hydra run it: one job, or a sweep."""
    return run(arguments, checked=False)


def run(arguments: Sequence[str], checked: bool) -> int:
    """The verb; `checked`: as `vaex check` runs it, for which an experiment that is a sweep needs no `-m`."""
    from vaex.config.overrides import spelled_out  # late, as are most imports here: see below

    arguments = spelled_out(arguments)
    parsed = _parse(arguments)
    if checked:
        parsed.multirun = parsed.multirun or None
    overrides = set(parsed.overrides)
    flags = [item for item in arguments if item not in overrides]
    arguments = [*flags, *parsed.overrides]  # as Hydra wants them
    if parsed.experimental_rerun:
        raise InputError("--experimental-rerun would unpickle a file, which runs code; use `vaex reproduce RUN`")
    if parsed.hydra_help or parsed.shell_completion or parsed.info:
        return _print_by_hydra(arguments)
    command = _composed(parsed, checked)
    if parsed.cfg:
        return _print_by_hydra(arguments)
    from vaex.sweeping import start  # late, as are most imports here: what prints something and ends needs none of it

    swept = ["--multirun"] if command.multirun and not parsed.multirun else []
    return start.train(command, lambda task, extra: _hydra([*swept, *flags, *command.asked, *extra], task))


def composed(arguments: Sequence[str], checked: bool) -> "Command":
    """What overrides and Hydra's flags ask for, `-m` or not; raises `ConfigError`, one line."""
    parsed = _parse(arguments)
    parsed.multirun = parsed.multirun or None
    return _composed(parsed, checked)


def _composed(parsed: argparse.Namespace, checked: bool) -> "Command":
    from vaex.config.compose import compose

    return compose(parsed, checked)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Hydra's flags and the overrides; raises `InputError` where argparse would print its usage and exit."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        parsed, unknown = parser.parse_known_intermixed_args(list(arguments))
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
