"""What Hydra and OmegaConf complain about, as one line that names the full key and the nearest valid choice."""

import argparse
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import MissingMandatoryValue

from vaex.config import nearest

UNKNOWN = re.compile(r"Could not (?:override|delete(?: from config)?)\.? ?'([^']+)'(?!.* is .* and not )")
TWICE = re.compile(r"Multiple values for ([\w/]+)\.|([\w/]+) appears more than once")


def one_line(error: Exception, arguments: argparse.Namespace, known_keys: Callable[[list[str]], list[str]]) -> str:
    """The message for a command line; `known_keys` gives the keys that the other overrides leave to choose from."""
    text = sentence(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _no_option(error)
    if isinstance(error, OverrideParseException):
        return f"malformed override {error.override!r}: {sentence(error.__cause__ or error)}"
    if unknown := UNKNOWN.search(text):
        return _unknown_key(unknown[1], arguments.overrides, known_keys)
    if twice := TWICE.search(text):
        group = twice[1] or twice[2]
        return f"{group}: chosen already; to change it write {group}=OPTION, without +"
    if error.__cause__ is not None and text.startswith("Error merging override "):
        return f"{text.removeprefix('Error merging override ')}: {sentence(error.__cause__)}"
    return _of_value(error)


def _of_value(error: Exception) -> str:
    key = getattr(error, "full_key", None)
    if isinstance(error, MissingMandatoryValue):
        return f"{key}: missing; give it a value, {key}=..."
    return f"{key}: {sentence(error)}" if key else sentence(error)


def sentence(error: BaseException) -> str:
    """An exception's message on one line, without OmegaConf's notes on where it arose and links to its manual."""
    lines = (line.strip() for line in str(error).splitlines())
    left_out = ("full_key:", "object_type=", "reference_", "See https:", "Error parsing override")
    return "; ".join(line for line in lines if line and not line.startswith(left_out))


def flat_keys(values: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    """The full keys of nested sections, sections included."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat_keys(value, f"{prefix}{key}.")
        yield f"{prefix}{key}"


def _no_option(error: MissingConfigException) -> str:
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    options = list(error.options or [])
    if not group:
        return f"--config-name: no configuration {option!r}{nearest(option, options)}"
    return f"{group}: no option {option!r}{nearest(option, options)} (options: {', '.join(options)})"


def _unknown_key(key: str, overrides: list[str], known_keys: Callable[[list[str]], list[str]]) -> str:
    known = known_keys([item for item in overrides if re.split(r"[=@]", item.lstrip("+~"))[0] != key])
    prefix, dot, last = key.rpartition(".")
    section = [choice.rpartition(".")[2] for choice in known if choice.rpartition(".")[0] == prefix]
    if not section:
        return f"{key}: unknown key{nearest(key, known)}"
    listed = ", ".join(sorted(prefix + dot + choice for choice in section))
    return f"{key}: unknown key{nearest(last, section, prefix + dot)} (keys: {listed})"
