"""What the packed launcher makes of the sweeps that the others are held against."""

from pathlib import Path

import pytest

from tests.engines.support import GRID, LONG, done


def _packed(factory: pytest.TempPathFactory, name: str, overrides: tuple[str, ...]) -> Path:
    cwd = factory.mktemp(name)
    code, _, errors = done(cwd, "-m", *overrides, "hydra.sweep.dir=sweep")
    assert code == 0, errors
    return cwd / "sweep"


@pytest.fixture(scope="session")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve short jobs. Read only."""
    return _packed(tmp_path_factory, "twelve", GRID)


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two long jobs. Read only."""
    return _packed(tmp_path_factory, "two", LONG)
