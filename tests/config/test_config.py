"""From YAML to types: every mistake is one line that names the full key; every file in conf/ composes and parses."""

import copy
import itertools
import json
import re
import shlex
import string
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hydra._internal.utils import get_args_parser
from hydra.types import RunMode
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from tests.support.configurations import make
from vaex import config as configuration
from vaex.config import Config, dump, grid, identity, parse
from vaex.config import compose as composing
from vaex.config.compose import Command, compose
from vaex.disk import saved
from vaex.errors import ConfigError

CONF = Path(__file__).parents[2] / "conf"
PATHS = {"arrays": "dataset.path=x.npy", "images": "dataset.path=x", "shards": "dataset.path=x"}
PLAIN = dump(make("dataset=digits"))


def command(*arguments: str) -> Command:
    return compose(get_args_parser().parse_args([*arguments]))


def refused(*arguments: str) -> str:
    """The message for a command line; it is one line."""
    with pytest.raises(ConfigError) as error:
        command(*arguments)
    assert str(error.value).isprintable()
    return str(error.value)


MISTAKES = {
    "model.latent_dim=x": 'model.latent_dim: expected an integer, got "x"',
    "optimizer.learning_rate=inf": "optimizer.learning_rate: expected a finite number, got Infinity",
    "optimizer.learning_rate=1e400": "optimizer.learning_rate: expected a finite number",
    "trainin=1": "trainin: unknown key; did you mean 'training'?",
    "model.latent_dmi=3": "model.latent_dmi: unknown key; did you mean 'model.latent_dim'?",
    "+model.latent_dmi=3": "model.latent_dmi: unknown key; did you mean 'model.latent_dim'?",
    "++model.latent_dmi=3": "model.latent_dmi: unknown key; did you mean 'model.latent_dim'?",
    "+typo=1": "typo: unknown key",
    "model.latent.dim=3": "model.latent.dim: unknown key; did you mean 'model.latent_dim'?",
    "training.epochs.more=3": "training.epochs.more: unknown key; did you mean 'training.epochs'?",
    "+training.epochs.more=3": "training.epochs: expected an integer",
    "hydra.run.dri=x": "hydra.run.dri: unknown key; did you mean 'hydra.run.dir'?",
    "~nope": "nope: unknown key",
    "~training.epochs": "training.epochs: missing",
    "~loss": "loss: missing",
    "~seed": "seed: missing",
    "los=gamma": "los: unknown key; did you mean 'loss'?",
    "loss=gama": "loss: no option 'gama'; did you mean 'gamma'? (options: ",
    "loss.name=gama": "loss.name: no option 'gama'; did you mean 'gamma'?",
    "loss=3": "loss: expected the name of one option, got loss=3 (options: ",
    "loss=null": "loss: expected the name of one option",
    "loss=[gamma]": "loss: expected the name of one option",
    "model={latent_dim: 3}": "model: expected the name of one option",
    "+loss=gamma": "loss: chosen already",
    "+experiment=book": "experiment: chosen already",
    "experiment=bok": "experiment: no option 'bok'; did you mean 'book'?",
    "hydra/launcher=joblib": "hydra/launcher: no option 'joblib'",
    "hydra.launcher=ray": "hydra.launcher: a group is chosen with a slash; did you mean hydra/launcher=ray?",
    "hydra.sweeper=pbt": "hydra.sweeper: a group is chosen with a slash; did you mean hydra/sweeper=pbt?",
    "hydra.mode=FOO": "hydra.mode=FOO: Invalid value 'FOO', expected one of",
    "hydra.run.dir=${nope}": "hydra.run.dir: Interpolation key 'nope' not found",
    "dataset=arrays": "dataset.path: missing",
    "seed=1,2": "seed=1,2 is a sweep: run it with `vaex -m seed=1,2`",
    "experiment=latent_sweep": "is a sweep: run it with `vaex -m experiment=latent_sweep`",
    "training.epochs=": "training.epochs: expected an integer",
    "training.epochs=${nope}": "training.epochs: Interpolation key 'nope' not found",
    "training.epochs=${oc.env:NOPE}": "training.epochs: ",
    "training.epochs": "malformed override 'training.epochs'",
    "model.latent_dim=[2": "malformed override 'model.latent_dim=[2'",
    "tracking.name=ü": "'ü' can only stand in quotes; as text it is written \"tracking.name='",
    "ü=3": "malformed override 'ü=3': 'ü' can only stand in quotes",
    "tracking.name=a\nü": "can only stand in quotes",
    "tracking.name=2024": "tracking.name: expected text, got 2024; in quotes it is text: \"tracking.name='2024'\"",
    "tracking.name=1e-4": "expected text, got 0.0001; in quotes it is text: \"tracking.name='1e-4'\"",
    "++tracking.name=true": "expected text, got true; in quotes it is text: \"++tracking.name='true'\"",
    "tracking.name=[a]": 'expected text, got ["a"]; in quotes it is text: "tracking.name=\'[a]\'"',
    "tracking.tags=[1e-4,a b, 3]": "tracking.tags[0]: expected text, got 0.0001; in quotes it is text: "
    "\"tracking.tags=['1e-4',a b,'3']\"",
    "tracking.tags=['a,b',1]": "tracking.tags[1]: expected text, got 1; in quotes it is text, "
    "as in \"tracking.tags=['1']\"",
    "+model.latent_dim=3": "model.latent_dim: is there already, and + only adds; write ++model.latent_dim=3",
}


@pytest.mark.parametrize(("override", "message"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_on_the_command_line_is_one_line_that_names_the_key(override, message):
    assert message in refused(override)


@pytest.mark.parametrize(
    "group", ["seed=0,1", "experiment=latent_sweep", "optimizer.learning_rate=tag(log,interval(1e-4,1e-2))"]
)
def test_the_sweep_that_is_suggested_is_a_line_for_a_shell(group: str, tmp_path: Path):
    """Quoted, with the flags that it needs, in the directory that was named: the words come back as they were typed."""
    typed = (f"--config-dir={tmp_path}", group, "tracking.name='a b'", "hydra.run.dir=my runs/x")
    suggested = refused(*typed).partition("run it with `")[2].partition("`")[0]
    words = ["--config-dir", str(tmp_path), group, "tracking.name='a b'", "hydra.sweep.dir=my runs/x"]
    assert shlex.split(suggested) == ["vaex", "-m", *words]


VALUES = [
    ("model.latent_dim", "x", 'model.latent_dim: expected an integer, got "x"'),
    ("model.latent_dim", True, "model.latent_dim: expected an integer, got true"),
    ("model.latent_dim", 2.0, "model.latent_dim: expected an integer, got 2.0"),
    ("model.latent_dim", 0, "model.latent_dim: expected greater than or equal to 1, got 0"),
    ("model.latent_dim", None, "model.latent_dim: expected an integer, got null"),
    ("model.hidden", 3, "model.hidden: expected a list"),
    ("model.hidden", [100, True], "model.hidden[1]: expected an integer, got true"),
    ("model.hidden", [100, -1], "model.hidden[1]: expected greater than or equal to 1, got -1"),
    ("model.activation", "rellu", "or 'tanh', got \"rellu\"; did you mean 'relu'?"),
    ("model.name", "mpl", "model.name: no option 'mpl'; did you mean 'mlp'?"),
    ("model.name", "../mlp", "model.name: expected the name of an option"),
    ("model.name", ["mlp"], "model.name: expected the name of an option"),
    ("dataset.fractions", [0.5, 0.4, 0.2], "dataset.fractions: expected three fractions that sum to 1"),
    ("dataset.fractions", [0.5, 0.5], "dataset.fractions[2]: missing"),
    ("dataset.fractions", 0.5, "dataset.fractions: expected a list, like [a, b], got 0.5"),
    ("optimizer.learning_rate", float("nan"), "optimizer.learning_rate: expected a finite number, got NaN"),
    ("optimizer.learning_rate", float("-inf"), "optimizer.learning_rate: expected a finite number, got -Infinity"),
    ("optimizer.learning_rate", -1.0, "optimizer.learning_rate: expected greater than"),
    ("training.gradient_clip", 0, "training.gradient_clip: expected greater than 0"),
    ("training.gradient_clip", "x", "training.gradient_clip: expected a number"),
    (
        "training.skip_above",
        5.0,
        "training: skip_above leaves steps out: training.on_nonfinite must be skip, not record",
    ),
    ("seed", -1, "seed: expected greater than or equal to 0"),
    ("seed", 2**32, "seed: expected less than 4294967296"),
    ("training", 3, "training: expected a section of keys, got 3"),
    ("loss", "gamma", "loss: missing or not a section"),
    ("tracking.mode", "offlin", "got \"offlin\"; did you mean 'offline'?"),
    ("tracking.tags", "a", "tracking.tags: expected a list"),
    ("tracking.name", 3, "tracking.name: expected text, got 3"),
    ("plugins", "nope", "plugins: expected a list"),
    ("plugins", ["./nope.py"], "plugins: './nope.py' cannot be imported"),
    ("plugins", ["no.such"], "plugins: 'no.such' cannot be imported"),
]


@pytest.mark.parametrize(("key", "value", "message"), VALUES)
def test_a_wrong_value_is_one_line_that_names_the_key(key, value, message):
    plain = copy.deepcopy(PLAIN)
    *sections, last = key.split(".")
    target = plain[sections[0]] if sections else plain
    target[last] = value
    with pytest.raises(ConfigError) as error:
        parse(plain)
    assert message in str(error.value)
    assert (" now" in str(error.value)) is (" now" in message)
    assert str(error.value).isprintable()


GRIDS = {
    ("model.latent_dim=2,0",): "model.latent_dim: expected greater than or equal to 1, got 0",
    ("model.latent_dmi=2,3",): "model.latent_dmi: unknown key; did you mean 'model.latent_dim'?",
    ("loss=gamma,gama",): "loss: no option 'gama'; did you mean 'gamma'?",
    ("loss=1,2",): "loss: expected the name of one option, got loss=1",
    ("loss=glob(x*)",): "loss=glob(x*) matches nothing",
    ("loss=gamma,sigma", "loss.epsilon=0.1"): "loss.epsilon: unknown key of loss=gamma (keys: loss.name)",
    ("loss=gamma,sigma", "model.latent_dmi=3"): "model.latent_dmi: unknown key; did you mean",
    ("optimizer=adam,adamw", "optimizer.beta1=0.8"): "(optimizer=adam, optimizer=adamw): write ++optimizer.beta1=0.8",
    ("optimizer=adam,adamw", "optimizer.beat1=0.8"): "optimizer.beat1: unknown key of optimizer=adam; did you mean",
    ("optimizer=adam,adamw", "+optimizer.beta1=0.8"): "write ++optimizer.beta1=0.8",
    ("tracking.name=1e-4,1e-3",): "in quotes it is text: \"tracking.name='1e-4','1e-3'\"",
    ("tracking.name=choice(1e-4,a)",): "in quotes it is text, as in \"tracking.name='0.0001'\"",
    ("optimizer.learning_rate=interval(1e-4,1e-2)",): "optimizer.learning_rate: a grid takes values that can be listed",
    ("experiment=latent_sweep,book", "seed=1"): "experiment=latent_sweep: is a sweep itself and cannot be a job of one",
    ("experiment=book,stress", "seed=1,2"): "run each alone: `vaex -m experiment=stress`",
    ("experiment=latent_sweep", "++model.latent_dim=3"): "++model.latent_dim=3: the experiment sweeps model.latent_dim",
}


@pytest.mark.parametrize(("overrides", "message"), GRIDS.items(), ids=map(" ".join, GRIDS))
def test_a_mistake_in_one_job_of_a_grid_is_found(overrides, message):
    assert message in refused("-m", *overrides)


@pytest.mark.slow
def test_what_is_said_to_write_for_a_file_of_any_name_works_in_a_shell():
    names = [f"{before}{c}b.npy" for c in f"{string.punctuation}ü" for before in ("", "a ")]
    written = {}
    for name in {*names, 'it\'s "1".npy', "~/ü.npy", "a\\'.npy"}:
        line = f"dataset.path={name}"
        try:
            (config,) = command("dataset=arrays", line).jobs
            assert "\\" in name or config.dataset.path == name  # Hydra's escape, where no quotes are
        except ConfigError as error:
            start, found, written[name] = str(error).partition("as text it is written ")
            assert found or ("sweep" in start and "," in name), start
            written[name] = written[name] or composing.overrides.as_text(line)
    assert len(written) > 25
    script = "\n".join(f"printf '%s\\0' {word}" for word in written.values())
    typed = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout.decode().split("\0")
    for name, line in zip(written, typed, strict=False):
        (config,) = command("dataset=arrays", line).jobs
        assert config.dataset.path == name


def test_a_name_with_a_comma_is_no_sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "name" not in refused("dataset=arrays", "dataset.path=a,b.npy")
    (tmp_path / "a,b.npy").touch()
    hint = "if that is one name, write \"dataset.path='a,b.npy'\""
    assert hint in refused("dataset=arrays", "dataset.path=a,b.npy")


def test_a_name_that_is_null_is_quoted():
    hint = "expected text, got null; in quotes it is text: \"dataset.path='null'\""
    assert hint in refused("dataset=arrays", "dataset.path=null")
    (config,) = command("dataset=arrays", "dataset.path='null'").jobs
    assert config.dataset.path == "null"


def test_an_override_of_a_saved_run_that_cannot_be_read():
    with pytest.raises(ConfigError, match=r"as text it is written \"tracking\.name='a=b'\""):
        composing.override(PLAIN, ["tracking.name=a=b"])


def test_a_file_of_ones_own_without_its_package_line(tmp_path):
    for group in ("experiment", "mine"):
        (tmp_path / group).mkdir()
        (tmp_path / group / "short.yaml").write_text("training:\n  epochs: 1\nhydra:\n  job:\n    name: x\n")
    for override in ("experiment=short", "+mine=short"):
        group = override.lstrip("+").partition("=")[0]
        line = f"{group}=short: {group}/short.yaml needs the line `# @package _global_` at its top"
        assert line in refused("--config-dir", str(tmp_path), override)
    (tmp_path / "experiment" / "short.yaml").write_text("defaults:\n  - override /loss: sigma\nseed: 4\n")
    line = "experiment=short: experiment/short.yaml needs the line `# @package _global_` at its top"
    assert line in refused("--config-dir", str(tmp_path), "experiment=short")


def test_an_experiment_whose_sweep_is_a_shuffle_or_an_interval(tmp_path):
    """A shuffle is drawn as if it had been typed; an interval is refused, unless a sweeper of the user's takes it."""
    text = "# @package _global_\nhydra:\n  sweeper:\n    params:\n      seed: {}\n"
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "shuffled.yaml").write_text(text.format("shuffle(range(0,9))"))
    (tmp_path / "experiment" / "searched.yaml").write_text(text.format("interval(0,9)"))
    (tmp_path / "hydra" / "sweeper").mkdir(parents=True)
    (tmp_path / "hydra" / "sweeper" / "mine.yaml").write_text("_target_: my_lab.Sweeper\n")
    mine = ("-m", "--config-dir", str(tmp_path))
    found = command(*mine, "experiment=shuffled")
    seeds = [job.seed for job in found.jobs]
    assert sorted(seeds) == [*range(9)] != seeds
    assert found.asked[-1] == f"seed=choice({','.join(map(str, seeds))})"
    assert [job.seed for job in command(*mine, "experiment=shuffled", "seed=5,4").jobs] == [5, 4]
    assert "seed: a grid takes values that can be listed" in refused(*mine, "experiment=searched")
    assert command(*mine, "hydra/sweeper=mine", "seed=interval(0,9)").sweeper_decides


def test_two_mistakes_are_one_line():
    assert "model.latent_dmi: unknown key" in refused("model.latent_dmi=3", "trainin.epochs=2")


def test_config_dir_and_config_name(tmp_path):
    assert "--config-dir: no such directory" in refused("--config-dir", "nope")
    assert "--config-name: no configuration 'mine'" in refused("--config-name", "mine")
    (tmp_path / "mine.yaml").write_text("defaults:\n  - config\n  - _self_\nseed: 7\n")
    (config,) = command("--config-dir", str(tmp_path), "--config-name", "mine", "dataset=digits").jobs
    assert config == make("dataset=digits", "seed=7")


def test_a_grid_is_split_as_hydra_splits_it():
    jobs = command("-m", "seed=range(0,2)", "loss=gamma,sigma").jobs
    assert [(job.seed, job.loss.name) for job in jobs] == [(0, "gamma"), (0, "sigma"), (1, "gamma"), (1, "sigma")]
    swept = [(job.model.latent_dim, job.seed) for job in command("-m", "experiment=latent_sweep").jobs]
    assert swept == list(itertools.product([1, 2, 5, 10, 20, 50], [0, 1, 2]))


def test_an_experiments_sweep_is_narrowed_on_the_command_line():
    """Each of its keys by some of its values, by one, by other ones; a group by one of its options."""
    quick = ("-m", "experiment=sigma_vs_gamma_quick")
    rates, seeds = (1e-3, 1e-2), range(8)
    for overrides, values in {
        ("seed=0,1",): (("sigma", "gamma"), rates, (0, 1)),
        ("seed=3",): (("sigma", "gamma"), rates, (3,)),
        ("loss=gamma",): (("gamma",), rates, seeds),
        ("loss=gamma,softplus", "optimizer.learning_rate=1.0"): (("gamma", "softplus"), (1.0,), seeds),
        ("model.latent_dim=2", "seed=choice(9)"): (("sigma", "gamma"), rates, (9,)),
    }.items():
        jobs = command(*quick, *overrides).jobs
        found = [(job.loss.name, job.optimizer.learning_rate, job.seed) for job in jobs]
        assert found == list(itertools.product(*values))


def test_a_sweep_has_our_launcher_unless_one_is_chosen(tmp_path):
    """Hydra's default is its basic one, which an experiment or a configuration of the user's may well want."""
    chosen = "defaults:\n{}  - override /hydra/launcher: basic\n"
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\n" + chosen.format(""))
    (tmp_path / "mine.yaml").write_text(chosen.format("  - config\n  - _self_\n"))
    mine = ("--config-dir", str(tmp_path))
    for line, launcher in {
        (): "PackedLauncher",
        ("hydra/launcher=packed",): "PackedLauncher",
        ("hydra/launcher=basic",): "BasicLauncher",
        (*mine, "experiment=mine"): "BasicLauncher",
        (*mine, "--config-name", "mine"): "BasicLauncher",
        (*mine, "experiment=mine", "hydra/launcher=packed"): "PackedLauncher",
    }.items():
        for job in command("-m", *line, "seed=0,1").composed.values():
            assert job.hydra.launcher._target_.endswith(f".{launcher}")


def test_a_grid_is_composed_as_hydra_composes_it():
    """Every key, Hydra's own section included, whatever is swept: groups, values, sections, additions, deletions."""
    line = [
        *(
            "-m",
            "experiment=book",
            "likelihood=bernoulli,gaussian",
            "dataset=digits,shapes",
            "loss=gamma,sigma",
            "model.latent_dim=2,3",
        ),
        *("precision={network:float16,posterior:float32,matmul:float32},{network:float32}", "+hydra.job.env_set.A=b"),
        *("training.epochs=${seed}", "seed=1", "hydra.sweep.subdir=job-${hydra.job.num}"),
    ]
    arguments = get_args_parser().parse_args(line)
    with composing._hydra(arguments) as hydra:
        master = hydra.compose_config("config", arguments.overrides, RunMode.MULTIRUN)
        split = grid.split(hydra, master)
        assert len(split) == 32
        for ours, overrides in zip(grid.jobs(hydra, master, split), split, strict=True):
            theirs = hydra.config_loader.load_sweep_config(master, overrides)
            assert OmegaConf.to_container(ours) == OmegaConf.to_container(theirs)
            assert list(ours) == list(theirs)


OPTIONS = [(group, path.stem) for group in configuration.GROUPS for path in sorted((CONF / group).glob("*.yaml"))]


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_and_survives_a_round_trip(group, option):
    config = make(f"{group}={option}", *([PATHS[option]] if option in PATHS else []))
    assert getattr(config, group).name == option
    assert parse(dump(config)) == config
    assert parse(yaml.safe_load(yaml.safe_dump(dump(config)))) == config
    assert hash(parse(dump(config))) == hash(config)
    assert next(iter(dump(config)[group])) == "name"


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_composes_and_says_how_to_run_it(path):
    text = path.read_text()
    sweep = "hydra" in yaml.safe_load(text)
    jobs = command(*(["-m"] if sweep else []), f"experiment={path.stem}").jobs
    assert len(jobs) > 1 if sweep else len(jobs) == 1
    assert f"#   vaex {'-m ' if sweep else ''}experiment={path.stem}" in text
    assert "# Expected" in text
    assert all(job.expect for job in jobs)


def test_the_book_is_the_default():
    assert replace(make("experiment=book"), expect=()) == make()


@pytest.mark.parametrize(
    "override",
    ["tracking.name=x", "tracking.artifact=true", "figures.every=3", "checkpoint.keep=5", "expect={epoch: 1}"],
)
def test_identity_is_of_what_decides_the_numbers(override):
    assert identity(make(override)) == identity(make())
    assert make(override) != make()


@pytest.mark.parametrize("override", ["seed=1", "optimizer.learning_rate=2e-3", "loss=sigma", "dataset.limit=10"])
def test_identity_differs_when_the_numbers_may(override):
    assert identity(make(override)) != identity(make())


def test_whole_numbers_are_numbers():
    assert identity(make("kl_weight.beta=2")) == identity(make("kl_weight.beta=2.0"))


LOSS = """
from typing import Literal
from pydantic.dataclasses import dataclass
from vaex.config import STRICT
from vaex.losses.gamma import posterior

@dataclass(frozen=True, config=STRICT)
class Config:
    name: Literal["mine"]
    shift: float
"""


def with_loss(plugin: str, **keys: object) -> dict[str, object]:
    return PLAIN | {"plugins": [plugin], "loss": {"name": "mine"} | keys}


def test_plugin_from_a_file(tmp_path):
    (tmp_path / "mine.py").write_text(LOSS)
    plain = with_loss(str(tmp_path / "mine.py"), shift=1.0)
    config = parse(plain)
    assert config.loss.shift == 1.0
    assert parse(dump(config)) == config
    assert identity(config) == identity(parse(plain))
    with pytest.raises(ConfigError, match=r"loss\.shfit: unknown key; did you mean 'loss\.shift'"):
        parse(with_loss(str(tmp_path / "mine.py"), shfit=1.0))


def test_plugin_from_a_package_beside_the_user(tmp_path, monkeypatch):
    package = tmp_path / "my_lab" / "losses"
    package.mkdir(parents=True)
    (package / "mine.py").write_text(LOSS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert parse(with_loss("my_lab.losses", shift=2.0)).loss.shift == 2.0
    assert parse(with_loss("my_lab.losses.mine", shift=2.0)).loss.shift == 2.0


KL_WEIGHT = """
from typing import Literal
from pydantic.dataclasses import dataclass
from vaex.config import STRICT
from vaex.kl_weights.constant import numbers, penalty

@dataclass(frozen=True, config=STRICT)
class Config:
    name: Literal["mine"]
    beta: float
    free_bits: float
"""


@pytest.mark.parametrize("form", ["files/{}/mine.py", "packages.{}", "modules.{}.mine"])
def test_two_plugins_of_one_name_for_different_groups(tmp_path, monkeypatch, form):
    lab = re.split("[./]", form)[0]
    for group, code in (("losses", LOSS), ("kl_weights", KL_WEIGHT)):
        (tmp_path / lab / group).mkdir(parents=True)
        (tmp_path / lab / group / "mine.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    sections = {"loss": {"name": "mine", "shift": 1.0}, "kl_weight": {"name": "mine", "beta": 1.0, "free_bits": 0.0}}
    for order in (("losses", "kl_weights"), ("kl_weights", "losses")):
        config = parse(PLAIN | sections | {"plugins": [form.format(group) for group in order]})
        assert callable(configuration.implementation(config.loss).posterior)
        assert callable(configuration.implementation(config.kl_weight).penalty)
        assert parse(dump(config)) == config
    with pytest.raises(ConfigError, match=r"optimizer: .*/losses/mine\.py does not define direction; .*/kl_weights/"):
        parse(PLAIN | {"optimizer": {"name": "mine"}, "plugins": [form.format(g) for g in ("losses", "kl_weights")]})


PLUGIN_FAULTS = {
    "raise SystemExit(3)": "cannot be imported: SystemExit: 3",
    "1 / 0": "cannot be imported: ZeroDivisionError",
    "def (": "cannot be imported: SyntaxError",
    "x = 1": "does not define a dataclass Config, posterior",
    "from vaex.posterior import sample": "No module named 'vaex.posterior'; it is vaex.vae.posterior now",
    "import tables": "No module named 'tables'",
    LOSS.replace("posterior", "Posterior").replace(
        "vaex.losses.gamma", "vaex.vae.posterior"
    ): "does not define posterior",
    LOSS.replace("shift: float", "shift: list[float]"): "loss: its Config must be frozen",
}


@pytest.mark.parametrize(("code", "message"), PLUGIN_FAULTS.items())
def test_a_plugin_that_does_not_work_is_one_line(tmp_path, code, message):
    (tmp_path / "mine.py").write_text(code)
    with pytest.raises(ConfigError) as error:
        parse(with_loss(str(tmp_path / "mine.py"), shift=[1.0] if "list" in code else 1.0))
    assert message in str(error.value)
    assert (" now" in str(error.value)) is (" now" in message)
    assert str(error.value).isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
PLACES = [(section,) for section in PLAIN if section != "plugins"] + [
    (section, key) for section in PLAIN if isinstance(PLAIN[section], dict) for key in PLAIN[section]
]


@settings(max_examples=300, derandomize=True)
@given(st.sampled_from(PLACES), st.none() | st.text(min_size=1, max_size=8), JSON)
def test_whatever_is_written_gives_a_configuration_or_one_line(place, extra, value):
    plain = copy.deepcopy(PLAIN)
    *sections, last = place
    target = plain
    for section in sections:
        target = target[section]
    target[last if extra is None else extra] = value
    line, config = attempt(plain)
    assert line.isprintable()
    if config is not None:
        assert parse(json.loads(json.dumps(dump(config)))) == config


def attempt(plain: dict[str, object]) -> tuple[str, Config | None]:
    """The message of a refusal, or a configuration; any other exception goes on."""
    try:
        return "", parse(plain)
    except ConfigError as error:
        return str(error), None


@given(JSON)
@settings(max_examples=100, derandomize=True)
def test_a_file_that_is_no_configuration_is_refused(value):
    with pytest.raises(ConfigError):
        parse(value if isinstance(value, dict) else {"seed": value})


OLD = {
    "fashion_mnist": "254fe68052a996d79506ca721467dbc3700a9ea686214fc8116652bba7d404c8",
    "digits": "c797b23775001a82e2f81d10e313a09d141771f8597e29e915a79ae5e496d435",
}
"""Identities that commit 0998492 gave, which knew none of the keys that `as_then` leaves out."""


def as_then(plain: dict) -> dict:
    """Plain values as that commit saved them."""
    old = {key: value for key, value in plain.items() if key not in ("evaluation", "figures", "expect")}
    tracking = {key: value for key, value in plain["tracking"].items() if key not in ("notes", "artifact")}
    return old | {
        "tracking": tracking,
        "dataset": {key: value for key, value in plain["dataset"].items() if key != "valid_rows"},
    }


@pytest.mark.parametrize("dataset", OLD)
def test_what_came_later_does_not_change_an_older_run(dataset, tmp_path):
    plain = dump(make(f"dataset={dataset}"))
    assert identity(parse(plain)) == OLD[dataset]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(as_then(plain)))
    assert dump(saved.read_saved(tmp_path, [])) == plain
    assert identity(saved.read_saved(tmp_path, ["evaluation.samples=7", "evaluation.metrics=[knn]"])) == OLD[dataset]
    with pytest.raises(ConfigError, match="missing"):
        parse(as_then(plain))  # on a command line nothing is absent
    partly = as_then(plain) | {"evaluation": {"metrics": ["nll"], "samples": 3, "knn": {}}}
    path.write_text(yaml.safe_dump(partly))
    section = dump(saved.read_saved(tmp_path, []))["evaluation"]
    assert section == plain["evaluation"] | {"metrics": ["nll"], "samples": 3}


def test_what_came_later_to_a_loss_and_to_the_loop_does_not_either(tmp_path):
    """As commit 6e4a55c had it: softplus had no sharpness, and nothing was skipped for its gradient."""
    now = make("dataset=digits", "loss=softplus", "training.on_nonfinite=skip")
    old = dump(now)
    del old["loss"]["sharpness"], old["training"]["skip_above"], old["sweep"]["objective"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(old))
    assert saved.read_saved(tmp_path, []) == now
    assert identity(now) == "68eeda351c64d10c2422015aff0f5b90a542c70dae7290afbd2e18d923300eb7"
    changed = make("dataset=digits", "loss=softplus", "training.on_nonfinite=skip", "training.skip_above=100.0")
    sharper = make("dataset=digits", "loss=softplus", "training.on_nonfinite=skip", "loss.sharpness=2.0")
    assert len({identity(now), identity(changed), identity(sharper)}) == 3


def test_another_number_of_validation_rows_is_another_run():
    assert identity(make("dataset=mnist", "dataset.valid_rows=10000")) != identity(make("dataset=mnist"))
    assert identity(make("dataset=mnist", "evaluation.metrics=[nll]")) == identity(make("dataset=mnist"))
