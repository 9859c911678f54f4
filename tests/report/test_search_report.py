"""Searches and early stopping in the report: known answers, what is absent or damaged, hostile text, a real browser."""

import dataclasses
import html
import json
import logging
import random
import re

import numpy as np
import pytest

from tests.support import browser as browsing
from tests.support.made_runs import write_run
from tests.support.made_searches import SPACE, a_search, points, two_objectives, value, write_stops, write_trials
from tests.support.processes import until
from vaex.disk import stops
from vaex.errors import InputError
from vaex.report import charts, document, training_charts
from vaex.report.charts import Panel, Plotter
from vaex.report.search import history, outcome, rungs, space
from vaex.report.search.look import Shown
from vaex.searched import importance, trials
from vaex.searched import points as places
from vaex.study import comparing, runs, sentences
from vaex.study.run import StudyRun

HOSTILE = "<img src=x onerror=hacked=1></script><script>hacked=1</script>%{x}${a}<b>b</b>\u202e"


class Stopped(StudyRun):
    """One whose status is that of early stopping."""

    status = "stopped"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two runs in a sweep's directory, to which tests add what a search leaves."""
    folder = tmp_path_factory.mktemp("sweep")
    for number in range(2):
        write_run(folder / str(number), [-60.0, -50.0 - number], f"seed={number}")
    return folder


@pytest.fixture
def folder(study):
    """The sweep's directory, emptied of searches afterwards."""
    yield study
    for name in ("trials.csv", "sweep.json", "stops.jsonl", "report.html"):
        (study / name).unlink(missing_ok=True)


def report(folder):
    found = runs.read([folder])
    comparison = json.loads(json.dumps(comparing.compare(found), allow_nan=False))
    document.write(folder / "report.html", found, comparison)
    return (folder / "report.html").read_text()


def figures(text):
    return json.loads(re.search(r'id="figures">(.*?)</script>', text)[1])


def section(text, name):
    found = re.search(rf'<section id="{name}">(.*?)</section>', text, re.DOTALL)
    return found[1] if found else None


def test_what_a_search_leaves_is_read(tmp_path):
    found = trials.read(a_search(tmp_path, 20))
    assert found.space == SPACE
    assert (found.objectives, found.maximised, found.wanted) == (("valid/elbo",), (True,), 20)
    assert found.counts == {"complete": 15, "stopped": 2, "failed": 2, "running": 1}
    assert [found.is_log(key) for key in SPACE] == [True, False, False]
    complete = [n for n in range(19) if n % 10 not in (3, 7)]
    best = max(complete, key=lambda n: value(points(20)[n]))
    assert (found.best.number, found.best.spread, found.best.jobs) == (best, 0.5, (str(best),))


def test_several_objectives_are_read_by_either_name(tmp_path):
    """value_1 and value_2, or a column by the name of each; what else the space does not know is one too."""
    named = trials.read(two_objectives(tmp_path / "named"))
    assert named.objectives == ("valid/elbo", "active_latents")
    assert named.maximised == (True, False)
    assert named.best is None
    rows = [{"trial": 0, "state": "complete", "loss": "gamma", "value_1": 1.5, "value_2": "nan", "jobs": "3 4"}]
    write_trials(
        tmp_path / "numbered", rows, ["valid/elbo", "valid/kl"], ["maximize", "minimize"], {"loss": "choice(a)"}
    )
    numbered = trials.read(tmp_path / "numbered")
    assert numbered.objectives == ("valid/elbo", "valid/kl")
    assert numbered.trials[0].values == (1.5, None)
    assert not numbered.trials[0].complete
    assert numbered.trials[0].jobs == ("3", "4")


def test_without_its_section_the_columns_say_what_they_can(tmp_path):
    write_trials(tmp_path, [{"trial": 0, "state": "complete", "loss": "gamma", "value": -4.0, "jobs": "0"}])
    for content in ("{}", "not JSON", json.dumps({"search": [1]}), json.dumps({"search": {"space": 3}})):
        (tmp_path / "sweep.json").write_text(content)
        found = trials.read(tmp_path)
        assert (found.objectives, found.maximised, found.wanted) == (("valid/elbo",), (True,), None)
        assert found.trials[0].point == {"loss": "gamma"}


def test_the_best_so_far():
    assert places.best_so_far([None, 3.0, 1.0, None, 4.0], maximised=True) == [None, 3.0, 3.0, 3.0, 4.0]
    assert places.best_so_far([None, 3.0, 1.0, None, 4.0], maximised=False) == [None, 3.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("maximised", [(True, False), (True, True), (False, True, True)])
def test_the_front_is_what_brute_force_finds(maximised):
    """Small whole numbers, so that there are ties and equal points, which are both on it."""
    rng = random.Random(3)
    for _ in range(50):
        values = [tuple(float(rng.randint(0, 6)) for _ in maximised) for _ in range(rng.randint(1, 30))]

        def beats(one, other):
            better = [a > b if up else a < b for a, b, up in zip(one, other, maximised, strict=True)]
            worse = [a < b if up else a > b for a, b, up in zip(one, other, maximised, strict=True)]
            return any(better) and not any(worse)

        wanted = [n for n, each in enumerate(values) if not any(beats(other, each) for other in values)]
        assert places.front(values, maximised) == wanted


def test_importance_of_a_planted_objective(tmp_path):
    """The learning rate decides, the loss a little, latent_dim nothing; of noise there is no importance."""
    found = importance.of(trials.read(a_search(tmp_path / "planted", 60)), 0)
    assert (found.trials, found.why) == (47, "")
    assert found.r2 > 0.7
    assert (
        found.left_out == "6 stopped and 6 failed trials are left out: keys that lead to such an end count too little"
    )
    rate, loss, nothing = (found.lost[key][0] for key in ("optimizer.learning_rate", "loss", "model.latent_dim"))
    assert rate > 1.0
    assert nothing < loss < 0.3
    assert abs(nothing) < 0.05 < rate / 10
    noise = np.random.default_rng(1).normal(size=30)
    rows = [{"trial": n, "state": "complete", **point, "value": noise[n]} for n, point in enumerate(points(30))]
    guessed = importance.of(trials.read(write_trials(tmp_path / "noise", rows)), 0)
    assert guessed.lost == {}
    assert "does not predict unseen ones (R² " in guessed.why


def test_trials_at_one_point_do_not_tell_of_each_other(tmp_path):
    """Noise in a discrete space, each point twice with one value: the forest would have known it from its twin."""
    noise = np.random.default_rng(1).normal(size=15)
    rows = [{"trial": n, "state": "complete", **points(15)[n % 15], "value": noise[n % 15]} for n in range(30)]
    assert importance.of(trials.read(write_trials(tmp_path, rows)), 0).lost == {}
    table, means = importance._distinct(np.array([[2.0], [1.0], [2.0]]), np.array([1.0, 5.0, 3.0]))
    assert (table.tolist(), means.tolist()) == ([[2.0], [1.0]], [2.0, 5.0])


def test_few_trials_have_no_importance(tmp_path, folder):
    a_search(tmp_path, 12)  # of which one runs, one was stopped, one failed
    few = importance.of(trials.read(tmp_path), 0)
    assert (few.trials, few.r2, few.lost) == (9, None, {})
    assert few.why == "no importance of keys: 9 complete trials, 10 are needed"
    a_search(folder, 12)
    text = section(report(folder), "search")
    assert text.count(few.why) == 1
    assert "Importance of each key" not in text


def test_the_history_marks_what_failed_and_what_was_stopped(tmp_path):
    search = trials.read(a_search(tmp_path, 20))
    best, complete, stopped, failed = history.chart(Shown(search, {"4": 7}), 0).data
    assert best["x"] == list(range(20))
    assert best["y"][-1] == max(complete["y"])
    assert all(a <= b for a, b in zip(best["y"], best["y"][1:], strict=False))
    assert (stopped["x"], failed["x"]) == ([3, 13], [7, 17])
    assert (failed["yaxis"], stopped["marker"]["symbol"], failed["marker"]["symbol"]) == ("y2", "diamond-open", "x")
    assert complete["customdata"][complete["x"].index(4)] == 7
    assert complete["text"][0].startswith("<b>trial 0</b> complete<br>valid/elbo −2")


def test_values_far_off_do_not_flatten_the_others(tmp_path):
    rows = [{"trial": n, "state": "complete", **point, "value": value(point)} for n, point in enumerate(points(20))]
    rows[5]["value"] = -1e9
    chart = history.chart(Shown(trials.read(write_trials(tmp_path, rows)), {}), 0)
    low, high = chart.layout["yaxis"]["range"]
    assert -400 < low < high < -200
    assert "1 far worse one lies outside." in chart.note


def test_parallel_coordinates(tmp_path):
    """Every complete trial's line goes through its own places; log keys by their logarithm, words by name."""
    search = trials.read(a_search(tmp_path, 20))
    chart = space.parallel(Shown(search, {}), 0)
    assert chart.layout["xaxis"]["ticktext"] == ["learning_rate", "latent_dim", "loss", "valid/elbo"]
    y = [value for trace in chart.data for value in trace["y"]]
    assert y.count(None) == 15
    complete = sorted((trial for trial in search.trials if trial.complete), key=lambda trial: trial.values[0])
    rates = [np.log10(float(trial.point["optimizer.learning_rate"])) for trial in complete]
    first, last = space.INSIDE
    wanted = [first + (last - first) * (rate - min(rates)) / np.ptp(rates) for rate in rates]
    np.testing.assert_allclose(y[0::5], wanted, atol=1e-4)
    assert y[3::5][-1] == last  # the best one is drawn last, and its value lies highest
    assert {note["text"] for note in chart.layout["annotations"]} >= {"gamma", "sigma", "log_sigma"}
    rate, latents, loss = space.slices(Shown(search, {}), 0)
    assert rate.layout["xaxis"]["type"] == "log"
    assert "type" not in latents.layout["xaxis"]
    assert loss.layout["xaxis"]["ticktext"] == ["gamma", "log_sigma", "sigma"]


def test_the_front_is_drawn(tmp_path):
    search = trials.read(two_objectives(tmp_path))
    (chart,) = outcome.fronts(Shown(search, {}))
    line, others, front = chart.data
    assert len(others["x"]) + len(front["x"]) == 40
    assert (line["x"], line["y"], line["line"]["shape"]) == (front["x"], front["y"], "vh")
    assert front["y"] == sorted(front["y"])  # more latents buy a higher ELBO, or they are not on it


def test_rungs(tmp_path):
    """Who came, went on and was stopped, against what; a line that is no decision is counted, a cut-off one is not."""
    path = write_stops(tmp_path) / "stops.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(path.read_text() + 'x\n[]\n{"job": null, "epoch": 1}\n{"job": 3, "epo')
    decisions, damaged = stops.read_all(tmp_path)
    assert (len(decisions), damaged) == (len(lines), 3)
    ((title, some),) = rungs.groups(decisions)
    chart = rungs.chart(title, some, {"0": 4})
    _, went_on, stopped, held = chart.data
    assert title == "asha on valid/elbo"
    assert len(stopped["x"]) == sum(line["stopped"] for line in lines)
    assert len(went_on["x"]) + len(stopped["x"]) == len(lines)
    assert held["x"] == ["epoch 1", "epoch 3", "epoch 9"]
    assert held["y"][0] == pytest.approx([each["threshold"] for each in lines if each["epoch"] == 1][-1], rel=1e-4)
    assert went_on["customdata"][0] == 4
    cells = re.findall(r"<tr>(.*?)</tr>", rungs.table(some))[1]
    first = [line for line in lines if line["epoch"] == 1]
    numbers = re.findall(r'data-value="([^"]*)"', cells)
    assert [float(number) for number in numbers[:5]] == [
        0, 1, 27, sum(not line["stopped"] for line in first), sum(line["stopped"] for line in first)
    ]  # fmt: skip


def test_a_chart_of_very_many_decisions_shows_every_so_manieth(tmp_path):
    decisions, _ = stops.read_all(write_stops(tmp_path))
    many = [each._replace(epoch=n, rung=None) for n in range(100) for each in decisions]
    chart = rungs.chart("", many, {})
    shown = sum(len(trace["x"]) for trace in chart.data[:2])
    assert rungs.MOST_MARKERS / 2 < shown <= rungs.MOST_MARKERS + 2
    assert f"Of {len(many)} decisions every 2. is drawn." in chart.note


def test_a_job_that_went_on_is_in_the_means_and_its_directory_is_that_of_sweep_json(folder):
    """Both runs have come to their end, whatever stops.jsonl says of them."""
    line = {
        "job": 7,
        "epoch": 1,
        "rung": 0,
        "bracket": 0,
        "rule": "asha",
        "metric": "valid/elbo",
        "value": -1.0,
        "threshold": 0.0,
    }
    (folder / "stops.jsonl").write_text(json.dumps(line | {"of": 3, "stopped": True}) + "\n")
    text = section(report(folder), "stops")
    assert "1 of 1 jobs that were judged were stopped early; they are in no mean." in text
    job = {"job": 7, "directory": "1", "overrides": [], "identity": "", "config": {}}
    (folder / "sweep.json").write_text(json.dumps({"format": 1, "threads": 2, "jobs": [job]}))
    text = report(folder)
    assert "1 of 1 jobs that were judged were stopped early, 1 of them has gone on since." in section(text, "stops")
    markers = [trace["customdata"] for each in figures(text) for trace in each["data"] if trace.get("customdata")]
    assert [1] in markers


def test_a_rule_without_rungs_and_a_metric_to_minimise(tmp_path):
    lines = [
        {"job": job, "epoch": epoch, "rung": None, "bracket": None, "rule": "median", "metric": "valid/loss",
         "value": 300.0 + job, "threshold": 301.5, "of": 4, "stopped": job > 1}
        for epoch in (2, 3) for job in range(4) if epoch == 2 or job < 2
    ]  # fmt: skip
    (tmp_path / "stops.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    decisions, _ = stops.read_all(tmp_path)
    ((title, some),) = rungs.groups(decisions)
    assert rungs.chart(title, some, {}).data[1]["x"] == [2, 2, 3, 3]
    assert not rungs._higher(some)
    one = some[0]._replace(threshold=None, of=2, stopped=True, value=1.0)  # of a metric that is better high
    assert rungs._higher([one._replace(metric="valid/elbo", threshold=0.0)])
    few = rungs._few(some)
    assert rungs._hover(one, few).endswith("too few to compare with of 2 runs")
    assert rungs._hover(one._replace(of=4), few).endswith("the threshold is not finite of 4 runs")
    assert "<button>rung</button>" not in rungs.table(some)


def test_the_report_has_both_sections_and_nothing_of_them_without_the_files(folder):
    plain = report(folder)
    assert section(plain, "search") is None
    assert section(plain, "stops") is None
    write_stops(a_search(folder))
    text = report(folder)
    assert "<h3>valid/elbo by trial</h3>" in section(text, "search")
    assert "Importance of each key for valid/elbo" in section(text, "search")
    assert "31 complete trials; R² on unseen ones" in section(text, "search")
    assert "<h3>asha on valid/elbo</h3>" in section(text, "stops")


def test_a_log_axis_has_ticks_enough_and_not_one_for_each_of_many():
    assert charts.decades([1e-4, 1e-2])["dtick"] == 1
    assert (charts.decades([1e-3, 1e-2])["dtick"], charts.decades([1e-3, 3e-3])["dtick"]) == ("D2", "D1")
    assert charts.at_values([2, 5, 10, 20, 50])["ticktext"] == ["2", "5", "10", "20", "50"]
    ticks = charts.at_values(range(2, 66))["tickvals"]
    assert len(ticks) <= charts.MOST_TICKS + 1
    assert min(np.diff(np.log10(ticks))) >= np.log10(65 / 2) / charts.MOST_TICKS


def test_a_search_is_called_one_and_has_no_variants_compared(folder):
    """Its trials were chosen by their results: what is not said of them is not lamented either, stopped or not."""
    write_stops(a_search(folder))
    for path, loss in ((folder / "0", "gamma"), (folder / "1", "sigma")):
        text = (path / "config.yaml").read_text().replace("name: gamma", f"name: {loss}")
        (path / "config.yaml").write_text(text)
    stopped = folder / "1" / "summary.json"
    before = stopped.read_text()
    stopped.write_text(json.dumps(json.loads(before) | {"status": "stopped"}))
    try:
        text = report(folder)
        comparison = comparing.compare(runs.read([folder]))
    finally:
        stopped.write_text(before)
        path.joinpath("config.yaml").write_text(path.joinpath("config.yaml").read_text().replace("sigma", "gamma"))
    assert "<h1>search over 3 keys: 40 trials</h1>" in text
    assert section(text, "numbers") is None
    assert (comparison["kind"], comparison["verdicts"]) == ("search", [sentences.SEARCHED])
    assert "not compared: anything" not in text.split('<section id="method">')[0]


def test_curves_of_stopped_runs_end_where_they_were_stopped(folder):
    """They are counted beside the others, and it is said that a line goes on over the better ones."""
    found = runs.read([folder])
    cut = dataclasses.replace(found.runs[0], rows=found.runs[0].rows[:1], summary={"status": "stopped", "epoch": 1})
    panel = Panel("", [Stopped(**vars(cut)), found.runs[1]])
    chart = training_charts.curves(
        Plotter(dataclasses.replace(found, runs=panel.runs)), panel, "valid/elbo", "", "high"
    )
    assert chart.note == "2 runs, 1 stopped early."
    (median,) = [trace for trace in chart.data if "median" in trace["meta"]["hover"]]
    assert (median["x"], median["meta"]["n"]) == ([1, 2], [2, 1])


def test_damaged_files_are_a_warning_and_the_report_goes_on(folder, caplog):
    (folder / "trials.csv").write_bytes(b'trial,state\n"0,\xff')
    (folder / "stops.jsonl").write_text("{}\nnot JSON\n")
    with caplog.at_level(logging.WARNING, "vaex"):
        text = report(folder)
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "cannot be read as a table: 'utf-8' codec can't decode byte 0xff in position 15: invalid start byte; "
        "it is left out of the report",
        "2 lines are no decisions; they are left out",
    ]
    assert "cannot be read as a table" in section(text, "search")
    assert "2 lines of stops.jsonl are no decisions." in section(text, "stops")
    assert section(text, "runs")
    for content in ("", "trial,state,state\n0,a,b\n", "a,b\n1,2\n"):
        (folder / "trials.csv").write_text(content)
        with pytest.raises(InputError):
            trials.read(folder)
    for rows in (
        "trial,state\n",
        "trial,state,value\nx,y,z\n",
        "trial,state,value,loss\n1,complete\n2,complete,inf,a,b\n",
    ):
        (folder / "trials.csv").write_text(rows)
        assert section(report(folder), "search")


def test_text_of_others_stays_text(folder):
    rows = [
        {"trial": n, "state": "complete", HOSTILE: f"{HOSTILE}{n % 3}", "value": n % 7 + n / 100, "jobs": HOSTILE}
        for n in range(20)
    ]
    write_trials(folder, rows, f"{HOSTILE}/elbo", "maximize", {HOSTILE: f"choice({HOSTILE})"})
    lines = [
        {"job": 1, "epoch": epoch, "rung": 0, "bracket": None, "rule": HOSTILE, "metric": HOSTILE, "value": 1.0,
         "threshold": None, "of": 1, "stopped": False}
        for epoch in (1, 2)
    ]  # fmt: skip
    (folder / "stops.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = report(folder)
    assert HOSTILE[:10] not in text
    assert "\u202e" not in text
    assert html.escape(HOSTILE[:-1]) in text
    for figure in figures(text):
        drawn = json.dumps(figure)
        assert "<img" not in drawn
        assert "%{" not in drawn
        assert "${" not in drawn


def test_in_a_browser_all_charts_are_drawn(folder):
    """On a screen and on a phone; a script of somebody else's does not run, nothing is asked for."""
    if not (browsing.CHROMIUM and browsing.DRIVER):
        pytest.skip(browsing.MISSING)
    write_stops(a_search(folder, 20))
    rows = (folder / "trials.csv").read_text().replace("gamma", "<b onclick=hacked=1>x")
    (folder / "trials.csv").write_text(rows)
    count = len(figures(report(folder)))
    with browsing.chromium() as window:
        for width, dark in ((1440, False), (390, True)):
            console, asked = window.open(folder / "report.html", width, dark)
            until(lambda: window.ask("document.documentElement.dataset.drawn"))
            assert window.ask("document.documentElement.dataset.drawn") == str(count)
            assert console == []
            assert asked == [(folder / "report.html").as_uri()]
            assert window.ask("document.documentElement.scrollWidth") <= width
            assert window.ask("typeof hacked") == "undefined"
