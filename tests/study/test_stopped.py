"""`vaex compare` of a sweep in which a rule has stopped runs: they are counted, in no mean, and spoil their pairs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.made_runs import two_variants, write_run
from vaex.disk import stops, sweep
from vaex.report import outcome_charts, publish
from vaex.report.charts import Plotter
from vaex.study import comparing, runs, sentences

STOPPED = {"stopped": {"rule": "asha", "metric": "valid/elbo", "epoch": 1, "value": -99.0, "threshold": -9.0, "of": 3}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """sigma is 6 nats worse, and its three worst seeds were stopped; no run of softplus was."""
    folder = two_variants(tmp_path_factory.mktemp("compare") / "sweep", 6.0)
    for job, overrides in enumerate(("loss=sigma", f"seed={seed}") for seed in range(3)):
        shutil.rmtree(folder / str(job))
        write_run(folder / str(job), [-1e9], *overrides, status="stopped", summary=STOPPED)
    for seed in range(8):
        write_run(folder / f"softplus{seed}", [-150.0, -90.0 - seed], "loss=softplus", f"seed={seed}")
    return folder


@pytest.fixture(scope="module")
def comparison(folder: Path) -> dict[str, Any]:
    return comparing.compare(runs.read([folder]))


def test_stopped_runs_are_counted_and_in_no_mean(comparison: dict[str, Any]):
    told = comparison["by_variant"]["sigma"]
    assert (told["runs"], told["finished"], told["stopped"]) == (8, 5, 3)
    assert told["divergence"]["total"] == 5
    assert told["means"]["valid/elbo"]["runs"] == 5
    assert told["means"]["valid/elbo"]["mean"] > -1e6
    assert [run["status"] for run in comparison["runs"]].count("stopped") == 3


def test_nothing_is_concluded_between_variants_of_which_runs_were_stopped(comparison: dict[str, Any]):
    for question in comparison["questions"]:
        for item in question["comparisons"]:
            if item["variant"] == "sigma":
                assert item["answer"] == sentences.NOT_COMPARABLE
                assert item["stopped"]
                assert item["not_comparable"] == "3 of 8 pairs have a run that was stopped early"
                assert item["estimate"] is item["p"] is item["p_holm"] is None
                assert item["sentence"].endswith("gamma and sigma, 3 of 8 pairs have a run that was stopped early")
            else:
                assert not item["stopped"]
                assert item["answer"] != sentences.NOT_COMPARABLE
    (line,) = comparison["apart"]
    assert line.startswith("not compared: anything between gamma and sigma: 3 of 8 pairs")
    assert comparison["verdicts"][-1] == line
    assert any("not comparable with gamma" in verdict for verdict in comparison["verdicts"])


def test_of_many_spoilt_comparisons_a_line_names_a_few_and_none_says_who_is_better():
    """Those that were not stopped may have diverged: they are chosen, not better."""
    line = sentences.stopped_early("a", {f"b{n}": "1 of 1 pairs have a run that was stopped early" for n in range(30)})
    assert "a and b7: " in line
    assert "; and 22 more, " in line
    assert "b8" not in line
    assert "better" not in line


def test_the_table_and_the_report_say_it(folder: Path, capsys: pytest.CaptureFixture[str]):
    publish.of_sweep(folder)
    assert "not compared: anything between gamma and sigma" in capsys.readouterr().out.replace("\n", " ")
    page = (folder / "report.html").read_text()
    assert "stopped early" in page
    (counts,) = [row for row in page.split("<tr") if ">stopped</td>" in row and "3" in row][:1]
    assert ">3</td>" in counts
    saved = json.loads((folder / "compare.json").read_text())
    assert saved["by_variant"]["sigma"]["stopped"] == 3


def test_means_of_the_runs_that_were_left_are_marked(folder: Path, comparison: dict[str, Any]):
    """In the terminal's table by a star and a column of counts; without a stopped run there is neither."""
    table = publish._rows(comparison)
    told = {str(column.header): list(map(str, column.cells)) for column in table.columns}
    assert told["stopped"] == ["0", "3", "0"]
    assert [cell.endswith(" *") for cell in told["valid/elbo"]] == [False, True, False]
    assert table.caption == publish.STOPPED
    rows = {name: row | {"stopped": 0} for name, row in comparison["by_variant"].items()}
    plain = publish._rows(comparison | {"by_variant": rows})
    assert "stopped" not in [str(column.header) for column in plain.columns]
    assert plain.caption is None


def test_charts_of_the_runs_that_were_left_say_so(folder: Path):
    found = runs.read([folder])
    (chart,) = outcome_charts.latents(Plotter(found))[:1]
    assert "3 stopped early are not in it" in chart.note
    assert sorted(trace["line"]["dash"] for trace in chart.data if trace["mode"] == "lines") == [
        "dash",
        "solid",
        "solid",
    ]


def test_a_search_makes_no_verdicts_for_want_of_seeds(tmp_path: Path):
    """Nor does it lament the learning rates that it has; with seeds enough its trials are compared as any runs."""
    for job, rate in enumerate(("0.001", "0.002")):
        write_run(tmp_path / "sweep" / str(job), [-90.0 - job], f"optimizer.learning_rate={rate}", "seed=0")
    write_run(tmp_path / "sweep" / "2", [-95.0], "loss=sigma", "optimizer.learning_rate=0.001", "seed=0")
    plain = comparing.compare(runs.read([tmp_path / "sweep"], by="loss"))["verdicts"]
    assert [line.split(":")[0] for line in plain][1:] == ["not compared"]
    (tmp_path / "sweep" / "sweep.json").write_text('{"search": {"trials": 3}}')
    assert comparing.compare(runs.read([tmp_path / "sweep"], by="loss"))["verdicts"] == [sentences.SEARCHED]
    two_variants(tmp_path / "enough", 6.0)
    before = comparing.compare(runs.read([tmp_path / "enough"]))["verdicts"]
    (tmp_path / "enough" / "sweep.json").write_text('{"search": {"trials": 3}}')
    assert comparing.compare(runs.read([tmp_path / "enough"]))["verdicts"] == before != [sentences.SEARCHED]


def test_a_stopped_run_that_goes_on_stays_one_until_it_ends(folder: Path, tmp_path: Path):
    """Its summary is gone, or says that the resume was interrupted: what its sweep's rule said holds."""
    copy = Path(shutil.copytree(folder, tmp_path / "sweep"))
    names = sorted(path.name for path in copy.iterdir() if (path / "config.yaml").exists())
    jobs = [sweep.Noted(number, Path(name), (), "", {}) for number, name in enumerate(names)]
    sweep.write(copy, jobs)
    one = stops.Decision(0, 1, 0, 0, "asha", "valid/elbo", -9.0, -8.0, 4, stopped=True)
    lines = [one._replace(job=job.number, stopped=str(job.directory) in ("0", "1", "2"))._asdict() for job in jobs]
    (copy / stops.NAME).write_text("x\n" + "".join(json.dumps(line) + "\n" for line in lines))
    (copy / "0" / "summary.json").unlink()
    (copy / "1" / "summary.json").write_text('{"status": "interrupted"}')
    assert comparing.compare(runs.read([copy]))["by_variant"]["sigma"]["stopped"] == 3
    (copy / "1" / "summary.json").write_text('{"status": "finished"}')
    assert comparing.compare(runs.read([copy]))["by_variant"]["sigma"]["stopped"] == 2
