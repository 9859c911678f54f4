"""What a population leaves, planted with known content: in its report, in sweep.csv, on the terminal."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.live.test_status import told
from tests.support.made_runs import write_run
from vaex.disk import results
from vaex.errors import InputError
from vaex.report import publish
from vaex.report.search import population as drawn
from vaex.searched import populations

SETTINGS = {
    "population": 3, "every": 2, "quantile": 0.34, "resample": 0.25, "factors": [0.8, 1.2],
    "metric": "valid/elbo", "direction": "maximize", "seed": 0,
}  # fmt: skip

RATE, CLIP = "optimizer.learning_rate", "training.gradient_clip"

SPACE = {RATE: {"low": 1e-4, "high": 1e-2, "log": True}, CLIP: {"values": [None, 1, 10]}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three members, two rounds of two epochs; after the first member 2, which had diverged, is a copy of member 0."""
    sweep = tmp_path / "sweep"
    rates, curves = (0.001, 0.002, 0.009), ([-9.0, -8.0, -7.5, -7.0], [-9.5, -9.0, -8.5, -8.25], [-9.0, -8.0, -7.0, -6])
    values = [{RATE: rate, CLIP: 1} for rate in rates]
    entries: list[dict[str, Any]] = []
    for member, curve in enumerate(curves):
        first = rates[0] if member == 2 else rates[member]
        change = [{"epoch": 3, RATE: 0.0012, CLIP: None, "seed": 2}] if member == 2 else []
        config = {RATE: first, CLIP: 1, "training.epochs": 4, "seed": 0 if member == 2 else member, "schedule": change}
        write_run(sweep / str(member), curve, values=config)
        overrides = ["dataset=digits", f"{RATE}={rates[member]}", f"{CLIP}=1", f"seed={member}"]
        noted = {"training": {"epochs": 4}, "dataset": {"name": "digits"}, "likelihood": {"name": "bernoulli"}}
        entries.append(
            {"job": member, "directory": str(member), "overrides": overrides, "identity": "x", "config": noted}
        )
    decided = {"member": 2, "source": 0, "values": {RATE: 0.0012, CLIP: None}}
    made = {"epoch": 2, "scores": [-8.0, -9.0, None], "values": values, "decisions": [decided]}
    (sweep / "sweep.json").write_text(json.dumps({"format": 1, "threads": 2, "jobs": entries}))
    record = {"format": 1, "settings": SETTINGS, "space": SPACE, "rounds": [made]}
    (sweep / "population.json").write_text(json.dumps(record))
    return sweep


def test_its_rounds_are_read_with_their_end(folder: Path):
    found = populations.read(folder)
    assert [(each.epoch, each.scores) for each in found.rounds] == [(2, (-8.0, -9.0, None)), (4, (-7.0, -8.25, -6.0))]
    assert found.rounds[0].sources == {2: 0}
    assert found.rounds[1].values[2] == {RATE: 0.0012, CLIP: None}
    assert (found.best, found.in_all(4), found.in_all(5)) == ((2, -6.0), 2, 3)
    (folder / "1" / "summary.json").unlink()
    going = populations.read(folder)
    assert (len(going.rounds), going.best) == (1, (0, -8.0))


def test_a_member_that_was_trained_for_longer_has_its_score_of_the_others_end(folder: Path):
    path = folder / "2" / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"epoch": 9, "valid/elbo": -1.0}))
    assert populations.read(folder).rounds[-1].scores == (-7.0, -8.25, -6.0)


@pytest.mark.parametrize("damage", [{}, {"settings": SETTINGS, "space": SPACE, "rounds": [{"epoch": 2}]}, {"space": 1}])
def test_a_damaged_record_is_one_line_and_no_more(folder: Path, damage: dict[str, Any], capsys: Any):
    (folder / "population.json").write_text(json.dumps(damage))
    with pytest.raises(InputError, match=r"population.json: not the record of a population"):
        populations.read(folder)
    assert "not the record of a population" in told(capsys, folder)
    publish.of_sweep(folder)
    assert "not the record of a population" in (folder / "report.html").read_text()
    last = 0.0012 if "rounds" in damage else 0.009
    assert results.load_sweep(folder)[RATE].tolist() == [0.001, 0.002, last]


def test_the_scores_are_drawn_with_copies_and_divergence(folder: Path):
    chart = drawn.scores(populations.read(folder), {"0": 5})
    copies, *lines, diverged = chart.data
    assert (copies["x"], copies["y"]) == ([2, 2, None], [None, -8.0, None])
    assert [line["y"] for line in lines] == [[-8.0, -7.0], [-9.0, -8.25], [None, None, -8.0, -6.0]]
    assert (lines[0]["customdata"], lines[1]["customdata"]) == ([5, 5], [-1, -1])
    assert (diverged["x"], diverged["yaxis"]) == ([2], "y2")
    (rates, clips) = drawn.values(populations.read(folder))
    assert (rates.data[2]["x"], rates.data[2]["y"]) == ([0, 2, 2, 4], [0.009, 0.009, 0.0012, 0.0012])
    assert clips.data[2]["y"] == [1, 1]


def test_the_report_is_about_a_population_and_makes_no_variants(folder: Path, capsys: pytest.CaptureFixture[str]):
    publish.of_sweep(folder)
    page = (folder / "report.html").read_text()
    assert "<h1>population of 3 members over 2 keys</h1>" in page
    assert "Best: member 2" in page
    assert "member 0 after epoch 2" in page
    for absent in ("Variants compared", "not enough runs to tell</", "seeds in common", "variants of", "{&quot;epoch"):
        assert absent not in page.split('<section id="method">')[0].split('<script type="application')[0], absent
    content = json.loads((folder / "compare.json").read_text())
    assert (content["kind"], content["by"], content["varied"]) == ("population", "member", {})


def test_the_table_has_what_each_member_has_by_now(folder: Path):
    table = results.load_sweep(folder)
    assert table[RATE].tolist() == [0.001, 0.002, 0.0012]
    assert table[CLIP].tolist() == [1, 1, "null"]
    assert table["seed"].tolist() == [0, 1, 2]


def test_status_names_round_and_best_member_and_a_command(folder: Path, capsys: pytest.CaptureFixture[str]):
    text = told(capsys, folder)
    assert "round 2 of 2 has ended; best member 2, valid/elbo -6 after epoch 4  " in text
    assert f"again: vaex reproduce {folder}/2\n" in text
    assert json.loads(told(capsys, "--json", folder))[0]["population"] == {
        "metric": "valid/elbo", "rounds": 2, "best": {"member": 2, "value": -6.0}
    }  # fmt: skip
    (folder / "1" / "summary.json").unlink()
    text = told(capsys, folder)
    assert "round 1 of 2 has ended; best member 0, valid/elbo -8 after epoch 2" in text
    assert "again: " not in text
