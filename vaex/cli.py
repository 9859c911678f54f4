"""The command line: a first bare word is a verb, anything else is a Hydra override and trains."""

import atexit
import contextlib
import gc
import importlib
import io
import os
import sys
import traceback
from pathlib import Path

from vaex import __version__, process
from vaex.errors import InputError, VaexError, printable

INTERRUPTED = 130

VERBS = (
    "train", "resume", "reproduce", "compare", "evaluate", "diagnose", "figures",
    "sample", "encode", "decode", "interpolate", "traverse", "export", "explore", "data", "check", "diff", "status",
)  # fmt: skip
"""Each is a file in `vaex/commands/`."""

HELP = """\
vaex: an experiment framework for variational autoencoders

  vaex [train] [key=value ...]     train; the default is the book's VAE on Fashion-MNIST
  vaex -m key=a,b ...              sweep: one run for each combination
  vaex resume DIR [key=value ...]  go on with an interrupted run or sweep, exactly; training.epochs=50: train for longer
  vaex reproduce RUN [overrides]   run it again and compare: exit 0 the same, 1 different; overrides: a variation
  vaex compare DIR...              tables, verdicts and report.html of sweeps and runs: --by --against --target --out
  vaex evaluate DIR...             likelihood, used latents, probes of finished runs: evaluation.metrics=[elbo,nll]
  vaex diagnose RUN                why it diverged (or --step N): unit, example, layer, and which cures pass; --no-cures
  vaex figures RUN...              draw the figures of runs, all that fit or --only scatter,worst
  vaex sample RUN --n 24           images from the prior: --seed --temperature --out samples.png|samples.npy
  vaex encode RUN IMAGES           mu, sigma and ELBO of an .npy file, a folder, a picture: --out codes.npz|codes.csv
  vaex decode RUN CODES            mean images of codes: --out decoded.npy|decoded.png
  vaex interpolate RUN --from I --to J     vaex traverse RUN --image I        as pictures or arrays
  vaex export RUN DIR --format F   encoder, decoder, sampler for onnxruntime, JAX or NumPy (onnx, stablehlo, npz)
  vaex explore RUN...              one HTML file in which the model runs, to mail and to teach: --images --open
  vaex check experiment=NAME|DIR   does what was expected of a run or sweep come out? exit 0 yes, 1 no
  vaex diff A [B]                  what differs between runs, sweeps, experiment=NAME, the defaults: exit 0 nothing
  vaex status DIR...               how far runs and sweeps (a folder of them) are, by their files: --watch --json
  vaex data list|fetch|verify      the datasets and their files

`vaex VERB --help` shows a verb's own flags. Groups and their options (vaex loss=sigma dataset=digits ...):
{groups}

Other keys: seed, training.*, precision.*, tracking.*, checkpoint.*, sweep.*,
pack.*, compile.*, figures.*, evaluation.*, expect, plugins; `vaex --cfg job` prints them all.
Hydra's flags work as everywhere: --cfg, --config-dir, --config-name, --multirun, --shell-completion, --hydra-help.
"""


def main() -> None:
    """Run the command line; every error is one line on stderr."""
    process.prepare()
    gc.set_threshold(10_000)  # importing and tracing make many objects and little garbage: 0.4 s less of searching
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that has no σ or ─ must not stop a run
    code = _guarded(sys.argv[1:])
    gc.freeze()  # the interpreter's last searches through all objects take 0.6 s more
    if code == INTERRUPTED or _waited_for():
        _end_at_once(code)
    sys.exit(code)


def _waited_for() -> bool:
    """Whether other processes of the same run may wait for this one."""
    hosts = sys.modules.get("vaex.device.hosts")  # which is imported where several can be
    return hosts is not None and hosts.waited_for()


def _end_at_once(code: int) -> None:
    """End while XLA may still compute what nobody waits for: a thread of it that meets the interpreter's end aborts.

    (glibc: "FATAL: exception not rethrown", in one Ctrl-C of hundreds.) What is registered for the exit is done first.
    """
    if not _waited_for():  # JAX's own would wait for them in turn
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _guarded(arguments: list[str]) -> int:
    full = os.environ.get("HYDRA_FULL_ERROR") == "1"
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()  # here, where a closed pipe is handled, not at the interpreter's exit
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
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
        print(_help(first))
        return 0
    if first.startswith(("-", "+", "~")) or "=" in first or not first:
        return _verb("train", arguments)
    if first not in VERBS:
        from vaex.config.validation import nearest

        raise InputError(
            f"{first!r} is neither a command nor key=value{nearest(first, VERBS)} (commands: {', '.join(VERBS)})"
        )
    return _verb(first, arguments[1:])


def _help(first: str) -> str:
    """Of a verb, or of all."""
    if first not in VERBS or first == "train":
        return HELP.format(groups=_groups())
    from vaex.commands import flags

    module = importlib.import_module(f"vaex.commands.{first}")
    parser = module.parser() if hasattr(module, "parser") else flags.Parser(first, module.__doc__)
    return parser.format_help()


def _verb(name: str, arguments: list[str]) -> int:
    """Late, since most of what one verb imports no other needs."""
    return importlib.import_module(f"vaex.commands.{name}").main(arguments)


def _groups() -> str:
    """The groups of conf/ with their options, read from the file names: no import of Hydra, no delay."""
    inside = Path(__file__).parent / "conf"
    conf = inside if inside.is_dir() else Path(__file__).parent.parent / "conf"
    groups = sorted(path for path in conf.iterdir() if path.is_dir() and path.name != "hydra")
    return "\n".join(f"  {group.name:<12}{', '.join(sorted(p.stem for p in group.glob('*.yaml')))}" for group in groups)
