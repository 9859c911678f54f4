"""What a command finds when it starts: variables that are set and empty, streams that are closed."""

import logging
import os
import sys

EMPTY_IS_UNSET = ("NPROC", "JAX_", "WANDB_", "VAEX_DATA", "HYDRA_FULL_ERROR", "HOME", "XDG_CACHE_HOME", "COLUMNS")
"""Variables, or their beginnings, that say nothing when they are empty. `VAEX_CACHE=` does: no cache."""


def prepare() -> None:
    """Make the surroundings of a command those that all the rest, libraries included, can rely on."""
    open_closed_streams()
    unset_empty_variables()
    os.environ["MPLBACKEND"] = "agg"  # pictures are files; a notebook's backend, which its `!vaex` inherits, may lack
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # its remarks on a matplotlibrc or a missing home


def open_closed_streams() -> None:
    """Give `vaex >&-` a standard output that goes nowhere, before a file of ours gets its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number, inheritable=True)
                os.close(descriptor)
        if getattr(sys, name) is None:
            stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115  # the process keeps it
            setattr(sys, name, stream)


def unset_empty_variables() -> None:
    """Take a variable that is set and empty for one that is not set, as a script's `NPROC=$threads` means it."""
    for name in [name for name, value in os.environ.items() if not value and name.startswith(EMPTY_IS_UNSET)]:
        del os.environ[name]
