"""The command line as people and programs use it: exit codes, one-line errors, what a run and a sweep leave behind."""

import json
import math
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import yaml

from tests.support.configurations import make
from tests.support.processes import PATIENCE, pseudo_terminal, read_terminal, results
from vaex import cli, config
from vaex.disk import metrics
from vaex.disk.directory import Job, reserve
from vaex.sweeping import ending
from vaex.terminal import displays as terminal
from vaex.terminal import tables
from vaex.training import run as runs

SCRIPT = Path(sys.executable).with_name("vaex")
QUICK = ("dataset=digits", "training.epochs=1", "tracking.mode=disabled")

TERMS = ("loss", "reconstruction", "kl", "elbo", "elbo_per_pixel")
ROW = {
    *("epoch", "step", "seconds", "examples_per_second"),
    *(f"{split}/{term}" for split in ("train", "valid") for term in TERMS),
    *("grad_norm_mean", "grad_norm_max", "update_norm_mean", "sigma_min", "sigma_max", "sigma_mean"),
    *("learning_rate", "kl_weight", "clamped_fraction", "skipped_steps", "valid/kl_per_latent", "active_latents"),
}
SUMMARY = {
    *("status", "best/epoch", "best/valid/elbo", "first_nonfinite_step", "culprit", "loss_spikes"),
    *("wall_seconds", "parameters_sha256"),
    *(f"test/{term}" for term in TERMS),
}
STEPS = {"loss", "reconstruction", "kl", "grad_norm", "update_norm", "sigma_min", "sigma_max"}
FILES = {
    *("config.yaml", "manifest.json", "metrics.jsonl", "steps.npz", "summary.json", "model.safetensors", "vaex.log"),
    *("checkpoints", "figures", ".hydra"),
}


class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def inside(tmp_path, monkeypatch, capfd):
    """The command line in this process: the same code without a start of several seconds."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        capfd.readouterr()
        code = cli._guarded([*arguments])
        return Ended(code, *capfd.readouterr())

    return run


def one_line(ended, *parts):
    """The message is one line on stderr, with these parts, and nothing else is said."""
    assert re.fullmatch(r"vaex: [^\n]+\n", ended.err), ended.err
    for part in parts:
        assert part in ended.err
    return ended.code


def columns(directory):
    """Of each row."""
    return [set(row) for row in metrics.read_rows(directory / "metrics.jsonl")]


def summary(directory):
    return json.loads((directory / "summary.json").read_text())


# What it prints


def test_help_and_version_import_nothing_heavy():
    for flag in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", SCRIPT, flag], capture_output=True, text=True, check=True
        )
        imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
        assert not {"jax", "jaxlib", "flax", "wandb", "hydra", "omegaconf", "numpy", "rich", "pandas"} & imported


def test_help_lists_verbs_groups_and_options(inside):
    text = inside("--help").out
    assert inside("-h") == inside("train", "--help") == Ended(0, text, "")
    for verb in cli.VERBS:
        assert f"vaex {verb}" in text or verb == "train"
    for group in config.GROUPS:
        assert re.search(rf"^  {group} .*\b{next(iter(sorted(train_options(group))))}\b", text, re.MULTILINE)


def train_options(group):
    return [path.stem for path in (Path(__file__).parents[2] / "conf" / group).glob("*.yaml")]


def test_version_is_ours(inside, vaex):
    assert re.fullmatch(r"vaex \d+\.\d+\.\d+\n", inside("--version").out)
    assert vaex("--version").stdout == inside("--version").out
    assert vaex("--hydra-help").stdout.startswith("Hydra (1.3.")


def test_cfg_prints_the_configuration_and_leaves_nothing(inside, tmp_path):
    job = yaml.safe_load(inside("--cfg", "job", "loss=sigma", "seed=3").out)
    assert (job["loss"]["name"], job["seed"]) == ("sigma", 3)
    assert set(yaml.safe_load(inside("-c", "hydra").out)) == {"hydra"}
    assert yaml.safe_load(inside("--cfg", "job", "--package", "model").out)["latent_dim"] == 10
    assert "hydra/config:" in inside("--info", "defaults-tree").out
    assert not list(tmp_path.iterdir())


def test_shell_completion(inside, monkeypatch):
    assert "-F hydra_bash_completion vaex" in inside("-sc", "install=bash").out
    for line, completed in {
        "vaex loss=ga": "loss=gamma",
        "vaex mod": "model.",
        "vaex model.lat": "model.latent_dim=",
    }.items():
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("COMP_POINT", str(len(line)))
        assert completed in inside("--shell-completion", "query=bash").out.split()


# What it refuses


REFUSED = {
    ("nope",): "'nope' is neither a command nor key=value",
    ("tarin",): "did you mean 'train'?",
    ("--nope",): "unknown flag '--nope'",
    ("--cfg", "nope"): "--cfg/-c: invalid choice: 'nope'",
    ("--config-dir",): "expected one argument",
    ("--config-dir", "nope"): "--config-dir: no such directory",
    ("--config-name", "nope"): "--config-name: no configuration 'nope'",
    ("-sc", "nope"): "",
    ("--cfg", "job", "-m", "seed=1,2"): "Only one of",
    ("--experimental-rerun", "x.pickle"): "would unpickle",
    ("+typo=1",): "typo: unknown key",
    ("train", "+typo=1"): "typo: unknown key",
    ("-m", "model.latent_dim=2,0"): "model.latent_dim: expected greater than or equal to 1, got 0",
    ("experiment=latent_sweep",): "run it with `vaex -m experiment=latent_sweep`",
    ("dataset=arrays", "dataset.path=nope.npy"): "nope.npy",
    ("dataset=arrays", "dataset.path=twos.npy"): "dataset=arrays (train): values from 2 to 2, but likelihood=bernoulli",
    ("-m", "dataset=digits", "hydra.sweep.subdir=same", "seed=1,2"): "hydra.sweep.subdir: gives two jobs the same",
    ("dataset=digits", "hydra.run.dir=twos.npy/x"): "twos.npy/x: cannot be made: Not a directory",
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.items(), ids=map(" ".join, REFUSED))
def test_wrong_input_is_one_line_and_leaves_nothing(inside, tmp_path, arguments, message):
    np.save(tmp_path / "twos.npy", np.full((50, 4, 4), 2.0, np.float32))
    assert one_line(inside(*arguments), message) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["twos.npy"]


def test_a_working_directory_that_was_deleted_is_named(inside, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    for line in (QUICK, ("-m", *QUICK, "seed=0,1"), ("--cfg", "job"), ("resume", "run"), ("compare", "run")):
        assert one_line(inside(*line), "the working directory was deleted; cd to one that exists") == 2
    assert inside("--help").code == inside("data", "list").code == 0


def test_wrong_input_to_the_real_program(vaex, tmp_path):
    for arguments, key in {
        ("-m", "seed=1,2", "loss=gama"): "loss: no option",
        ("+typo=1",): "typo: unknown key",
    }.items():
        done = vaex(*arguments)
        assert (done.code, done.stdout) == (2, "")
        assert re.fullmatch(rf"vaex: {key}[^\n]*\n", done.stderr)
    done = vaex("+typo=1", HYDRA_FULL_ERROR="1")
    assert done.code == 2
    assert done.stderr.startswith("Traceback")
    assert not list(tmp_path.iterdir())


def test_wandb_mode_is_checked_first(inside, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "onlin")
    assert one_line(inside("dataset=digits"), "WANDB_MODE: expected online") == 2
    assert not list(tmp_path.iterdir())


def test_a_directory_that_holds_a_run_is_left_alone(inside, digits_run, digits_sweep):
    before = {path: path.stat().st_mtime_ns for path in digits_run.directory.rglob("*")}
    assert one_line(inside("dataset=digits", f"hydra.run.dir={digits_run.directory}"), "holds a run already") == 2
    sweep = f"hydra.sweep.dir={digits_sweep.directory}"
    assert one_line(inside("-m", "dataset=digits", "seed=1,2", sweep), "holds another sweep") == 2
    assert one_line(inside("-m", "dataset=digits", f"hydra.sweep.dir={digits_run.directory}"), "holds a run") == 2
    assert {path: path.stat().st_mtime_ns for path in digits_run.directory.rglob("*")} == before


def test_commands_of_one_second_get_directories_of_their_own(tmp_path):
    got = []
    threads = [threading.Thread(target=lambda: got.append(reserve(tmp_path / "day" / "time"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.name for path in got} == {"time", *(f"time_{number}" for number in range(2, 9))}


def test_figures_takes_no_override_that_would_change_the_run(inside, digits_run):
    ended = inside("figures", str(digits_run.directory), "model.latent_dim=3")
    assert one_line(ended, "model.latent_dim=3: vaex figures takes plugins=[...] and dataset.path=..., no other") == 2
    assert one_line(inside("figures", "sweeps/seed=3"), "expected a run directory") == 2


# What a run leaves


def test_a_run_leaves_the_files_and_keys_of_the_contract(digits_run):
    directory = digits_run.directory
    assert {path.name for path in directory.iterdir()} - {".lock", "code.diff"} == FILES
    assert columns(directory) == [ROW, ROW]
    assert set(summary(directory)) >= SUMMARY | ROW
    assert summary(directory)["status"] == "finished"
    with np.load(directory / "steps.npz", allow_pickle=False) as steps:
        assert set(steps) == STEPS
        assert {(array.dtype.name, array.shape) for array in steps.values()} == {("float32", (24,))}
    saved = yaml.safe_load((directory / "config.yaml").read_text())
    assert config.dump(config.parse(saved)) == saved
    assert saved["tracking"]["mode"] == "disabled"
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["segments"][0]["command"].endswith("dataset=digits training.epochs=2")
    model = safetensors.numpy.load_file(directory / "model.safetensors")
    encoder = (64 + 1) * 150 + (150 + 1) * 100 + 2 * (100 + 1) * 10
    decoder = (10 + 1) * 100 + (100 + 1) * 150 + (150 + 1) * 64
    assert sum(array.size for array in model.values()) == encoder + decoder == 52784
    assert all(np.isfinite(array).all() for array in model.values())
    assert not list(directory.rglob("*.tmp"))
    assert not list(directory.rglob("*.pkl"))


def test_what_a_run_prints_when_nobody_watches(digits_run):
    lines = digits_run.stdout.splitlines()
    assert lines[0].startswith("dataset=digits training.epochs=2  ->  outputs/")
    assert re.fullmatch(r"epoch 1/2  elbo train -\d+\.\d\d valid -\d+\.\d\d  [\d,]+ examples/s  \d+ s left", lines[1])
    assert lines[3].startswith("finished at epoch 2, step 24 in ")
    for name in ("train", "valid", "test", "elbo", "reconstruction", "kl"):
        assert name in digits_run.stdout
    assert lines[-1] == f"run directory: {digits_run.directory.relative_to(digits_run.cwd)}"
    assert "\x1b" not in digits_run.stdout
    assert digits_run.stderr == ""


def test_the_same_command_gives_the_same_bytes_also_beside_another_and_when_nobody_reads(tmp_path, digits_run):
    """Two at once, of which one loses its reader after a line; neither may show in the numbers.

    Nor may it that a program is compiled afresh: test_device.py has a run without any cache.
    """
    command = [SCRIPT, *("dataset=digits", "training.epochs=2", "tracking.mode=disabled")]
    beside = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    line = " ".join(map(str, command))
    piped = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line} | head -1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (piped.returncode, piped.stderr) == (0, "")
    assert piped.stdout.count("\n") == 1
    assert (beside.communicate(timeout=PATIENCE)[1], beside.returncode) == ("", 0)
    directories = list(tmp_path.glob("outputs/*/*"))
    assert len(directories) == 2
    for directory in directories:
        assert results(directory) == results(digits_run.directory)


def test_a_lone_run_that_diverges_is_1(inside):
    ended = inside(*QUICK, "optimizer.learning_rate=1e30", "hydra.run.dir=here")
    assert ended.code == 1
    assert "diverged at epoch 1" in ended.out
    assert "not finite at step" in ended.out
    last = summary(Path("here"))
    assert last["status"] == "diverged"
    assert last["culprit"] in ("kl", "reconstruction", "gradient", "update")
    assert not [key for key in last if key.startswith("test/")]
    with np.load("here/steps.npz") as steps:
        assert len(steps["loss"]) == last["first_nonfinite_step"] == last["step"]
    model = safetensors.numpy.load_file("here/model.safetensors")
    assert all(np.isfinite(array).all() for array in model.values())


FRAGILE = """
from typing import Literal
from pydantic.dataclasses import dataclass
from vaex.config import STRICT
from vaex.losses import gamma

@dataclass(frozen=True, config=STRICT)
class Config:
    name: Literal["fragile"]
    breaks: bool

def posterior(config, mu, raw):
    if config.breaks:
        raise RuntimeError("it [b]broke[/]")
    return gamma.posterior(gamma.Config("gamma"), mu, raw)
"""


@pytest.fixture
def fragile(tmp_path):
    """Overrides for a loss that fails when the program is built and `loss.breaks` is true."""
    (tmp_path / "fragile.py").write_text(FRAGILE)
    (tmp_path / "conf" / "loss").mkdir(parents=True)
    (tmp_path / "conf" / "loss" / "fragile.yaml").write_text("name: fragile\nbreaks: true\n")
    return "--config-dir", "conf", "plugins=[./fragile.py]", "loss=fragile"


def test_a_run_that_fails_is_3_and_its_log_has_the_traceback(inside, fragile):
    ended = inside(*fragile, *QUICK, "hydra.run.dir=here")
    assert one_line(ended, "RuntimeError: it [b]broke[/]", "here/vaex.log") == 3
    assert "Traceback" in Path("here/vaex.log").read_text()
    assert summary(Path("here"))["status"] == "failed"


def test_a_run_that_fails_says_how_far_it_came(inside, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "checkpoints").write_text("a file where the run wants its directory")
    ended = inside(*QUICK[::2], "training.epochs=2", "checkpoint.every=2", "hydra.run.dir=here")
    assert one_line(ended, "here: cannot write results") == 3
    assert "failed at epoch 2, step 24 in" in ended.out
    last = summary(Path("here"))
    assert (last["status"], last["epoch"], last["step"]) == ("failed", 2, 24)


ODD = """
from typing import Literal
from pydantic.dataclasses import dataclass
from vaex.config import STRICT

@dataclass(frozen=True, config=STRICT)
class Config:
    name: Literal["odd"]
    free_bits: float

def numbers(config):
    return {"beta": 1.0}

def penalty(numbers, time, kl):
    return numbers["beta"] * kl, numbers["beta"]
"""
ODDITIES = {"    free_bits: float\n": "AttributeError", '{"beta": 1.0}': "NameError", "numbers(config)": "TypeError"}


@pytest.fixture(params=ODDITIES.items(), ids=["no free bits", "numbers fails", "numbers takes nothing"])
def odd(request, tmp_path):
    """The file of a KL weight whose numbers cannot be had, and what is wrong with it."""
    text, error = request.param
    (tmp_path / "odd.py").write_text(ODD.replace(text, {"NameError": "beta", "TypeError": "numbers()"}.get(error, "")))
    return tmp_path / "odd.py", error


def test_a_kl_weight_without_numbers_is_refused(inside, tmp_path, odd):
    plugin, error = odd
    (tmp_path / "conf" / "kl_weight").mkdir(parents=True)
    (tmp_path / "conf" / "kl_weight" / "odd.yaml").write_text("name: odd\n")
    bits = [] if error == "AttributeError" else ["+kl_weight.free_bits=0.0"]
    ended = inside("--config-dir", "conf", f"plugins=[{plugin}]", "kl_weight=odd", *bits, *QUICK)
    assert one_line(ended, f"kl_weight=odd: gives no numbers ({error}: ") == 2
    assert {path.name for path in tmp_path.iterdir()} == {"odd.py", "conf"}


@pytest.mark.parametrize("held", ["", "    latent_dim: str\n"], ids=["no latent_dim", "one that is no number"])
def test_a_model_whose_config_does_not_say_how_many_latents_is_refused(inside, tmp_path, held):
    text = ODD.partition("def numbers")[0].replace("    free_bits: float\n", held)
    chosen = 'name="linear", latent_dim=3, initializer="orthogonal", input_scale=1.0, head_init_scale=1.0'
    build = f"def build(config, *given):\n    return linear.build(linear.Config({chosen}), *given)\n"
    (tmp_path / "odd.py").write_text(f"{text}from vaex.models import linear\n\n{build}")
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "odd.yaml").write_text("name: odd\n" + ("latent_dim: three\n" if held else ""))
    ended = inside("--config-dir", "conf", "plugins=[./odd.py]", "model=odd", *QUICK)
    assert one_line(ended, "model=odd: its Config needs latent_dim, the number of latents") == 2
    assert {path.name for path in tmp_path.iterdir()} == {"odd.py", "conf"}


def test_a_run_that_could_not_be_opened_has_failed(tmp_path, odd):
    """As a job in another process, whose configuration nobody has checked."""
    plugin, error = odd
    values = {"name": "odd"} | ({} if error == "AttributeError" else {"free_bits": 0.0})
    plain = config.dump(make(*QUICK)) | {"plugins": [str(plugin)], "kl_weight": values}
    outcome = runs.run([[Job(config.parse(plain), tmp_path / "here", "")]])
    assert outcome.statuses == {tmp_path / "here": "failed"}
    assert ending.of_run(outcome) == 3


# Sweeps


def test_a_sweep_goes_on_after_jobs_that_fail_or_diverge(inside, fragile):
    grid = ("loss.breaks=true,false", "optimizer.learning_rate=1e30,1e-3")
    ended = inside(*fragile, "-m", *grid, *QUICK, "hydra.sweep.dir=here", "hydra.sweep.subdir=job-${hydra.job.num}")
    assert ended.code == 1
    table = pd.read_csv("here/sweep.csv")
    assert table["status"].tolist() == ["failed", "failed", "diverged", "finished"]
    assert table["loss.breaks"].tolist() == [True, True, False, False]
    assert table["optimizer.learning_rate"].tolist() == [1e30, 1e-3, 1e30, 1e-3]
    assert table["test/elbo"].notna().tolist() == [False, False, False, True]
    assert ended.err.count("it [b]broke[/]") == 2


def test_a_diverged_job_of_a_sweep_is_a_result(inside):
    ended = inside("hydra.mode=MULTIRUN", *QUICK, "optimizer.learning_rate=1e30,1e-3")
    assert (ended.code, ended.err) == (0, "")
    (sweep,) = Path("outputs").glob("*/*")
    assert pd.read_csv(sweep / "sweep.csv")["status"].tolist() == ["diverged", "finished"]


def test_a_sweep_leaves_four_complete_runs_and_a_table(digits_sweep):
    sweep = digits_sweep.directory
    assert {path.name for path in sweep.iterdir()} == {
        *("0", "1", "2", "3", ".lock", "sweep.csv", "sweep.json", "multirun.yaml"),
        *("compare.json", "compare.csv", "report.html"),
    }
    table = pd.read_csv(sweep / "sweep.csv")
    assert table["job"].tolist() == [0, 1, 2, 3]
    assert table["model.latent_dim"].tolist() == [5, 5, 10, 10]
    assert table["optimizer.learning_rate"].tolist() == [1e-3, 2e-3] * 2
    assert table["status"].tolist() == ["finished"] * 4
    for number in range(4):
        directory = sweep / str(number)
        assert {path.name for path in directory.iterdir()} - {".lock", "code.diff"} == FILES
        assert columns(directory) == [ROW, ROW]
        last = summary(directory)
        assert last["test/elbo"] == pytest.approx(table["test/elbo"][number], rel=1e-12)
        assert set(last) - {key for key, value in last.items() if isinstance(value, list)} <= set(table)


def test_the_terminal_shows_what_differs_between_the_jobs(digits_sweep):
    table = digits_sweep.stdout[digits_sweep.stdout.index("┏") :]
    title = table.splitlines()[1]
    assert [name.strip() for name in title.strip("┃").split("┃")] == [
        *("job", "model.latent_dim", "optimizer.learning_rate", "status", "valid/elbo", "test/elbo", "seconds")
    ]
    assert table.count("finished") == 4
    assert digits_sweep.stdout.splitlines()[-1].startswith("sweep directory: outputs/")
    assert digits_sweep.stderr == ""


def test_markup_in_values_is_shown_as_text(capsys):
    rows = [{"job": number, "[b]k[/]": f"[red]{number}[/]", "status": "[bold]" * number} for number in range(2)]
    terminal.Screen().print(tables.sweep_table(rows, ["[b]k[/]"]))
    text = capsys.readouterr().out
    for part in ("[b]k[/]", "[red]0[/]", "[red]1[/]", "[bold]"):
        assert part in text


def test_a_table_says_first_that_a_run_diverged_and_writes_no_thirty_digits(capsys):
    last = {f"train/{term}": -32860203843095139205244780544.0 for term in (*tables.TERMS, "elbo_per_pixel")}
    ended = {"status": "diverged", "first_nonfinite_step": 5, "culprit": "gradient"}
    terminal.Screen().print(tables.terms_table(ended | last))
    title, rest = capsys.readouterr().out.split("\n", 1)
    assert title == "diverged at step 5 (gradient); nats per image"
    assert rest.count("-3.29e+28") == 4
    assert "5139205" not in rest
    row = {"job": 0, **ended, "first_nonfinite_step": 5.0, "valid/elbo": -1480000000000.0, "wall_seconds": 1.0}
    other = {"job": 1, "status": "finished", "first_nonfinite_step": math.nan, "valid/elbo": -999999999.0}
    terminal.Screen().print(tables.sweep_table([row, other], []))
    shown = " ".join(capsys.readouterr().out.split())
    assert "diverged at step 5 (gradient) │ -1.48e+12" in shown
    assert "finished │ -999999999.00" in shown


def test_jobs_of_other_quantities_have_no_best_elbo():
    """Ranked on the progress line are only jobs whose ELBOs are the same quantity."""
    for overrides, ranked in ((("likelihood.sigma=0.2",), True), (("likelihood=laplace",), True), ((), False)):
        kinds = [["likelihood=gaussian"], ["likelihood=gaussian", *overrides] if overrides else []]
        jobs = [Job(make("dataset=digits", *some), Path(str(number)), "") for number, some in enumerate(kinds)]
        display = terminal.SweepDisplay(jobs, 0)
        for job in jobs:
            display.epoch(job, {"epoch": 1, "valid/elbo": -1e12})
        assert ("best elbo -1e+12 (job 0)" in display._progress.tasks[0].description) == ranked


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (200.0, "3 min 20 s"), (3900.0, "1 h 05 min")]
)
def test_times_for_people(seconds, text):
    assert tables.clock(seconds) == text


def test_a_lone_run_and_a_job_of_a_sweep_are_the_same_run(digits_run, digits_sweep):
    job = digits_sweep.directory / "2"
    assert summary(digits_run.directory)["identity"] == summary(job)["identity"]
    assert (digits_run.directory / "model.safetensors").read_bytes() == (job / "model.safetensors").read_bytes()


# A terminal


def test_on_a_terminal_a_bar_and_ctrl_c(tmp_path):
    """A screen of 100 columns: a bar that is drawn over itself, whole lines between, and an orderly end by Ctrl-C."""
    overrides = ("dataset=digits", "training.epochs=100000", "checkpoint.every=100000", "tracking.mode=disabled")
    with pseudo_terminal() as (ours, theirs):
        process = subprocess.Popen(
            ["bash", "-c", 'exec "$@" <$TTY >$TTY 2>&1', "bash", SCRIPT, *overrides],
            cwd=tmp_path,
            env=os.environ | {"COLUMNS": "100", "LINES": "40", "TERM": "xterm-256color", "TTY": os.ttyname(theirs)},
            start_new_session=True,  # the terminal that it opens first is then its own, and Ctrl-C a signal
        )
        drawn_twice = read_terminal(ours, process, b" left") + read_terminal(ours, process, b" left")
        os.write(ours, b"\x03")
        seen = drawn_twice + read_terminal(ours, process)
    assert process.returncode == 130
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    assert lines[0].startswith("dataset=digits")
    bars = [line for line in lines if "/100000" in line]
    assert len(bars) > 1
    assert all(re.search(r"epoch [ \d]+/100000", line) for line in bars)
    assert any("stopping at the end of this epoch" in line for line in lines)
    assert any(line.startswith("interrupted at epoch") for line in lines)
    assert "Traceback" not in text
    (directory,) = (tmp_path / "outputs").glob("*/*")
    assert summary(directory)["status"] == "interrupted"
