"""The report in a real browser, and what it is made of: known answers, hostile names, damaged runs, many runs."""

import html
import itertools
import json
import os
import re
import shlex
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml

from tests.support import browser as browsing
from tests.support.made_runs import MANIFEST, STEPS, evaluate, lively_run, picture, write_run
from tests.support.processes import until
from vaex.commands import compare
from vaex.report import bands, document, page, verdicts
from vaex.report.charts import Panel, Plotter
from vaex.report.divergence_charts import divergence
from vaex.report.outcome_charts import intervals, latents, rate_distortion
from vaex.report.training_charts import curves, gradients, sigma
from vaex.study import comparing, runs

SECTIONS = ["numbers", "curves", "divergence", "gradients", "sigma", "rate", "pictures", "differences", "runs"]
HOSTILE = "<img src=x onerror=hacked=1><script>hacked=1</script></script>\u2028%{x}$a$<b>b</b>&lt;"


def write(folder, *directories):
    """The report of these directories, in `folder`."""
    found = runs.read(list(directories) or [folder])
    comparison = json.loads(json.dumps(comparing.compare(found), allow_nan=False))
    document.write(folder / "report.html", found, comparison)
    return folder / "report.html"


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """By name: one run; two variants by six seeds, some diverged; latent sizes; broken; HTML in every string."""
    root = tmp_path_factory.mktemp("reports")
    one = write(lively_run(root / "one" / "run", pictures=True))
    for number, (loss, seed) in enumerate(itertools.product(["sigma", "gamma"], range(6))):
        lively_run(root / "two" / str(number), loss, seed, diverged=loss == "sigma" and seed < 3, pictures=True)
    sizes = itertools.product([2, 5, 10], range(2))
    for number, (size, seed) in enumerate(sizes):
        lively_run(root / "latents" / str(number), seed=seed, latent_dim=size)
    hostile = lively_run(root / "hostile" / HOSTILE.replace("/", "∕"), diverged=True)
    other = lively_run(root / "hostile" / "javascript:hacked=1", loss="sigma", rate=1e-2)
    for directory in (hostile, other):
        spoil(directory)
    return (
        {"one": one}
        | {name: write(root / name) for name in ("two", "latents", "hostile")}
        | {"broken": broken(root / "broken")}
    )


def test_each_verdict_stands_beside_a_command_that_says_it_again(tmp_path, monkeypatch):
    """Run as it is written, from where the first one was run; another target is in it."""
    monkeypatch.chdir(tmp_path)
    for number, (loss, seed, rate) in enumerate(itertools.product(["sigma", "gamma"], range(5), [1e-3, 1e-2])):
        lively_run(tmp_path / "my sweep" / str(number), loss, seed, rate)
    assert compare.main(["my sweep", "--target", "-31.5", "--against", "sigma"]) == 0
    report = (tmp_path / "my sweep" / "report.html").read_text()
    head = report[: report.index('<nav class="contents">')]
    lines = [html.unescape(line) for line in re.findall(r"<code>(.*?)</code>", head)]
    asked = "vaex compare 'my sweep' --by loss --against sigma --target -31.5"
    assert lines == [asked] * head.count("<h3>") + ["vaex -m loss=sigma,gamma"]
    assert head.count("<h3>") >= 4
    assert "learning-rate sensitivity, which needs three learning rates; here are 2 (0.001, 0.01)" in head
    assert compare.main([*shlex.split(asked)[2:], "--out", "again"]) == 0
    one, other = (json.loads((tmp_path / name / "compare.json").read_text()) for name in ("my sweep", "again"))
    assert one["verdicts"] == other["verdicts"]


def test_the_runs_command_leaves_out_where_they_lie():
    """And is none where the runs are of several, or a manifest that somebody wrote holds no command."""
    recorded = "vaex -m seed=0,1 'dataset.path=a b' hydra/launcher=packed 'hydra.sweep.dir='\"'\"'/home/me'\"'\"''"

    def told(*commands):
        return verdicts.command_of_runs([{"segments": [{"command": command}]} for command in commands])

    assert told(recorded, recorded) == "vaex -m seed=0,1 'dataset.path=a b'"
    assert told(recorded, "vaex seed=2") is None
    assert told("vaex 'seed=2") is None
    assert told(["vaex"]) is None


def spoil(directory):
    """Put HTML wherever a file can hold a string."""
    config = yaml.safe_load((directory / "config.yaml").read_text())
    config["loss"]["name"] += HOSTILE
    config["optimizer"]["name"] += directory.name
    config["precision"]["network"] = HOSTILE
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    summary = json.loads((directory / "summary.json").read_text())
    (directory / "summary.json").write_text(json.dumps(summary | {"culprit": HOSTILE, "test/elbo": HOSTILE}))
    manifest = MANIFEST | {"dataset_sha256": HOSTILE + directory.name, "environment": {HOSTILE: [HOSTILE]}}
    (directory / "manifest.json").write_text(json.dumps(manifest))


def broken(root):
    """A study in which each run lacks something else."""
    for number in range(8):
        lively_run(root / str(number), loss="sigma" if number % 2 else "gamma", seed=number // 2)
    (root / "0" / "metrics.jsonl").write_text((root / "0" / "metrics.jsonl").read_text()[:-30])
    (root / "1" / "summary.json").write_text("")
    (root / "2" / "steps.npz").unlink()
    (root / "3" / "steps.npz").write_bytes(b"PK")
    (root / "4" / "manifest.json").write_text('{"environment": 3, "code": [], "segments": [null]}')
    (root / "5" / "metrics.jsonl").write_text("[]\n")
    (root / "6" / "summary.json").write_text(
        '{"status": ["finished"], "valid/elbo": "high", "first_nonfinite_step": {}}'
    )
    (root / "7" / "config.yaml").write_text("[")
    return write(root)


@pytest.fixture
def many(tmp_path):
    """512 runs, eight variants by sixteen learning rates by four seeds, a quarter diverged: four runs copied."""
    losses = ["gamma", "sigma", "log_sigma", "softplus", "exp_linear", "bounded", "gamma_clamped", "soft_clamp"]
    four = [lively_run(tmp_path / str(seed), seed=seed, epochs=12, diverged=seed == 3) for seed in range(4)]
    made = runs.read(four).runs
    copies = []
    for loss, power, (seed, run) in itertools.product(losses, range(1, 17), enumerate(made)):
        flat = run.flat | {"loss.name": loss, "optimizer.learning_rate": 10.0**-power, "seed": seed}
        copies.append(replace(run, name=f"job {len(copies)}", variant=loss, flat=flat))
    varied = {"seed": [0, 1, 2, 3], "optimizer.learning_rate": [10.0**-power for power in range(1, 17)]}
    return replace(runs.read(four), runs=copies, by="loss", against="gamma", varied=varied)


@pytest.fixture(scope="module")
def browser():
    if not (browsing.CHROMIUM and browsing.DRIVER):
        pytest.skip(browsing.MISSING)
    with browsing.chromium() as window:
        yield window


@pytest.mark.parametrize(
    ("name", "width"),
    [("one", 1440), ("two", 390), ("two", 1440), ("latents", 390), ("hostile", 390), ("broken", 1440)],
)
def test_in_a_browser(browser, reports, name, width):
    """From disk: nothing on the console, nothing asked for but the file, every figure drawn, no sideways scrolling."""
    console, asked = browser.open(reports[name], width)
    assert console == []
    assert len(asked) == 1
    assert asked[0].startswith("file:")
    figures = browser.ask("JSON.parse(document.getElementById('figures').textContent).length")
    drawn = browser.ask(
        "[...document.querySelectorAll('.plot')].filter(p => p.querySelector('.cartesianlayer .subplot')).length"
    )
    assert figures == drawn >= 3
    assert browser.ask("document.documentElement.scrollWidth") == width
    assert browser.ask(
        "[...document.querySelectorAll('.plot')].every(p => p.getBoundingClientRect().right <= innerWidth)"
    )
    assert browser.ask("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


@pytest.mark.slow
def test_512_runs_in_a_browser(browser, many, tmp_path):
    """Bands instead of lines: the data is small beside Plotly itself."""
    document.write(tmp_path / "report.html", many, comparing.compare(many))
    console, asked = browser.open(tmp_path / "report.html")
    assert (console, len(asked)) == ([], 1)
    assert browser.ask("document.querySelectorAll('.cartesianlayer .subplot').length") >= 25
    assert browser.ask("document.documentElement.scrollWidth") == 1440
    assert browser.ask("document.querySelectorAll('#runs tbody tr').length") == 512
    assert (tmp_path / "report.html").stat().st_size < 7e6


def test_html_in_names_is_shown_as_text(browser, reports):
    browser.open(reports["hostile"])
    assert browser.ask("typeof hacked") == "undefined"
    assert browser.ask("document.querySelectorAll('img, iframe, object, b').length") == 0
    shown = browser.ask("document.body.textContent")
    assert shown.count("<img src=x onerror=hacked=1>") > 5
    labels = browser.ask("[...document.querySelectorAll('.plot svg text')].map(text => text.textContent)")
    assert any(text.startswith("gamma<img src=x") for text in labels)
    assert not browser.ask("document.querySelectorAll('.plot svg a, .plot svg [style*=\"font-weight: bold\"]').length")
    addresses = browser.ask("[...document.querySelectorAll('td a')].map(a => a.href)")
    assert len(addresses) == 2
    assert all(address.startswith("file:") for address in addresses)


def test_hover_names_the_run_and_a_click_goes_to_its_directory(browser, reports):
    browser.open(reports["two"])
    x, y, text = browser.ask("""(() => {
      const plot = [...document.querySelectorAll('#rate .plot')][0];
      plot.scrollIntoView();
      const trace = plot.data.findIndex(trace => trace.customdata), place = plot.getBoundingClientRect();
      const {xaxis, yaxis} = plot._fullLayout, {x, y, text} = plot.data[trace];
      return [place.x + xaxis._offset + xaxis.d2p(x[0]), place.y + yaxis._offset + yaxis.d2p(y[0]), text[0]]})()""")
    name = re.search("<b>job (.*?)</b>", text).group(1)
    until(lambda: hover(browser, x, y).startswith(f"job {name}"))
    directory = (reports["two"].parent / name).as_uri() + "/"
    until(lambda: click(browser, x, y) == directory)


def test_nothing_in_a_label_is_filled_in():
    shown = page.label("%{x} {run} $x$ <b>")
    assert not set("%{$<") & set(shown)
    assert html.unescape(shown) == "%{x} {run} $x$ <b>"


def hover(browser, x, y):
    """What the charts say when the mouse comes to a place."""
    for near in (1, 0):
        browser.run("Input.dispatchMouseEvent", type="mouseMoved", x=x + near, y=y)
    return browser.ask("[...document.querySelectorAll('.hoverlayer')].map(layer => layer.textContent).join('')")


def click(browser, x, y):
    """Where a click on a place leads; Plotly hears none within its pause after a move, so it may take two."""
    hover(browser, x, y)
    for kind in ("mousePressed", "mouseReleased"):
        browser.run("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    return browser.ask("location.href")


def test_legend_and_headings(browser, reports):
    browser.open(reports["two"])
    browser.ask("document.querySelectorAll('.legend button')[1].click()")
    hidden = (
        "[...document.querySelectorAll('.plot')].flatMap(p => p.data).filter(t => t.visible === false).map(t => t.name)"
    )
    assert set(browser.ask(hidden)) == {"sigma"}
    browser.ask("[...document.querySelectorAll('#runs th button')].find(b => b.textContent === 'valid/elbo').click()")
    cells = browser.ask("[...document.querySelectorAll('#runs tbody tr')].map(row => row.children[4].dataset.value)")
    numbers = [float(cell) for cell in cells if cell]
    assert numbers == sorted(numbers)
    assert [bool(cell) for cell in cells] == [True] * 9 + [False] * 3


def test_dark_light_and_paper(browser, reports):
    """The charts follow the page's colors while it is open; paper is light, and no chart is wider than it."""
    colors = "[getComputedStyle(document.body).backgroundColor, document.querySelector('.plot').layout.font.color]"
    browser.open(reports["two"])
    light = browser.ask(colors)
    browser.open(reports["two"], dark=True)
    dark = browser.ask(colors)
    assert light == ["rgb(255, 255, 255)", "#1b1d21"]
    assert dark == ["rgb(20, 22, 26)", "#e7e9ec"]
    for scheme, colors_then in (("light", light), ("dark", dark)):  # while the page is open
        browser.run("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        until(lambda then=colors_then: browser.ask(colors) == then)
    browser.ask("""addEventListener('beforeprint', () => window.printed = [
      document.querySelector('.plot').layout.font.color,
      Math.max(...[...document.querySelectorAll('.plot .main-svg')].map(svg => svg.width.baseVal.value))])""")
    assert browser.paper().startswith(b"%PDF")
    color, width = browser.ask("window.printed")
    assert color == light[1]
    assert width <= 718  # A4 less its margins, in CSS pixels
    assert browser.ask(colors) == dark
    browser.run(
        "Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    assert browser.ask(colors)[0] == light[0]
    browser.run("Emulation.setEmulatedMedia", media="")


def test_one_file_with_plotly_once(reports):
    html = reports["one"].read_text()
    outside = re.sub(r"<script>.*?</script>", "", html, flags=re.S)
    assert html.count("* plotly.js v") == 1
    assert "default-src 'none'" in html
    assert not re.search(r"(src|href)=\"(?!data:|#|\./)", outside)
    assert len(html) < 5.3e6


def ids(path):
    return re.findall(r'<section id="(\w+)">', path.read_text())


def test_sections_have_data_or_are_not_there(reports):
    assert ids(reports["two"]) == [*SECTIONS, "provenance", "method"]
    assert ids(reports["latents"])[0] == "latents"
    assert "pictures" not in ids(reports["latents"])
    assert ids(reports["one"]) == ["curves", "gradients", "sigma", "rate", "pictures", "runs", "provenance", "method"]


def test_damage_is_named_and_stops_nothing(reports):
    html = reports["broken"].read_text()
    listed = html[html.index('id="problems"') : html.index('id="provenance"')]
    for words in ("job 0: metrics.jsonl", "job 1: summary.json", "job 2: steps.npz", "job 3: steps.npz", "job 7"):
        assert words in listed
    assert {"curves", "gradients", "rate", "runs"} <= set(ids(reports["broken"]))


def test_the_verdicts_stand_first(reports):
    html = reports["two"].read_text()
    found = runs.read([reports["two"].parent])
    sentences = [question["verdict"] for question in comparing.compare(found)["questions"] if question["headline"]]
    assert len(sentences) > 2
    for sentence in sentences:
        assert page.text(sentence, 1000) in html[: html.index("<nav")]


def test_provenance_names_what_differs(tmp_path):
    for number, threads in enumerate([2, 2, 4]):
        directory = lively_run(tmp_path / str(number), seed=number)
        environment = MANIFEST["environment"] | {"threads": threads}
        (directory / "manifest.json").write_text(json.dumps(MANIFEST | {"environment": environment}))
    html = write(tmp_path).read_text()
    assert "Not the same in all runs: threads." in html
    assert "2 (job 0, job 1); 4 (job 2)" in html


def test_a_diagnosis_stands_in_the_report_of_the_run_it_is_of(tmp_path):
    """Its lines as text, whatever is in them; not one of another ending, nor a damaged one, which is a problem."""
    end = {"status": "diverged", "summary": {"step": 7, "first_nonfinite_step": 7, "culprit": "kl"}}
    found = {"step": 7, "lines": ["step 7: the KL", HOSTILE], "cheapest": {"command": "vaex reproduce RUN x=1"}}
    directories = [write_run(tmp_path / str(number), [-200.0], f"seed={number}", **end) for number in range(4)]
    for directory, content in zip(directories, (found, found | {"step": 6}, {"lines": 3}, None), strict=True):
        (directory / "diagnose.json").write_text("{" if content is None else json.dumps(content))
    (directories[0] / "diagnose.html").touch()
    html = write(tmp_path).read_text()
    section = html[html.index('<section id="diagnoses">') :].partition("</section>")[0]
    assert "1 of 4 diverged runs have a diagnosis" in section
    assert "<li>step 7: the KL</li>" in section
    assert page.text(HOSTILE) in section
    assert "<img" not in section
    assert "cheapest cure: vaex reproduce RUN x=1" in section
    assert '<a href="./0/diagnose.html">' in section
    assert "diagnose.json" in html[html.index('<section id="problems">') :].partition("</section>")[0]
    assert '<section id="diagnoses">' not in write(directories[1]).read_text()


def test_pictures_stay_in_the_runs_directory(tmp_path):
    run = lively_run(tmp_path / "run", pictures=True)
    address, problem = page.picture(run, "samples")
    assert (address[:22], problem) == ("data:image/png;base64,", None)
    picture(tmp_path / "secret.png")
    samples = run / "figures" / "samples.png"
    for target, words in ((tmp_path / "secret.png", "outside"), (samples, "missing"), (tmp_path / "no", "missing")):
        samples.unlink(missing_ok=True)
        samples.symlink_to(target)
        assert page.picture(run, "samples")[0] == ""
        assert words in page.picture(run, "samples")[1]
    samples.unlink()
    samples.write_bytes(b"<svg onload=hacked=1>")
    assert "not a PNG" in page.picture(run, "samples")[1]
    samples.write_bytes(page.PNG + bytes(page.MOST_BYTES))
    assert "larger" in page.picture(run, "samples")[1]
    samples.unlink()
    os.mkfifo(samples)
    assert "not a file" in page.picture(run, "samples")[1]
    shutil.move(run / "figures", tmp_path / "elsewhere")
    (run / "figures").symlink_to(tmp_path / "elsewhere")
    assert "outside" in page.picture(run, "reconstructions")[1]
    assert "lies outside the run's directory" in write(run).read_text()
    assert "<img" not in (run / "report.html").read_text().partition("<script")[0]


def test_bands_of_known_values():
    values = np.array([[1.0, 5.0, np.nan, np.nan], [3.0, np.nan, np.nan, 7.0], [2.0, 4.0, np.nan, np.nan]])
    found = bands.band([1, 2, 3, 4], values)
    assert found.x == [1, 2, 4]
    assert (found.low, found.middle, found.high) == ([1, 4, 7], [2, 4.5, 7], [3, 5, 7])
    assert (found.lowest, found.highest, found.count) == ([0, 2, 1], [1, 0, 1], [3, 2, 1])
    long = bands.band(range(10_000), np.arange(10_000.0)[None])
    assert len(long.x) <= bands.MOST_POINTS
    assert (long.x[0], long.x[-1]) == (0, 9999)


def test_steps_are_binned_with_their_extremes(tmp_path):
    (run,) = runs.read([lively_run(tmp_path / "run", epochs=40)]).runs
    x, low = bands.by_step([run], "sigma_min", np.nanmin)
    assert len(x) == low.shape[1] <= bands.MOST_POINTS
    assert np.nanmin(low) == run.steps["sigma_min"].min()
    assert x[-1] >= len(run.steps["sigma_min"]) == 40 * STEPS


def test_an_axis_is_cut_only_where_a_run_exploded():
    calm = np.linspace(-40.0, -25.0, 50)
    assert bands.axis_range(calm, "high") is None
    low, high = bands.axis_range(np.append(calm, -1e6), "high")
    assert -100 < low < -40
    assert high > -25
    assert bands.axis_range(-np.append(calm, -1e6), "low") == pytest.approx((-high, -low), abs=0.5)
    assert bands.axis_range(np.array([np.nan]), "high") is None
    assert bands.axis_range(np.full(5, 2.0), "high") is None


def test_charts_of_known_runs(reports):
    found = runs.read([reports["two"].parent])
    plotter = Plotter(found)
    (panel,) = plotter.panels(found.runs)
    chart = curves(plotter, panel, "valid/elbo", "", "high")
    marks = chart.data[-1]
    assert (marks["name"], marks["x"], marks["yaxis"]) == ("sigma", [4], "y2")
    assert all(f"job {number}: step {4 * STEPS - STEPS // 2} (kl)" in marks["text"][0] for number in range(3))
    (grid,) = (chart.data[0] for chart in divergence(plotter))
    assert (grid["y"], grid["text"]) == (["sigma", "gamma"], [["3/6"], ["0/6"]])
    medians = [
        trace for trace in chart.data if trace["name"] == "gamma" and "median of {n} of 6" in trace["meta"]["hover"]
    ]
    elbo = [run.rows[0]["valid/elbo"] for run in found.runs if run.variant == "gamma"]
    assert medians[0]["y"][0] == pytest.approx(np.median(elbo), rel=1e-4)
    assert len({trace["line"]["color"] for trace in chart.data[:-1] if trace["name"] == "gamma"}) == 1


def test_gradient_boxes_are_quantiles_of_all_finite_steps(reports):
    found = runs.read([reports["two"].parent])
    plotter = Plotter(found)
    chart = gradients(plotter, plotter.panels(found.runs)[0])
    box = next(trace for trace in chart.data if trace.get("type") == "box" and trace["name"] == "sigma")
    norms = np.concatenate([run.steps["grad_norm"] for run in found.runs if run.variant == "sigma"]).astype(np.float64)
    norms = norms[np.isfinite(norms)]
    assert [box[key][0] for key in ("lowerfence", "median", "upperfence")] == pytest.approx(
        np.quantile(norms, [0.01, 0.5, 0.99]).tolist()
    )
    assert sigma(plotter, plotter.panels(found.runs)[0]).layout["yaxis"]["type"] == "log"


def test_latents_and_rate(reports):
    plotter = Plotter(runs.read([reports["latents"].parent]))
    elbo, active = latents(plotter)
    assert elbo.data[0]["x"] == active.data[0]["x"] == [2, 5, 10]
    assert sum(len(trace["x"]) for trace in elbo.data[1:]) == 6
    chart = rate_distortion(plotter, Panel("", plotter.study.runs))
    lines = [trace for trace in chart.data if "customdata" not in trace]
    assert all(np.ptp(np.add(line["x"], line["y"])) < 0.01 for line in lines)


def test_what_evaluate_measured_stands_against_the_number_of_latents_with_its_interval(tmp_path):
    """Bars are 1.96 standard errors, none where there is none; what was measured otherwise has a chart of its own."""
    for number, (size, samples) in enumerate([(2, 10), (5, 10), (10, 10), (10, 99)]):
        directory = lively_run(tmp_path / str(number), seed=number, latent_dim=size)
        evaluate(directory, "nll", {"nll": (200.0 - size, 0.5), HOSTILE: (1.0, None)}, samples=samples)
    html = write(tmp_path).read_text()
    found = runs.read([tmp_path])
    charts = {chart.title: chart for chart in latents(Plotter(found))[2:]}
    nll = [chart for title, chart in charts.items() if title.startswith("eval/nll")]
    assert [title[-11:] for title in charts if title.startswith("eval/nll")] == [" samples=10", " samples=99"]
    points = [trace for trace in nll[0].data if "customdata" in trace]
    assert [(trace["x"], trace["y"]) for trace in points] == [([2], [198]), ([5], [195]), ([10], [190])]
    assert [trace["error_y"]["array"] for trace in points] == [[0.98]] * 3
    assert not any("error_y" in trace for title, chart in charts.items() if HOSTILE in title for trace in chart.data)
    assert "eval/nll" in html
    assert HOSTILE not in html


def test_intervals_are_those_of_the_comparison(reports):
    found = runs.read([reports["two"].parent])
    asked = {question["key"]: question for question in comparing.compare(found)["questions"]}
    assert intervals(Plotter(found), asked["divergence"]) is None
    chart = intervals(Plotter(found), asked["valid/elbo"])
    item = asked["valid/elbo"]["comparisons"][0]
    assert chart.data[0]["x"] == [item["estimate"]]
    assert chart.data[0]["marker"]["symbol"].endswith("-open") == (item["low"] is None)


def test_numbers_of_other_quantities_share_no_axis(tmp_path):
    """Two likelihoods at two latent sizes: ELBO, reconstruction and gradients apart, KL and active latents together."""
    for number, (size, kind) in enumerate(itertools.product((2, 5), ("bernoulli", "gaussian"))):
        directory = lively_run(tmp_path / str(number), latent_dim=size)
        config = yaml.safe_load((directory / "config.yaml").read_text())
        config["likelihood"] = {"name": kind}
        (directory / "config.yaml").write_text(yaml.safe_dump(config))
    html = write(tmp_path).read_text()
    found = runs.read([tmp_path])
    plotter = Plotter(found)
    density, entropy = (": gaussian (log density of the pixels' values)", ": bernoulli with binarize=null (")
    titles = [chart.title for chart in latents(plotter)]
    assert [density in titles[1], entropy in titles[0], titles[2]] == [True, True, "How many of the latents are used"]
    parts = plotter.alike(Panel("", found.runs), "bound")
    assert [[run.flat["likelihood.name"] for run in part.runs] for part in parts] == [
        ["bernoulli"] * 2,
        ["gaussian"] * 2,
    ]
    assert len(plotter.alike(Panel("", found.runs), "objective")) == 2
    assert len(plotter.alike(Panel("", found.runs), "anything")) == 1
    of_rate = html[html.index('id="rate"') : html.index('id="differences"')]
    assert of_rate.count("<figcaption>") == 2
    (line,) = comparing.compare(found)["apart"]
    assert page.text(line, 1000) in html[: html.index("<nav")]
