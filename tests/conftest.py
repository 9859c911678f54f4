"""What all tests share: checked shapes, W&B kept to temporary directories, the real command line, two finished runs."""

import gc
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jaxtyping
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from tests.support import processes
from tests.support.processes import PATIENCE, ROOT

CHECKED = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "vaex").rglob("*.py")
    if path.stem != "__init__"
]
jaxtyping.install_import_hook(CHECKED, "beartype.beartype")  # every call's types and shapes
jax.config.update("jax_numpy_rank_promotion", "raise")
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

DIGITS = ("dataset=digits", "training.epochs=2")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first: a worker takes whole files, and would be alone with it at the end."""
    items.sort(key=lambda item: item.path.name != "test_sweep.py")


def pytest_configure(config: pytest.Config) -> None:
    """OmegaConf's classes are written in old type hints, which beartype remarks upon."""
    config.addinivalue_line("filterwarnings", "ignore::beartype.roar.BeartypeDecorHintPep585DeprecationWarning")


def pytest_collection_finish() -> None:
    """Tracing makes many objects and little garbage, as `vaex` itself knows: a twelfth of the tests that compile."""
    gc.freeze()
    gc.set_threshold(10_000)


class Finished(NamedTuple):
    """A command that has ended, the directory it ran in and what it printed."""

    code: int
    stdout: str
    stderr: str
    cwd: Path

    @property
    def directory(self) -> Path:
        """The one run or sweep directory that it left under outputs/."""
        (directory,) = (self.cwd / "outputs").glob("*/*")
        return directory


Command = Callable[..., Finished]


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests in this process have the environment of those in others."""
    programs = processes.common(tmp_path_factory.getbasetemp()) / "programs"
    wanted = processes.environment(tmp_path_factory.mktemp("environment"), programs)
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - wanted.keys():
            patch.delenv(name)
        for name, value in wanted.items() - os.environ.items():
            patch.setenv(name, value)
        keep_own_programs(tmp_path_factory.mktemp("programs"))
        yield


def keep_own_programs(folder: Path) -> None:
    """JAX's own cache for this process: of its thousands of small programs vaex's would look at all each time."""
    from vaex.device import compilation_cache  # late: its import is hooked above

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(folder))
        compilation_cache.start()  # leaves JAX's to JAX, once and for all
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    """A test that fails between the start of a run and its end takes it along."""
    yield
    if processes.server.cache_info().currsize:
        processes.server().kill_all()


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """A command in this process sets loggers up for its own output; the next test finds them as they were."""
    before = [(log, log.handlers[:], log.level, log.propagate) for log in map(logging.getLogger, ("", "vaex"))]
    yield
    for log, handlers, level, propagate in before:
        log.handlers[:], log.propagate = handlers, propagate
        log.setLevel(level)


def command(
    cwd: Path, *arguments: object, before: Sequence[str] = (), timeout: float = PATIENCE, **variables: str
) -> Finished:
    """Run `python -m vaex` in `cwd`, perhaps behind another command, with further environment variables."""
    done = subprocess.run(
        [*before, sys.executable, "-m", "vaex", *map(str, arguments)],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"} | variables,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return Finished(done.returncode, done.stdout, done.stderr, cwd)


@pytest.fixture
def vaex(tmp_path: Path) -> Command:
    """The real command line, run in this test's own directory."""
    return lambda *arguments, **variables: command(tmp_path, *arguments, **variables)


def once(factory: pytest.TempPathFactory, name: str, *arguments: str) -> Finished:
    """A command that ends well, run by the first of pytest's processes that asks for it."""
    folder = processes.common(factory.getbasetemp())
    cwd, printed = folder / name, folder / f"{name}.printed"
    with FileLock(folder / f"{name}.lock"):
        if not printed.exists():
            shutil.rmtree(cwd, ignore_errors=True)  # of an attempt that failed
            cwd.mkdir()
            done = command(cwd, *arguments)
            assert done.code == 0, done.stderr
            printed.write_text(json.dumps(done[:3]))
    return Finished(*json.loads(printed.read_text()), cwd)


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """`vaex dataset=digits training.epochs=2`, finished. Read only."""
    return once(tmp_path_factory, "run", *DIGITS)


@pytest.fixture(scope="session")
def digits_sweep(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Four jobs, two programs, finished; job 2 is `digits_run` again. Read only."""
    grid = ("-m", "model.latent_dim=5,10", "optimizer.learning_rate=1e-3,2e-3")
    return once(tmp_path_factory, "sweep", *grid, *DIGITS)
