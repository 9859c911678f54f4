"""The device is opened before anything asks for a number, and its failure is said as what it is, by every verb."""

import os
from pathlib import Path

import jax
import pytest

from tests.conftest import Command, Finished, command
from tests.support.processes import results
from vaex import cli
from vaex.device import backend
from vaex.disk import provenance, threads
from vaex.errors import InputError
from vaex.figures import gallery

QUICK = ("dataset=digits", "dataset.limit=200", "training.epochs=1")


@pytest.mark.parametrize(
    "arguments",
    [
        QUICK,
        ("-m", "seed=0,1", *QUICK),
        ("resume", "RUN", "training.epochs=3"),
        ("resume", "SWEEP"),
        ("reproduce", "RUN"),
        ("reproduce", "RUN", "seed=3"),
        ("figures", "RUN"),
    ],
    ids=" ".join,
)
def test_every_verb_says_what_is_wrong_with_the_device_and_leaves_nothing(
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    digits_run: Finished,
    digits_sweep: Finished,
):
    places = {"RUN": str(digits_run.directory), "SWEEP": str(digits_sweep.directory)}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_TRANSFER_GUARD", "disallow")
    before = {path: path.stat().st_mtime_ns for path in digits_run.directory.rglob("*")}
    with jax.transfer_guard("disallow"):  # what the variable would have set at JAX's import
        code = cli._guarded([places.get(argument, argument) for argument in arguments])
    (line,) = capfd.readouterr().err.splitlines()
    assert code == 3
    assert line.startswith("vaex: JAX_TRANSFER_GUARD=disallow: JAX cannot use such a device here (")
    assert "unset it" in line
    assert not list(tmp_path.iterdir())
    assert {path: path.stat().st_mtime_ns for path in digits_run.directory.rglob("*")} == before


@pytest.mark.parametrize(
    ("given", "trains", "expected"), [(None, True, None), (None, False, "false"), ("x", False, "x")]
)
def test_who_does_not_train_leaves_the_memory_of_a_gpu_to_others(
    given: str | None, trains: bool, expected: str | None, monkeypatch: pytest.MonkeyPatch
):
    """As XLA is told when it opens one; what is started later is not told."""
    told = []
    monkeypatch.delenv(backend.PREALLOCATE, raising=False)
    if given:
        monkeypatch.setenv(backend.PREALLOCATE, given)
    monkeypatch.setattr(jax, "block_until_ready", lambda _: told.append(os.environ.get(backend.PREALLOCATE)))
    backend.start(trains=trains)
    assert told == [expected]
    assert os.environ.get(backend.PREALLOCATE) == given


def test_a_platform_that_is_not_there(vaex: Command, tmp_path: Path):
    done = vaex(*QUICK, JAX_PLATFORMS="nowhere")
    (line,) = done.stderr.splitlines()
    assert done.code == 3
    assert line.startswith("vaex: JAX_PLATFORMS=nowhere: JAX cannot use such a device here (")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--nonsense", "XLA_FLAGS=--nonsense: Unknown flag in XLA_FLAGS: --nonsense; correct it, or unset it"),
        ("--xla_cpu_enable_fast_math=so", "Couldn't interpret value so for flag xla_cpu_enable_fast_math; correct it"),
        ("no_such_file", 'Could not open file "no_such_file"'),
    ],
)
def test_flags_at_which_xla_would_end_the_process_are_refused(
    flags: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLA_FLAGS", flags)
    assert cli._guarded(list(QUICK)) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("vaex: XLA_FLAGS=")
    assert words in line
    assert not list(tmp_path.iterdir())


def test_flags_that_xla_knows_are_taken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2 --xla_cpu_enable_fast_math=false")
    backend.start()


STRANGE = {
    "JAX_ENABLE_X64": "1",
    "JAX_DISABLE_JIT": "1",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_DEBUG_INFS": "1",
    "JAX_TRANSFER_GUARD": "",
    "JAX_COMPILATION_CACHE_DIR": "",
    "VAEX_CACHE": "~nobody-of-this-name/x",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "WANDB_TAGS": "",
}


def test_a_strange_environment_without_an_output_changes_no_bit(tmp_path: Path, digits_run: Finished):
    """Others' settings, a notebook's backend, empty variables, no cache, no standard output: one line, the same run."""
    closed = ("bash", "-c", 'exec "$@" >&-', "bash")
    done = command(tmp_path, "dataset=digits", "training.epochs=2", before=closed, **STRANGE)
    assert done.code == 0
    assert done.stderr == (
        "vaex: no compiled programs are kept: VAEX_CACHE=~nobody-of-this-name/x: there is no such home directory; "
        "name a place for programs by VAEX_CACHE=DIR\n"
    )
    assert results(done.directory) == results(digits_run.directory)
    assert {path.stem for path in (done.directory / "figures").glob("*.png")} == set(gallery.AT_END)


@pytest.mark.parametrize("named", ["2.5", "two", "0", "-1", "99999", "²"])
def test_a_number_of_threads_that_is_none_is_refused(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NPROC", named)
    assert cli._guarded(list(QUICK)) == 2
    said = capfd.readouterr().err
    assert said == f"vaex: NPROC: expected a number of threads from 1 to 1024, got '{named}'\n"
    assert not list(tmp_path.iterdir())


def test_an_empty_number_of_threads_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NPROC", "")
    assert threads.count() == 0
    threads.set_count()
    assert threads.count() == threads.cores()
    monkeypatch.setenv("NPROC", "2.5")
    provenance.restore({"environment": {"threads": 3}})  # a run's own number needs no other
    assert threads.count() == 3
    monkeypatch.setenv("NPROC", "2.5")
    with pytest.raises(InputError, match="NPROC"):
        provenance.restore({})
