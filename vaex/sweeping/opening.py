"""A job of a sweep, opened as Hydra's own `run_job` opens one: its directory with `.hydra/`, callbacks, logging, task.

Hydra's copies a job's configuration four times and writes it by the slow half of PyYAML: more time than all else that
the host does for a short job. Here are two copies, and libyaml; what is on disk, and what callbacks and the task see,
is the same (tests/sweeping/test_opening.py); only a relative `working_dir` is told as a whole path.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log, env_override
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf._utils import get_omega_conf_dumper

from vaex import files
from vaex.config.overrides import written


def open_job(config: DictConfig, callbacks: Any, task: Callable[[DictConfig], Any]) -> JobReturn:
    """Make the directory, tell `callbacks`, call `task`, whose error is a result; Hydra's state is left as it was."""
    before, here = HydraConfig.instance().cfg, Path.cwd()
    try:
        directory = _enter(config)
        opened = _described(config)
        directory.mkdir(parents=True, exist_ok=True)
        opened.working_dir = str(directory if config.hydra.job.chdir else here)
        os.chdir(opened.working_dir)
        configure_log(config.hydra.job_logging, config.hydra.verbose)
        _write(directory, config, opened)
        with env_override(config.hydra.job.env_set):
            callbacks.on_job_start(config=config, task_function=task)
            _call(task, opened)
        opened.task_name = JobRuntime.instance().get("name")
        return opened
    finally:
        HydraConfig.instance().cfg = before
        os.chdir(here)


def _enter(config: DictConfig) -> Path:
    """Make the job's configuration Hydra's current one, which says where its directory is."""
    HydraConfig.instance().cfg = config  # pyright: ignore[reportAttributeAccessIssue]  # for ${hydra:...} in the next line
    directory = Path(str(config.hydra.sweep.dir), str(config.hydra.sweep.subdir)).absolute()
    with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
        config.hydra.runtime.output_dir = os.path.abspath(directory)  # noqa: PTH100  # as Hydra: links are kept
    HydraConfig.instance().set_config(config)
    return directory


def _described(config: DictConfig) -> JobReturn:
    """What Hydra's callbacks learn of a job."""
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    OmegaConf.set_struct(own, OmegaConf.is_struct(config))
    current = HydraConfig.instance().cfg
    assert isinstance(current, DictConfig)
    return JobReturn(overrides=written(config.hydra.overrides.task), cfg=own, hydra_cfg=current)


def _write(directory: Path, config: DictConfig, opened: JobReturn) -> None:
    """The record `.hydra/`, unless it is switched off."""
    if config.hydra.output_subdir is None:
        return
    folder = directory / str(config.hydra.output_subdir)
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"config": opened.cfg, "hydra": opened.hydra_cfg, "overrides": config.hydra.overrides.task}
    for name, part in parts.items():
        (folder / f"{name}.yaml").write_text(as_yaml(part), encoding="utf-8")


def _call(task: Callable[[DictConfig], Any], opened: JobReturn) -> None:
    assert opened.cfg is not None
    try:
        opened.return_value = task(opened.cfg)
        opened.status = JobStatus.COMPLETED
    except Exception as error:
        opened.return_value = error
        opened.status = JobStatus.FAILED


def as_yaml(part: Any) -> str:
    """What `OmegaConf.to_yaml` gives."""
    return files.as_yaml(OmegaConf.to_container(part, enum_to_str=True), get_omega_conf_dumper(), _dumper())


@functools.cache
def _dumper() -> Any:
    """OmegaConf's own rules of what is quoted, on libyaml's writer where PyYAML has it."""

    dumper = type("Dumper", (getattr(yaml, "CDumper", yaml.Dumper),), {})
    dumper.add_representer(str, get_omega_conf_dumper().str_representer)  # pyright: ignore[reportAttributeAccessIssue]
    return dumper
