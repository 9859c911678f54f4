"""`vaex compare`: planted effects, planted nulls, planted divergences, damage; in process and from the command line."""

import dataclasses
import itertools
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.conftest import Finished
from tests.support.made_runs import MANIFEST, evaluate, two_variants, write_run
from vaex.commands import compare
from vaex.report import publish
from vaex.study import comparing, evidence, questions, runs, sentences

HEADLINE = ("divergence", "loss_spikes", "steps_to_target", "valid/elbo")


def asked(comparison: dict[str, Any], key: str, variant: str = "sigma") -> dict[str, Any]:
    """One question's answer about one variant."""
    (question,) = (question for question in comparison["questions"] if question["key"] == key)
    (found,) = (item for item in question["comparisons"] if item["variant"] == variant)
    return found


def test_a_planted_effect_is_found_with_its_size(tmp_path):
    """sigma is 6 nats lower throughout, far less than seeds differ; noise of a pair: 1.4 nats."""
    comparison = comparing.compare(runs.read([two_variants(tmp_path, 6.0)]))
    elbo = asked(comparison, "valid/elbo")
    assert elbo["answer"] == "fewer"
    assert elbo["low"] < -6 < elbo["high"] < 0
    assert (elbo["pairs"], elbo["seeds"]) == (8, 8)
    assert elbo["estimate"] == pytest.approx(elbo["mean_variant"] - elbo["mean_against"])
    assert elbo["sentence"].startswith("gamma has a higher final valid ELBO than sigma: ")
    assert "8 pairs that finished, 8 seeds" in elbo["sentence"]
    steps = asked(comparison, "steps_to_target")
    assert steps["answer"] == "more"
    assert 1 < steps["low"] < steps["estimate"]
    assert asked(comparison, "seconds_to_target")["estimate"] == pytest.approx(steps["estimate"])  # 0.2 s a step
    assert (
        asked(comparison, "divergence")["answer"] == asked(comparison, "loss_spikes")["answer"] == sentences.NOT_SHOWN
    )


def test_a_planted_null_is_not(tmp_path):
    comparison = comparing.compare(runs.read([two_variants(tmp_path, 0.0, rates=("1e-3", "1e-2"))]))
    for key in HEADLINE:
        assert asked(comparison, key)["answer"] == sentences.NOT_SHOWN, key
        assert asked(comparison, key)["sentence"].startswith(sentences.NOT_SHOWN)
    elbo = asked(comparison, "valid/elbo")
    assert elbo["low"] < 0 < elbo["high"]
    assert [place["setting"] for place in elbo["by_setting"]] == [
        {"optimizer.learning_rate": "0.001"},
        {"optimizer.learning_rate": "0.01"},
    ]


@pytest.fixture
def diverging(tmp_path: Path) -> Path:
    """At the high rate seven of eight sigma runs diverge, their last finite numbers beyond all measure."""
    folder = two_variants(tmp_path / "sweep", 0.0, rates=("1e-3", "1e-2"))
    for job in range(8, 15):
        shutil.rmtree(folder / str(job))
        overrides = ("loss=sigma", f"seed={job - 8}", "optimizer.learning_rate=1e-2")
        write_run(folder / str(job), [-1e9, None], *overrides, status="diverged", spikes=10**6)
    return folder


def test_planted_divergences_are_counted_and_in_no_mean(diverging):
    comparison = comparing.compare(runs.read([diverging]))
    told = asked(comparison, "divergence")
    assert told["answer"] == "more"
    assert (told["only_variant"], told["only_against"], told["pairs"]) == (7, 0, 16)
    assert told["p"] == pytest.approx(2 / 2**7)
    assert told["share_low"] > 0.5
    assert told["sentence"].startswith(
        "gamma diverges less often than sigma: 0 of 16 runs (0 % to 19 %) against 7 of 16"
    )
    variant = comparison["by_variant"]["sigma"]
    assert (variant["diverged"], variant["divergence"]["count"], variant["divergence"]["total"]) == (7, 7, 16)
    assert variant["means"]["valid/elbo"]["runs"] == 9
    assert variant["means"]["loss_spikes"] == {"mean": 0, "runs": 9}
    elbo = asked(comparison, "valid/elbo")
    assert (elbo["answer"], elbo["pairs"]) == (sentences.NOT_SHOWN, 8)
    assert asked(comparison, "steps_to_target")["pairs"] == 8
    assert elbo["thin"] == [{"optimizer.learning_rate": "0.01"}]
    assert abs(elbo["estimate"]) < 10


def relabeled(found: runs.Study, rng: np.random.Generator) -> runs.Study:
    """The same runs with the variants of each pair exchanged or not, by a coin."""
    other = {"sigma": "gamma", "gamma": "sigma"}
    coins: dict[Any, bool] = {}
    swapped = []
    for run in found.runs:
        swap = coins.setdefault((run.flat["seed"], run.flat["optimizer.learning_rate"]), bool(rng.integers(2)))
        swapped.append(dataclasses.replace(run, variant=other[run.variant] if swap else run.variant))
    return dataclasses.replace(found, runs=swapped)


@pytest.mark.slow
def test_relabeled_pairs_show_no_effect(diverging, record_property, monkeypatch):
    """A real effect in everything; after 200 relabelings within pairs "no difference" is the answer in 90 % or more."""
    rng = np.random.default_rng(1)
    for job in range(8):
        rows = [json.loads(line) for line in (diverging / str(job) / "metrics.jsonl").read_text().splitlines()]
        shutil.rmtree(diverging / str(job))
        curve = [row["valid/elbo"] - 10.0 for row in rows]
        write_run(diverging / str(job), curve, "loss=sigma", f"seed={job}", spikes=int(rng.poisson(9)))
    found = runs.read([diverging])
    monkeypatch.setattr(evidence, "RESAMPLES", 1999)  # enough for 5 %, and five times as quick
    evidence._resamples.cache_clear()
    monkeypatch.setattr(questions, "QUESTIONS", [question for question in questions.QUESTIONS if question.headline])
    as_it_is = comparing.compare(found)
    assert all(asked(as_it_is, key)["answer"] in ("more", "fewer") for key in HEADLINE)
    null = dict.fromkeys(HEADLINE, 0)
    for _ in range(200):
        comparison = comparing.compare(relabeled(found, rng))
        for key in HEADLINE:
            null[key] += asked(comparison, key)["answer"] == sentences.NOT_SHOWN
    evidence._resamples.cache_clear()
    shares = {key: count / 200 for key, count in null.items()}
    record_property("no_difference_under_relabeling", shares)
    print(f"no difference shown under 200 relabelings: {shares}")
    assert min(shares.values()) >= 0.9, shares


@pytest.mark.parametrize("seeds", [1, 4])
def test_too_few_seeds_end_in_no_verdict_however_large_the_effect(tmp_path, seeds):
    comparison = comparing.compare(runs.read([two_variants(tmp_path, 500.0, seeds=seeds)]))
    for key in HEADLINE:
        told = asked(comparison, key)
        assert told["answer"] == sentences.TOO_FEW
        assert told["p"] is None
    (verdict,) = comparison["verdicts"]  # one line for all questions
    assert (
        verdict
        == f"not enough runs to tell gamma, sigma apart: at most {seeds} seeds in common at one setting, 5 needed"
    )
    assert asked(comparison, "valid/elbo")["estimate"] == pytest.approx(-500, abs=10)


def test_two_settings_of_three_seeds_are_too_few_too(tmp_path):
    found = runs.read([two_variants(tmp_path, 500.0, seeds=3, rates=("1e-3", "1e-2"))])
    assert {asked(comparing.compare(found), key)["answer"] for key in HEADLINE} == {sentences.TOO_FEW}


def test_several_variants_are_corrected_together(tmp_path):
    """Six variants beside gamma with a small effect of one: p times six, and the verdict says for whom nothing was."""
    folder = two_variants(tmp_path, 3.0)
    names = ("softplus", "log_sigma", "bounded", "soft_clamp", "exp_linear")
    for place, loss in enumerate(names):
        for job in range(8, 16):
            rows = [json.loads(line) for line in (folder / str(job) / "metrics.jsonl").read_text().splitlines()]
            noise = float(np.random.default_rng(job + 100 * place).normal())
            curve = [row["valid/elbo"] + noise for row in rows]
            write_run(folder / f"{loss}{job}", curve, f"loss={loss}", f"seed={job - 8}")
    comparison = comparing.compare(runs.read([folder]))
    found = [asked(comparison, "valid/elbo", name) for name in ("sigma", *names)]
    smallest = min(found, key=lambda item: item["p"])
    assert smallest["variant"] == "sigma"
    assert smallest["p_holm"] == pytest.approx(6 * smallest["p"])
    verdict = comparison["verdicts"][-1]
    assert "gamma has a higher final valid ELBO than sigma: " in verdict
    assert (
        "; no difference shown from gamma in final valid ELBO: bounded, exp_linear, log_sigma, soft_clamp, softplus"
        in verdict
    )


def test_pairs_in_which_nobody_gets_there_move_the_ratio_to_one(tmp_path):
    for seed in range(5):
        write_run(tmp_path / f"s{seed}", [-80.0, -70.0], "loss=sigma", f"seed={seed}")
        write_run(tmp_path / f"g{seed}", [-80.0, -20.0], "loss=gamma", f"seed={seed}")
    told = asked(comparing.compare(runs.read([tmp_path]), target=-5.0), "steps_to_target")
    assert (told["estimate"], told["reached_variant"], told["reached_against"]) == (1, 0, 0)
    assert told["answer"] == sentences.NOT_SHOWN


def test_the_target_is_the_worse_variants_and_what_never_got_there_counts_whole(tmp_path):
    """Five seeds; sigma ends at −50 in three, −60 in two: median −50, which gamma reaches at step 15 of 30."""
    for seed in range(5):
        write_run(tmp_path / f"s{seed}", [-80.0, -70.0, -50.0 if seed < 3 else -60.0], "loss=sigma", f"seed={seed}")
        write_run(tmp_path / f"g{seed}", [-80.0, -20.0, -10.0], "loss=gamma", f"seed={seed}")
    told = asked(comparing.compare(runs.read([tmp_path])), "steps_to_target")
    assert told["targets"] == [{"setting": {}, "target": -50}]
    assert (told["reached_variant"], told["reached_against"], told["pairs"]) == (3, 5, 5)
    assert told["estimate"] == pytest.approx(2)
    given = comparing.compare(runs.read([tmp_path]), target=-70.0)
    assert asked(given, "steps_to_target")["estimate"] == pytest.approx(20 / (10 + 10 / 6))
    assert given["runs"][0]["steps_to_target"] == pytest.approx(10 + 10 / 6)


def test_without_a_finished_run_there_is_no_target_and_that_is_said(tmp_path):
    for seed in range(5):
        write_run(tmp_path / f"s{seed}", [-80.0, None], "loss=sigma", f"seed={seed}", status="diverged")
        write_run(tmp_path / f"g{seed}", [-80.0, -20.0], "loss=gamma", f"seed={seed}")
    comparison = comparing.compare(runs.read([tmp_path]))
    told = asked(comparison, "steps_to_target")
    assert (told["answer"], told["targets"][0]["target"]) == (sentences.TOO_FEW, None)
    assert "never finishes, so there is no target: give --target" in told["sentence"]
    assert asked(comparison, "divergence")["only_variant"] == 5


def damage(folder: Path) -> None:
    """One file of each kind in six runs of sixteen."""
    (folder / "0" / "metrics.jsonl").write_text((folder / "0" / "metrics.jsonl").read_text()[:-30])
    (folder / "1" / "summary.json").write_text("")
    (folder / "2" / "steps.npz").unlink()
    (folder / "3" / "config.yaml").write_text("a: [")
    (folder / "9" / "manifest.json").write_text("{")
    (folder / "10" / "metrics.jsonl").unlink()


@pytest.fixture
def inside(tmp_path, monkeypatch, capfd):
    """`vaex arguments...` in this process and this test's directory: exit code, stdout, stderr."""
    from vaex.cli import _guarded

    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        capfd.readouterr()
        return Finished(_guarded([*arguments]), *capfd.readouterr(), tmp_path)

    return run


def test_damaged_files_are_named_and_stop_nothing(tmp_path, inside):
    folder = two_variants(tmp_path / "sweep", 50.0)
    damage(folder)
    done = inside("compare", "sweep")
    assert done.code == 0, done.stderr
    assert done.stderr == ""
    for words in (
        "job 0: metrics.jsonl: ends within a line, cut after epoch 4",
        "job 1: summary.json: cannot be read as JSON",
        "job 2: steps.npz: not a readable steps.npz: No such file",
        "job 3: left out: config.yaml: cannot be read as YAML",
        "job 9: manifest.json: cannot be read as JSON",
        "job 10: metrics.jsonl: No such file",
    ):
        assert f"not as it should be: {words}" in done.stdout
    comparison = json.loads((folder / "compare.json").read_text(), parse_constant=pytest.fail)
    assert len(comparison["problems"]) == 6
    elbo = asked(comparison, "valid/elbo")
    assert (elbo["pairs"], elbo["answer"]) == (6, "fewer")
    assert asked(comparison, "steps_to_target")["pairs"] == 4
    assert comparison["by_variant"]["sigma"]["interrupted"] == 1
    assert "job 3: left out" in (folder / "report.html").read_text()


def test_a_sweep_from_the_command_line(tmp_path, vaex, inside):
    two_variants(tmp_path / "sweep", 6.0)
    done = vaex("compare", "sweep")
    assert done.code == 0, done.stderr
    assert "gamma needs fewer steps to target than sigma: " in done.stdout
    assert done.stdout.rstrip().endswith("report: sweep/report.html")
    comparison = json.loads((tmp_path / "sweep" / "compare.json").read_text(), parse_constant=pytest.fail)
    table = pd.read_csv(tmp_path / "sweep" / "compare.csv")
    assert len(table) == sum(len(question["comparisons"]) for question in comparison["questions"])
    row = table[table["question"] == "valid/elbo"].iloc[0]
    told = asked(comparison, "valid/elbo")
    for key in ("pairs", "seeds", "estimate", "low", "high", "p", "p_holm", "answer"):
        assert row[key] == told[key], key
    again = inside("compare", "sweep", "--by", "loss", "--against", "sigma")
    assert again.code == 0
    assert "sigma needs more steps to target than gamma: " in again.stdout


def test_several_directories_go_to_a_directory_of_their_own(tmp_path, inside):
    two_variants(tmp_path / "sweep", 6.0)
    write_run(tmp_path / "lone", [-50.0], "loss=softplus")
    done = inside("compare", "sweep", "lone", "sweep/0")
    assert done.code == 0, done.stderr
    (report,) = (tmp_path / "outputs" / "compare").glob("*/*/report.html")
    assert len(json.loads((report.parent / "compare.json").read_text())["runs"]) == 17
    assert not (tmp_path / "sweep" / "report.html").exists()
    chosen = inside("compare", "sweep", "lone", "--out", "there/here", "--target", "-60")
    assert chosen.code == 0, chosen.stderr
    assert {path.name for path in (tmp_path / "there" / "here").iterdir()} == {
        "compare.json",
        "compare.csv",
        "report.html",
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "vaex compare: the following arguments are required: DIR"),
        (("nope",), "nope: no such directory"),
        (("sweep", "--by", "optimizr"), "--by optimizr: no run has such a key or group; did you mean 'optimizer'?"),
        (("sweep", "--against", "gama"), "--against gama: no such variant; did you mean 'gamma'?"),
        (("sweep", "--target", "much"), "vaex compare: argument --target: invalid float value: 'much'"),
        (("sweep", "--target", "nan"), "vaex compare: --target: expected a finite number of nats, got nan"),
        (("sweep", "--bye", "loss"), "vaex compare: unknown flag --bye; did you mean '--by'?"),
        (("sweep", "--out", "sweep/0/config.yaml"), "sweep/0/config.yaml: cannot be written to: "),
    ],
)
def test_a_mistake_costs_one_line(tmp_path, capsys, monkeypatch, arguments, words):
    from vaex.cli import _guarded

    two_variants(tmp_path / "sweep", 6.0, seeds=1)
    monkeypatch.chdir(tmp_path)
    assert _guarded(["compare", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"vaex: {words}")
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "outputs").exists()
    assert not (tmp_path / "sweep" / "report.html").exists()


def test_html_in_overrides_and_names_is_text(tmp_path):
    """A configuration that somebody sent: its values, its directory's name and its culprit all hold a script."""
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    folder = tmp_path / "<b>sweep"
    for number in range(2):
        values = {"dataset.name": f"{evil}{number}", "model.activation": f"</script>{evil}{number}"}
        write_run(folder / f"{number}<i>", [-1.0, None], values=values, status="diverged", summary={"culprit": evil})
    compare.main([str(folder), "--by", "dataset.name"])
    page = (folder / "report.html").read_text()
    assert "alert(1)" in page
    for tag in ("<script>alert", "<img src=x", "<b>sweep", "0<i>"):
        assert tag not in page, tag


def test_a_partial_sweep(tmp_path):
    """Killed in the middle: one job without a summary, one that only began, the others never made."""
    folder = two_variants(tmp_path / "sweep", 50.0)
    (folder / "12" / "summary.json").unlink()
    shutil.rmtree(folder / "13")
    (folder / "13" / ".hydra").mkdir(parents=True)
    for job in (14, 15):
        shutil.rmtree(folder / str(job))
    comparison = comparing.compare(runs.read([folder]))
    assert asked(comparison, "valid/elbo")["answer"] == sentences.TOO_FEW
    assert asked(comparison, "valid/elbo")["pairs"] == 4
    assert [problem.partition(": ")[0] for problem in comparison["problems"]] == ["job 13", "job 12"]


def test_one_run_has_nothing_to_be_compared_with(tmp_path):
    write_run(tmp_path / "run", [-3.0, -2.0])
    assert compare.main([str(tmp_path / "run")]) == 0
    comparison = json.loads((tmp_path / "run" / "compare.json").read_text())
    assert comparison["verdicts"][0] == "diverged runs: only one variant, nothing to compare"
    assert (tmp_path / "run" / "compare.csv").exists()


def test_after_a_sweep_the_report_is_there_and_a_failure_is_one_warning(tmp_path, capsys, caplog):
    logging.getLogger("vaex").propagate = True
    folder = two_variants(tmp_path / "sweep", 6.0)
    publish.of_sweep(folder)
    assert "gamma has a higher final valid ELBO than sigma" in capsys.readouterr().out
    assert (folder / "report.html").exists()
    assert not caplog.records
    publish.of_sweep(tmp_path / "nope")
    (record,) = caplog.records
    assert "no report (InputError: " in record.getMessage()


def test_by_another_axis(tmp_path):
    """The learning rate compared, the losses being settings then."""
    folder = two_variants(tmp_path, 0.0, rates=("1e-3", "1e-2"))
    found = runs.read([folder], by="optimizer.learning_rate", against="0.01")
    comparison = comparing.compare(found)
    assert comparison["variants"] == ["0.01", "0.001"]
    told = asked(comparison, "valid/elbo", "0.001")
    assert (told["pairs"], told["answer"]) == (16, sentences.NOT_SHOWN)
    assert {place["setting"]["loss.name"] for place in told["by_setting"]} == {"sigma", "gamma"}


def of_five_seeds(folder: Path, *variants: dict[str, Any]) -> Path:
    """A sweep of these values, seeds 0 to 4, each variant some 100 nats below the one before; `data` is the digest."""
    for number, (place, seed) in enumerate(itertools.product(range(len(variants)), range(5))):
        values = dict(variants[place])
        digest = values.pop("data", "ab" * 32)
        likelihood = values.pop("likelihood", "bernoulli")
        curve = [last - (100 + seed) * place - seed**0.5 for last in (-200.0, -150.0)]
        run = write_run(folder / str(number), curve, f"likelihood={likelihood}", f"seed={seed}", values=values)
        (run / "manifest.json").write_text(json.dumps(MANIFEST | {"run_id": run.name, "dataset_sha256": digest}))
    return folder


OTHERS = (
    ({}, {"likelihood": "gaussian"}, "bernoulli with binarize=none (cross-entropy of the pixels' values"),
    ({}, {"likelihood": "continuous_bernoulli"}, "continuous_bernoulli (log density of the pixels' values)"),
    ({"likelihood.binarize": "none"}, {"likelihood.binarize": "threshold"}, "(log probability of pixels cut at ½)"),
    ({"likelihood.binarize": "threshold"}, {"likelihood.binarize": "stochastic"}, "pixels drawn anew"),
    ({}, {"dataset.limit": 200, "data": "cd" * 32}, "dataset.limit=null and dataset.limit=200"),
    ({"likelihood.name": "mine", "likelihood.binarize": "a"}, {"likelihood.name": "mine"}, "log p by"),
)


@pytest.mark.parametrize(("first", "second", "why"), OTHERS)
def test_what_is_not_the_same_quantity_is_not_compared(tmp_path, first, second, why):
    """100 nats apart in every pair: no verdict on ELBO and steps, one line that says why; counts are told."""
    comparison = comparing.compare(runs.read([of_five_seeds(tmp_path, first, second)]), target=-260.0)
    variant = comparison["variants"][1]
    for key in ("valid/elbo", "test/elbo", "steps_to_target", "seconds_to_target", "stability/grad_norm_max"):
        told = asked(comparison, key, variant)
        assert told["answer"] == sentences.NOT_COMPARABLE, key
        assert {told[name] for name in ("estimate", "low", "high", "p", "p_holm", "mean_variant")} == {None}, key
        assert told["by_setting"] == []
    for key in ("divergence", "loss_spikes", "active_latents", "stability/sigma_max", "stability/valid_jumps"):
        assert asked(comparison, key, variant)["answer"] == sentences.NOT_SHOWN, key
    *verdicts, line = comparison["verdicts"]
    assert line.startswith(
        "not compared: ELBO, reconstruction and steps to an ELBO, which are not the same quantity in "
    )
    assert line.endswith("; comparable: divergence, loss spikes, active latents")
    assert why in line
    assert [any(word in verdict for verdict in verdicts) for word in ("diverged", "spikes", "active")] == [True] * 3
    assert not any(word in verdict for verdict in verdicts for word in ("ELBO", "target"))


SAME = (
    ({"likelihood": "gaussian"}, {"likelihood": "gaussian", "likelihood.sigma": 0.2}),
    ({"likelihood": "gaussian"}, {"likelihood": "gaussian", "likelihood.learned": True}),
    ({"likelihood": "gaussian"}, {"likelihood": "laplace"}),
    ({}, {"kl_weight.beta": 4.0}),
    ({}, {"kl_weight.free_bits": 0.5}),
    ({}, {"training.batch_size": 32}),
    ({}, {"dataset.limit": 5000}),  # more than there are: the same digest
)


@pytest.mark.parametrize(("first", "second"), SAME)
def test_what_is_the_same_quantity_is_compared_whatever_else_differs(tmp_path, first, second):
    comparison = comparing.compare(runs.read([of_five_seeds(tmp_path, first, second)]))
    assert comparison["apart"] == []
    elbo = asked(comparison, "valid/elbo", comparison["variants"][1])
    assert (elbo["answer"], elbo["estimate"], elbo["not_comparable"]) == ("fewer", -102, None)
    assert all(question["key"] != "active_latents" for question in comparison["questions"] if question["headline"])
    minimised = asked(comparison, "stability/valid_change_mean", comparison["variants"][1])
    other = any(key.startswith("kl_weight") for key in second)
    assert (minimised["answer"] == sentences.NOT_COMPARABLE) == other


def test_spikes_counted_by_another_rule_are_not_compared(tmp_path):
    folder = of_five_seeds(tmp_path, {"training.spike_nats": 50.0}, {"training.spike_nats": 10.0})
    comparison = comparing.compare(runs.read([folder]))
    assert asked(comparison, "loss_spikes", "10.0")["answer"] == sentences.NOT_COMPARABLE
    assert asked(comparison, "valid/elbo", "10.0")["answer"] == "fewer"
    assert comparison["verdicts"][-1] == (
        "not compared: loss spikes, which are counted by another rule in "
        "training.spike_nats=50.0 and training.spike_nats=10.0"
    )


def evaluated(folder: Path, first: dict[str, Any], second: dict[str, Any], **keys: dict[str, Any]) -> dict[str, Any]:
    """The comparison of two variants of five seeds, the second's NLL 3 nats and its accuracy 0.25 higher; what each
    was measured with, and its keys."""
    of_five_seeds(folder, keys.get("one", {}), keys.get("other", {"kl_weight.beta": 4.0}))
    for number in range(10):
        seed, place = number % 5, number // 5
        told, luck = (first, second)[place], 10.0 * seed
        values = {"nll": (240 + luck + 3 * place + 0.1 * seed * place, 0.5), "nll/bits_per_dimension": (0.5, None)}
        evaluate(folder / str(number), "nll", values, **told)
        evaluate(folder / str(number), "probe", {"probe/class/accuracy": (0.5 + place * (0.23 + 0.01 * seed), 0.005)})
    return comparing.compare(runs.read([folder]))


def test_what_evaluate_measured_is_asked_for(tmp_path):
    """By pairs of a seed NLL differs by 3, 3.1, … 3.4 nats, and it is a verdict; an accuracy is told, not printed."""
    comparison = evaluated(tmp_path, {}, {"seed": 7})
    variant = comparison["variants"][1]
    nll, accuracy = (asked(comparison, f"eval/{name}", variant) for name in ("nll", "probe/class/accuracy"))
    assert (nll["answer"], nll["estimate"], nll["seeds"]) == ("more", pytest.approx(3.2), 5)
    assert nll["low"] < 3.2 < nll["high"]
    assert nll["sentence"].startswith("1.0 has a lower eval/nll than 4.0: 260 against 263, ")
    assert nll["sentence"] in comparison["verdicts"]
    assert (accuracy["answer"], accuracy["estimate"]) == ("more", pytest.approx(0.25))
    assert accuracy["sentence"] not in comparison["verdicts"]
    assert comparison["by_variant"]["1.0"]["means"]["eval/nll"] == {"mean": pytest.approx(260.0), "runs": 5}


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"samples": 10}, "measured with split=test, samples=10 and measured with split=test, samples=100"),
        ({"split": "valid"}, "split=valid"),
        ({"limit": 50}, "limit=50"),
        ({"options": {"threshold": 0.5}}, "threshold=0.5"),
    ],
)
def test_what_was_measured_otherwise_is_not_compared(tmp_path, told, why):
    comparison = evaluated(tmp_path, {}, told)
    nll = asked(comparison, "eval/nll", comparison["variants"][1])
    assert (nll["answer"], nll["estimate"]) == (sentences.NOT_COMPARABLE, None)
    assert why in nll["not_comparable"]
    assert asked(comparison, "eval/probe/class/accuracy", comparison["variants"][1])["answer"] == "more"


def test_of_two_likelihoods_the_nll_is_not_compared_but_what_is_of_codes_is(tmp_path):
    comparison = evaluated(tmp_path, {}, {}, one={}, other={"likelihood": "gaussian"})
    variant = comparison["variants"][1]
    assert asked(comparison, "eval/nll", variant)["answer"] == sentences.NOT_COMPARABLE
    assert asked(comparison, "eval/probe/class/accuracy", variant)["answer"] == "more"


def test_of_other_data_nothing_that_evaluate_measured_is_compared(tmp_path):
    comparison = evaluated(tmp_path, {}, {}, one={}, other={"dataset.limit": 200, "data": "cd" * 32})
    for name in ("nll", "probe/class/accuracy"):
        assert asked(comparison, f"eval/{name}", comparison["variants"][1])["answer"] == sentences.NOT_COMPARABLE


def test_an_evaluation_of_another_model_or_a_damaged_one_counts_as_none_and_is_named(tmp_path):
    evaluated(tmp_path, {}, {})
    path = tmp_path / "0" / "evaluation.json"
    path.write_text(path.read_text().replace("ef" * 32, "01" * 32))
    (tmp_path / "1" / "evaluation.json").write_text('{"format": 1, "metrics": {"nll": 3}}')
    (tmp_path / "2" / "evaluation.json").write_text("{")
    (tmp_path / "3" / "evaluation.json").unlink()
    comparison = comparing.compare(runs.read([tmp_path]))
    first, second, third = comparison["problems"]
    assert first == "job 0: evaluation.json: is of another model than the run has now"
    assert second == "job 1: evaluation.json: not an evaluation of vaex"
    assert third.startswith("job 2: evaluation.json: ")
    nll = asked(comparison, "eval/nll", comparison["variants"][1])
    assert (nll["answer"], nll["pairs"], nll["estimate"]) == (sentences.TOO_FEW, 1, pytest.approx(3.4))


def test_one_configuration_whose_file_has_changed_is_two_quantities(tmp_path):
    """The recorded digest decides; a run that has lost its own has that of the others of its dataset."""
    folder = of_five_seeds(tmp_path, {}, {"training.batch_size": 32, "data": "cd" * 32})
    (line,) = comparing.compare(runs.read([folder]))["apart"]
    assert "data abababababab and data cdcdcdcdcdcd" in line
    alike = of_five_seeds(tmp_path / "alike", {}, {"training.batch_size": 32})
    (alike / "7" / "manifest.json").unlink()
    assert comparing.compare(runs.read([alike]))["apart"] == []


@pytest.fixture
def two_likelihoods(tmp_path: Path) -> Path:
    """sigma 6 nats below gamma under one likelihood, 600 under another, by five seeds."""
    grid = itertools.product(("bernoulli", "gaussian"), ("sigma", "gamma"), range(5))
    for number, (likelihood, loss, seed) in enumerate(grid):
        effect = (6 if likelihood == "bernoulli" else 600) * (loss == "sigma")
        curve = [-300.0 - effect - seed**0.5, -100.0 - effect - seed**0.5]
        write_run(tmp_path / str(number), curve, f"likelihood={likelihood}", f"loss={loss}", f"seed={seed}")
    return tmp_path


def test_settings_of_other_quantities_have_no_mean_but_each_its_own(two_likelihoods):
    comparison = comparing.compare(runs.read([two_likelihoods]))
    elbo = asked(comparison, "valid/elbo")
    assert (elbo["answer"], elbo["estimate"]) == (sentences.NOT_COMPARABLE, None)
    assert [setting["estimate"] for setting in elbo["by_setting"]] == [-6, -600]
    assert elbo["sentence"].endswith("by_setting has each setting on its own")
    steps = asked(comparison, "steps_to_target")  # a ratio, each setting with a target of its own
    assert steps["answer"] == "more"
    given = comparing.compare(runs.read([two_likelihoods]), target=-200.0)
    assert asked(given, "steps_to_target")["answer"] == sentences.NOT_COMPARABLE
    assert "valid/elbo" not in comparison["by_variant"]["sigma"]["means"]
    assert comparison["by_variant"]["sigma"]["means"]["active_latents"]["runs"] == 10


def test_the_table_and_the_closing_lines_say_it(two_likelihoods, capsys):
    publish.of_sweep(two_likelihoods)
    out = capsys.readouterr().out
    assert "final valid ELBO" not in out
    assert out.count("not compared: ELBO") == 1
    assert compare.main([str(two_likelihoods), "--by", "likelihood", "--against", "gaussian"]) == 0
    out = capsys.readouterr().out
    assert out.count("not comparable") == 2  # cells: steps to target, final valid ELBO
    assert out.count("not compared: ELBO") == 1


def test_one_seed_of_two_likelihoods_is_one_line_for_want_of_seeds_and_one_for_the_rest(tmp_path):
    for number, likelihood in enumerate(("bernoulli", "gaussian")):
        write_run(tmp_path / str(number), [-2.0, -1.0], f"likelihood={likelihood}")
    few, apart = comparing.compare(runs.read([tmp_path]))["verdicts"]
    assert few.startswith(sentences.TOO_FEW)
    assert apart.startswith("not compared: ELBO")
