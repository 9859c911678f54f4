"""A job is opened as Hydra opens one: by Hydra's own `run_job`, beside ours."""

import copy
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from vaex import files
from vaex.config.compose import compose
from vaex.sweeping import opening

ODD = (
    "tracking.notes='yes: 1e3 # \u00fcber \"\u03c3\" {x}'",
    "tracking.name='0x1F'",
    "tracking.tags=['1', 'true', ' a ', '\u2028']",
)


class Seen:
    """A callback of the user's and the task: what each is shown, and where."""

    def __init__(self, fails: bool):
        self.fails, self.looks = fails, []

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        self._look(config)

    def on_job_end(self, **_: Any) -> None:
        """Hydra's comes at once; ours when the run has ended."""

    def task(self, config: DictConfig) -> str:
        self._look(config)
        if self.fails:
            raise ValueError("of the task")
        return "done"

    def _look(self, config: DictConfig) -> None:
        here = HydraConfig.get()
        self.looks.append(
            (OmegaConf.to_container(config), OmegaConf.is_struct(config), here.runtime.output_dir, here.job.num,
             Path.cwd(), os.environ.get("OF_THE_JOB"))
        )  # fmt: skip


def job(folder: Path, *overrides: str) -> DictConfig:
    """A composed job of a sweep, as a launcher gets it."""
    line = ["-m", "dataset=digits", "seed=3", f"hydra.sweep.dir={folder}", *overrides]
    (composed,) = compose(get_args_parser().parse_args(line)).composed.values()
    return composed


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    "overrides",
    [
        ODD,
        ("hydra.job.chdir=true", "+hydra.job.env_set={OF_THE_JOB: x}", "hydra.sweep.subdir='a/../b ${hydra:job.num}'"),
        ("hydra.output_subdir=null",),
    ],
)
def test_it_is_what_hydra_does(overrides: tuple[str, ...], fails: bool, tmp_path: Path):
    setup_globals()
    sides: list[tuple[JobReturn, Seen, dict[str, bytes]]] = []
    configured = job(tmp_path / "sweep", *overrides)
    for hydras in (True, False):
        config, seen, here = copy.deepcopy(configured), Seen(fails), Path.cwd()
        if hydras:
            context: Any = SimpleNamespace(config_loader=None, callbacks=seen)
            assert HydraContext  # what run_job is given; it asks only for the callbacks
            done = run_job(seen.task, config, "hydra.sweep.dir", "hydra.sweep.subdir", context)
        else:
            done = opening.open_job(config, seen, seen.task)
        assert Path.cwd() == here
        assert HydraConfig.instance().cfg is None
        sides.append((done, seen, files_in(tmp_path)))
    (theirs, they_saw, their_files), (ours, we_saw, our_files) = sides
    assert we_saw.looks == they_saw.looks
    assert our_files == their_files
    assert bool(our_files) == ("hydra.output_subdir=null" not in overrides)
    for name in ("cfg", "hydra_cfg"):
        assert OmegaConf.to_container(getattr(ours, name)) == OmegaConf.to_container(getattr(theirs, name))
    for name in ("overrides", "working_dir", "task_name", "status"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert repr(ours._return_value) == repr(theirs._return_value)
    assert ours.status is (JobStatus.FAILED if fails else JobStatus.COMPLETED)


TEXTS = (
    *("yes", "1_000", "1e3", "", " a", "a: b", "#", "'", '"', "~", "2026-11-28", "=", "!x", "line\nline", "a" * 300),
    *("\u2028", "\x07", "\U0001f600", "\\U0001f600", "\ufeff", "\xa0", "\x85", "\u0301", "\ue000"),
)


@pytest.mark.parametrize("value", TEXTS)
def test_text_is_written_as_omegaconf_writes_it(value: str):
    part = OmegaConf.create({"key": value, "list": [value], value or "empty": 1})
    theirs = OmegaConf.to_yaml(part)
    ours = opening.as_yaml(part)
    assert ours == theirs


@pytest.mark.parametrize("value", TEXTS)
def test_a_run_s_yaml_is_what_pyyaml_writes(value: str, tmp_path: Path):
    content = {
        "seed": 3,
        "rate": 1e-3,
        "none": None,
        "text": value,
        "list": [True, {value or "empty": 1.5}],
        "none of": [],
    }
    files.write_yaml(tmp_path / "config.yaml", content)
    expected = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    assert (tmp_path / "config.yaml").read_bytes().decode() == expected
