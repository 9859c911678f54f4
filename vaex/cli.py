"""The command line: a first bare word is a verb, anything else is a Hydra override and trains."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vaex import __version__
from vaex.errors import InputError, VaexError

HELP = """\
vaex: an experiment framework for variational autoencoders

  vaex [train] [key=value ...]     train; the default is the book's VAE on Fashion-MNIST
  vaex -m key=a,b ...              sweep: one run for each combination
  vaex resume DIR [key=value ...]  go on with an interrupted run, exactly; training.epochs=50: train for longer
  vaex reproduce RUN [overrides]   run it again and compare: exit 0 the same, 1 different; overrides: a variation
  vaex data list|fetch|verify      the datasets and their files

Groups and their options (vaex loss=sigma dataset=digits ...):
{groups}

Other keys: seed, training.*, precision.*, tracking.*, checkpoint.*, plugins; `vaex --cfg job` prints them all.
Hydra's flags work as everywhere: --cfg, --config-dir, --config-name, --multirun, --shell-completion, --hydra-help.
"""


def main() -> None:
    """Run the command line; every error is one line on stderr."""
    sys.exit(_guarded(sys.argv[1:]))


def _guarded(arguments: list[str]) -> int:
    try:
        return _dispatch(arguments)
    except VaexError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            traceback.print_exc()
        print(f"vaex: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            traceback.print_exc()
        text = " ".join(str(error).split())
        print(f"vaex: {type(error).__name__}: {text} (HYDRA_FULL_ERROR=1 shows where)", file=sys.stderr)
        return 3


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
        from vaex.config import nearest

        raise InputError(
            f"{first!r} is neither a command nor key=value{nearest(first, VERBS)} (commands: {', '.join(VERBS)})"
        )
    return VERBS[first](arguments[1:])


def _train(arguments: list[str]) -> int:
    """Compose and check everything, then let Hydra run it: one job, or a sweep."""
    from hydra._internal.utils import get_args_parser

    parsed, unknown = get_args_parser().parse_known_args(arguments)
    if unknown:
        raise InputError(f"unknown flag {unknown[0]!r}; `vaex --help` and `vaex --hydra-help` list what there is")
    if parsed.experimental_rerun:
        raise InputError("--experimental-rerun would unpickle a file, which runs code; use `vaex reproduce RUN`")
    if parsed.hydra_help or parsed.shell_completion or parsed.info:
        return _hydra(arguments, _no_task)
    from vaex.compose import compose

    command = compose(parsed)
    if parsed.cfg:
        return _hydra(arguments, _no_task)
    from vaex import provenance, train

    provenance.set_thread_count()
    return train.train(command, lambda task, extra: _hydra([*arguments, *extra], task))


def _hydra(arguments: list[str], task: Callable[[Any], Any]) -> int:
    """Hand the command line to Hydra itself."""
    import hydra

    from vaex.compose import conf_directory

    sys.argv = ["vaex", *arguments]
    hydra.main(config_path=str(conf_directory()), config_name="config", version_base="1.3")(task)()
    return 0


def _no_task(_: Any) -> None:
    """For Hydra's flags that print something and run nothing."""


def _data(arguments: list[str]) -> int:
    from vaex import data_command

    return data_command.main(arguments)


def _resume(arguments: list[str]) -> int:
    from vaex import resume

    return resume.main(arguments)


def _reproduce(arguments: list[str]) -> int:
    from vaex import reproduce

    return reproduce.main(arguments)


VERBS: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    "resume": _resume,
    "reproduce": _reproduce,
    "data": _data,
}


def _groups() -> str:
    """The groups of conf/ with their options, read from the file names: no import of Hydra, no delay."""
    inside = Path(__file__).parent / "conf"
    conf = inside if inside.is_dir() else Path(__file__).parent.parent / "conf"
    groups = sorted(path for path in conf.iterdir() if path.is_dir())
    return "\n".join(f"  {group.name:<12}{', '.join(sorted(p.stem for p in group.glob('*.yaml')))}" for group in groups)
