"""Whether two sweeps came to the same, byte for byte: `python -m tests.engines.same A B`."""

import csv
import sys
from pathlib import Path

from tests.support.processes import OF_THE_MACHINE, results


def table(directory: Path) -> list[dict[str, str]]:
    """The rows of a sweep.csv, less what differs between two runs of one configuration."""
    with (directory / "sweep.csv").open() as file:
        return [{key: value for key, value in row.items() if key not in OF_THE_MACHINE} for row in csv.DictReader(file)]


def assert_same(one: Path, other: Path) -> None:
    """Tables, rows, steps and models of two sweeps' jobs are the same."""
    assert table(one) == table(other)
    jobs = sorted(path.name for path in one.iterdir() if path.name.isdecimal())
    assert jobs
    assert jobs == sorted(path.name for path in other.iterdir() if path.name.isdecimal())
    for job in jobs:
        assert results(one / job) == results(other / job), job


if __name__ == "__main__":
    assert_same(*map(Path, sys.argv[1:]))
    print("the same")
