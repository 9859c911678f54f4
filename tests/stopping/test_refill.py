"""Lanes of a vmapped pack that further jobs take when a run has ended: who, when, and that no bit is another."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.stopping.test_stopped import Swept, swept
from tests.support.configurations import make
from tests.support.processes import results
from vaex import files
from vaex.commands import reproduce, resume
from vaex.config import Config
from vaex.disk import sweep
from vaex.disk.directory import Job
from vaex.engines.engine import Here
from vaex.sweeping import going_on, task
from vaex.terminal.stop import Stop
from vaex.training.packs import Listed, Room, cheaper

LANES, EPOCHS = 3, 4
SMALL = (
    "dataset=digits", "dataset.limit=100", "model.hidden=[4]", "model.latent_dim=2", f"training.epochs={EPOCHS}",
    "tracking.mode=disabled", "sweep.figures_up_to=0", "pack.strategy=vmap", f"pack.max_runs={LANES}",
    "sweep.stop.min_epochs=1", "sweep.stop.factor=2",
)  # fmt: skip
RATES = (1e-2, 1e-4, 1e30)
"""Good, bad, and one that diverges within an epoch."""


def grid(*overrides: str) -> list[Config]:
    """Nine jobs, three packs of one program."""
    config = make(*SMALL, *overrides)
    return [
        replace(config, optimizer=replace(config.optimizer, learning_rate=rate), seed=seed)
        for seed in (0, 1, 2)
        for rate in RATES
    ]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Swept, Swept]:
    """The sweep to its end, whose lanes nobody refills, and the one with a rule."""
    folder = tmp_path_factory.mktemp("refill")
    return swept(folder / "full", grid()), swept(folder / "early", grid("sweep.stop=asha"))


def record(directory: Path) -> dict[str, Any]:
    """What a run's manifest says of its pack."""
    return files.read_json(directory / "manifest.json")["pack"]


def refilled(swept: Swept) -> list[int]:
    return [number for number in range(9) if record(swept.directory / str(number)).get("refilled")]


@pytest.mark.parametrize(
    ("lanes", "free", "waiting", "left", "epochs", "cheap"),
    [
        (8, 4, 16, 8, 9, True),  # 1 epoch more for 4 jobs; a new pack takes 9 for 8
        (8, 1, 16, 8, 9, True),  # 1 more for 1 job against 9/8
        (8, 1, 16, 7, 9, False),  # 2 more
        (8, 1, 8, 1, 9, False),  # one lane alone for 8 epochs while a whole pack waits
        (8, 7, 8, 1, 9, False),  # 8 epochs for 7 jobs, 9 for 8
        (8, 7, 7, 1, 9, True),  # all that wait
        (8, 1, 1, 1, 9, True),  # 8 epochs more, not 9
        (8, 1, 2, 1, 9, False),
        (8, 1, 16, 9, 9, True),  # it goes on as long anyway
        (8, 3, 0, 8, 9, False),  # for nobody
        (8, 0, 8, 8, 9, False),
    ],
)
def test_when_a_lane_is_cheaper_than_a_pack(lanes: int, free: int, waiting: int, left: int, epochs: int, cheap: bool):
    assert cheaper(lanes, free, waiting, left, epochs) is cheap


def room(jobs: Sequence[Job], fits: Any, alike: Any) -> Room:
    return Room(jobs, free=2, left=3, epochs=4, alike=alike, fits=fits)


def test_a_list_gives_jobs_of_its_last_packs_of_the_same_program(tmp_path: Path):
    """Ghosts take their places, and a pack of nobody else is gone; a pack that goes on gives nothing."""
    jobs = [Job(config, tmp_path / str(n), "", number=n) for n, config in enumerate(grid())]
    packs = [jobs[:3], jobs[3:6], jobs[6:]]
    source = Listed(packs)
    first = source.take(Stop())
    assert first == packs[0]
    here = room(first, fits=lambda job: job.number != 7, alike=lambda jobs: True)
    taken = [source.refill(here) for _ in range(3)]
    assert [job and job.number for job in taken] == [6, 8, 3]
    assert source.refill(room(first, fits=lambda _: True, alike=lambda jobs: jobs[0].number == 6)) == jobs[7]
    assert [(job.number, job.ghost) for job in source.take(Stop()) or ()] == [(3, True), (4, False), (5, False)]
    assert source.take(Stop()) is None
    for going_on_ in ({"resumed": True}, {"until": 2}):
        source = Listed([[replace(job, **going_on_) for job in jobs[:3]]])
        assert source.refill(room(first, fits=lambda _: True, alike=lambda jobs: True)) is None


@pytest.mark.slow
def test_a_refilled_lane_changes_no_bit_of_anybody(both: tuple[Swept, Swept]):
    """Neither of who is in it, nor of its neighbours, nor of who is left in the pack that it came from."""
    full, early = both
    assert refilled(full) == []  # though lanes stood still: without a rule a sweep is what it was
    assert full.statuses.count("diverged") == 3
    assert len(refilled(early)) >= 2
    assert "finished" in [early.statuses[number] for number in refilled(early)]
    for number, status in enumerate(early.statuses):
        reference, mine = (results(each.directory / str(number)) for each in both)
        assert mine == reference or (status == "stopped" and mine[0] == reference[0][: len(mine[0])])
        manifest = files.read_json(early.directory / str(number) / "manifest.json")
        assert manifest["pack"]["runs"] == LANES


@pytest.mark.slow
def test_a_refilled_run_is_that_of_a_fresh_pack(both: tuple[Swept, Swept], tmp_path: Path, monkeypatch: Any):
    """`vaex reproduce` makes it in a pack that has not been refilled."""
    _, early = both
    monkeypatch.chdir(tmp_path)
    for number in refilled(early):
        if early.statuses[number] == "finished":
            assert reproduce.main([str(early.directory / str(number)), "hydra.run.dir=again"]) == 0
            assert results(tmp_path / "again") == results(early.directory / str(number))
            shutil.rmtree(tmp_path / "again")


@pytest.mark.slow
def test_stopped_runs_of_a_refilled_pack_taken_to_their_end(both: tuple[Swept, Swept], tmp_path: Path):
    """Those that took a lane, those whose lane was taken, and those left in the pack that gave jobs away."""
    full, early = both
    directory = Path(shutil.copytree(early.directory, tmp_path / "sweep"))
    assert {*early.stopped} & {*refilled(early)}
    assert {*early.stopped} - {*refilled(early)}
    for number in early.stopped:
        assert resume.main([str(directory / str(number)), f"training.epochs={EPOCHS}"]) == 0
        assert results(directory / str(number)) == results(full.directory / str(number))


def cut(directory: Path, number: int, epoch: int) -> None:
    """Leave of a run what it had after an epoch, as if it had been killed then."""
    place = directory / str(number)
    (place / "summary.json").unlink()
    for path in place.glob("checkpoints/epoch_*.ckpt"):
        if int(path.stem[-6:]) > epoch:
            path.unlink()


@pytest.mark.slow
def test_a_refilled_pack_that_was_cut_off_goes_on_as_one(both: tuple[Swept, Swept], tmp_path: Path):
    """With each lane at an epoch of its own, also where the sweep goes on without a rule."""
    full, early = both
    noted = sweep.read(early.directory)[1]
    taken = [number for number in refilled(early) if early.statuses[number] == "finished"]
    for rule in (True, False):
        directory = Path(shutil.copytree(early.directory, tmp_path / f"sweep {rule}"))
        cut(directory, 0, 3)
        cut(directory, taken[0], 2)
        configs = grid("sweep.stop=asha") if rule else grid()
        packs = going_on.packs_of(directory, list(zip(noted, configs, strict=True)))
        assert [[job.number for job in jobs if not job.ghost] for jobs in packs] == [[0, taken[0]]]
        outcome = task.train_sweep(directory, packs, 7, Here())
        assert set(outcome.statuses.values()) == {"finished"}
        for number in (0, taken[0]):
            assert results(directory / str(number)) == results(full.directory / str(number))
