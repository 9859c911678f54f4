"""Overrides in Hydra's grammar: which ones cannot be meant, how text is quoted in one, what a shuffle draws."""

import argparse
import dataclasses
import random
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.hydra import Hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, Quote, QuotedString, RangeSweep, ValueType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from vaex import config as configuration
from vaex import files
from vaex.config import Config, expect
from vaex.config.validation import NotTextError
from vaex.errors import ConfigError

STOP = "sweep.stop"
"""The section whose name alone stands for its rule: `sweep.stop=asha`."""

LAUNCHER = "hydra_plugins.vaex.PackedLauncher"
"""What Hydra calls our launcher that trains in this process (`_target_` in conf/hydra/launcher/)."""


def spelled_out(items: Iterable[str]) -> list[str]:
    """Overrides in which `sweep.stop=asha` is `sweep.stop.rule=asha`."""
    return [f"{STOP}.rule={item.partition('=')[2]}" if item.startswith(f"{STOP}=") else item for item in items]


def pinned(key: str, text: object) -> str:
    """The override that gives Hydra this text, whatever characters are in it."""
    return f"{key}={_in_quotes(str(text))}"


def typed(key: str, text: str) -> str:
    """The override that gives Hydra this text, as a person types it in a shell."""
    line = f"{key}={text}"
    read = _parsed(line)
    return shlex.quote(line if read is not None and read.value() == text else pinned(key, text))


def written(overrides: Any) -> list[str]:
    """Overrides as they were written: an interpolation in one is not resolved."""
    items = OmegaConf.to_container(overrides, resolve=False)
    assert isinstance(items, list)
    return items


def key_of(line: str) -> str:
    """The key or group that an override is about."""
    return line.lstrip("+~").partition("=")[0].partition("@")[0]


def among(key: str, named: Iterable[str]) -> bool:
    """Whether a key is one of these keys and sections, or in one of these sections."""
    return any(key == name or key.startswith(f"{name}.") for name in named)


def as_expected(configs: list[Config], typed: Sequence[str], checked: bool) -> list[Config]:
    """The jobs, without expectations where these overrides leave none; `ConfigError` for one of no job that is there.

    Where an override makes other numbers of an experiment, what it expects holds no longer, unless that was typed with
    it. `checked`: it is asked all the same, and there must be something to ask.
    """
    if checked and not any(config.expect for config in configs):
        line = " ".join(typed) or "the default run"
        raise ConfigError(f"{line}: nothing to check: its configuration has no {expect.KEY}")
    if not checked and not _leave_expectations(typed):
        return [dataclasses.replace(config, expect=()) for config in configs]
    rows = [row for config in configs for row in config.expect]
    if any(row.where for row in rows):
        expect.refuse_unknown_keys(rows, {key for each in configs for key in expect.flat(configuration.dump(each))})
    return configs


def _leave_expectations(typed: Iterable[str]) -> bool:
    keys = [key_of(line).replace("/", ".") for line in typed]
    if any(among(key, [expect.KEY]) for key in keys):
        return True
    return all(among(key, expect.NO_OVERRIDE) and not among(key, ["hydra.sweeper", STOP]) for key in keys)


def as_sweep(arguments: argparse.Namespace) -> str:
    """The command line, as a shell takes it, of the sweep in place of a lone run, in the directory that was named."""
    flags = {"--config-path": arguments.config_path, "--config-name": arguments.config_name}
    flags["--config-dir"] = arguments.config_dir
    given = [word for flag, value in flags.items() if value for word in (flag, value)]
    items = [re.sub(r"^(\+*)hydra\.run\.dir=", r"\1hydra.sweep.dir=", item) for item in arguments.overrides]
    return shlex.join(["vaex", "-m", *given, *items])


def check(hydra: Hydra, items: Sequence[str], sweep: str | None) -> None:
    """Refuse what Hydra would report without the key, or with advice for other programs.

    Of a lone run `sweep` is the command that would be one; None where it is one.
    """
    groups = hydra.config_loader.list_groups("")
    for item in OverridesParser.create(config_loader=hydra.config_loader).parse_overrides(list(items)):
        line = item.input_line or ""
        if item.is_sweep_override():
            if sweep is not None:
                hint = (
                    f"; if that is one name, write {as_text(line)}"
                    if files.exists(Path(line.partition("=")[2]))
                    else ""
                )
                raise ConfigError(f"{line} is a sweep: run it with `{sweep}`{hint}")
            refuse_no_step(item)
            if item.is_discrete_sweep() and not list(item.sweep_string_iterator()):
                raise ConfigError(f"{item.key_or_group}: {line} matches nothing")
        elif item.key_or_group in ("hydra.launcher", "hydra.sweeper") and isinstance(item.value(), str):
            right = line.replace("hydra.", "hydra/", 1)
            raise ConfigError(f"{item.key_or_group}: a group is chosen with a slash; did you mean {right}?")
        elif item.key_or_group in groups and not item.is_delete() and not isinstance(item.value(), str):
            options = hydra.config_loader.get_group_options(item.key_or_group)
            listed = f"(options: {', '.join(options)})"
            raise ConfigError(f"{item.key_or_group}: expected the name of one option, got {line} {listed}")


def is_packed(master: DictConfig) -> bool:
    """Whether our own launcher trains the jobs, in this process."""
    return str(master.hydra.launcher._target_) == LAUNCHER


def refuse_foreign(master: DictConfig) -> None:
    """Raise `ConfigError` for a launcher that is not ours: it knows nothing of a sweep that goes on."""
    if not str(master.hydra.launcher._target_).startswith(LAUNCHER.removesuffix("PackedLauncher")):
        launcher = master.hydra.runtime.choices.get("hydra/launcher")
        raise ConfigError(f"hydra/launcher: a sweep goes on by packed, ray or slurm, got {launcher}")


def check_stopping(master: DictConfig, mode: RunMode, configs: Iterable[Config]) -> None:
    """Refuse a sweep that is to stop jobs early, by a launcher that trains each by itself."""
    if mode is RunMode.MULTIRUN and not is_packed(master) and any(config.sweep.stop.stops for config in configs):
        launcher = master.hydra.runtime.choices.get("hydra/launcher")
        raise ConfigError(f"sweep.stop: jobs are stopped early by hydra/launcher=packed only, not by {launcher}")


def check_grid(items: Iterable[Override]) -> None:
    """Refuse a sweep whose values the basic sweeper cannot list."""
    for item in items:
        if item.is_interval_sweep():
            key = item.key_or_group
            raise ConfigError(
                f"{key}: a grid takes values that can be listed, as {key}=1e-4,1e-3,1e-2 or choice(...) or range(...); "
                f"{item.input_line} is for a sweeper that searches (hydra/sweeper=...)"
            )


def refuse_no_step(item: Override) -> None:
    """Refuse a range that comes nowhere: `int(range(1,3,0.5))` has the whole number of its step, 0."""
    sweep = item.value()
    if isinstance(sweep, RangeSweep) and sweep.step == 0:
        raise ConfigError(f"{item.input_line}: has steps of 0; expected range(start,stop,step) with another step")


def drawn(item: Override) -> str:
    """An override as it was written, but a shuffled sweep as the list that was drawn.

    Hydra draws whenever it reads one: here, in its sweeper, and by other draws each time. The draw is of the text, so
    that the same line goes on with the sweep that it began.
    """
    sweep = item.value()
    if not (isinstance(sweep, (ChoiceSweep, RangeSweep)) and sweep.shuffle):
        return item.input_line or ""
    values = list(dataclasses.replace(item, _value=dataclasses.replace(sweep, shuffle=False)).sweep_string_iterator())
    random.Random(item.input_line).shuffle(values)
    return f"{item.get_key_element()}=choice({','.join(values)})"


def as_text(line: str) -> str | None:
    """An override with its whole value as one text, as a shell takes it; None where quotes do not help."""
    key, _, value = line.partition("=")
    quoted = pinned(key, value)
    item = _parsed(quoted)
    return _for_shell(quoted) if item and item.value() == value else None


def as_typed(error: NotTextError, typed: Sequence[str]) -> str:
    """The message of a value that should be text, with the override that makes it so out of what was typed."""
    line = next((line for line in reversed(typed) if key_of(line) == error.key), None)
    item = _parsed(line) if line else None
    if line is None or item is None:
        return str(error)
    several = error.in_list or item.value_type is ValueType.SIMPLE_CHOICE_SWEEP
    fixed = _as_texts(line) if several else None if item.is_sweep_override() else as_text(line)
    return f"{error.found}; in quotes it is text: {fixed}" if fixed else str(error)


def _as_texts(line: str) -> str | None:
    """A list or a simple sweep with each of its values as text; None where there are lists in it, or the like."""
    key, _, value = line.partition("=")
    opening, closing = ("[", "]") if value.startswith("[") else ("", "")
    texts = []
    for text in value.removeprefix(opening).removesuffix(closing).split(","):
        item = _parsed(f"x={text.strip()}")
        if item is None or not isinstance(item.value(), (str, int, float)):
            return None
        texts.append(text if isinstance(item.value(), str) else _in_quotes(text.strip()))
    return _for_shell(f"{key}={opening}{','.join(texts)}{closing}")


def _in_quotes(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()


def _parsed(line: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(line)
    except HydraException:
        return None


def _for_shell(line: str) -> str:
    return shlex.quote(line) if set(line) & set('"$`\\!') else f'"{line}"'
