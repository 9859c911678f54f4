"""What Hydra and OmegaConf complain about, as one line that names the full key and the nearest valid choice."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hydra._internal.hydra import Hydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import MissingMandatoryValue, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vaex.config import grid
from vaex.config.overrides import as_text, key_of
from vaex.config.validation import nearest

UNKNOWN = re.compile(r"Could not (?:override|delete(?: from config)?)\.? ?'([^']+)'(?!.* is .* and not )")
MISPLACED = re.compile(r"Could not override '[\w/]+@(\w+)\.\w+'")
THERE = re.compile(r"Could not append to config\. An item is already at '([^']+)'")
TWICE = re.compile(r"Multiple values for ([\w/]+)\.|([\w/]+) appears more than once")


def one_line(error: Exception, hydra: Hydra, name: str, typed: list[str]) -> str:
    """The message for a command line with these overrides, of the configuration of this name."""
    text = sentence(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _no_option(error)
    if isinstance(error, OverrideParseException):
        return malformed(error)
    if misplaced := MISPLACED.search(text):
        line = next((line for line in typed if key_of(line) == misplaced[1]), "")
        return misplaced_option(misplaced[1], line.partition("=")[2] or "OPTION")
    if unknown := UNKNOWN.search(text):
        return _unknown_key(unknown[1], hydra, name, typed)
    if there := THERE.search(text):
        line = next((item.lstrip("+") for item in typed if key_of(item) == there[1]), f"{there[1]}=...")
        return f"{there[1]}: is there already, and + only adds; write ++{line}"
    if twice := TWICE.search(text):
        group = twice[1] or twice[2]
        return f"{group}: chosen already; to change it write {group}=OPTION, without +"
    if error.__cause__ is not None and text.startswith("Error merging override "):
        return f"{text.removeprefix('Error merging override ')}: {sentence(error.__cause__)}"
    return _of_value(error)


def misplaced_option(group: str, option: str) -> str:
    """A file of the user's, an experiment mostly, whose keys and groups went below its group's own name."""
    return (
        f"{group}={option}: {group}/{option}.yaml needs the line `# @package _global_` at its top; without it "
        f"its keys are {group.partition('/')[0]}.*, not those of a run"
    )


def malformed(error: OverrideParseException) -> str:
    """What is wrong with an override that cannot be read, and how it is written if it is text."""
    reason = sentence(error.__cause__ or error)
    lexer = "LexerNoViableAltException: "  # then the override, and a line with a mark below the character at fault
    if reason.startswith(lexer):
        place = str(error)[len(lexer) + len(error.override) + 1 :].index("^") - len(lexer)
        reason = f"{error.override[place]!r} can only stand in quotes"
    quoted = as_text(error.override)
    return f"malformed override {error.override!r}: {reason}{f'; as text it is written {quoted}' if quoted else ''}"


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


def _unknown_key(key: str, hydra: Hydra, name: str, typed: list[str]) -> str:
    others = [item for item in typed if key_of(item) != key]
    known = _known_keys(hydra, name, others, key)
    lacking = [chosen for chosen, keys in known.items() if key not in keys]
    if known and not lacking and "" not in known:  # what Hydra composes before any job has no such key, the jobs have
        line = next((item.lstrip("+") for item in typed if key_of(item) == key), f"{key}=...")
        return f"{key}: only what the sweep chooses job by job has this key ({', '.join(known)}): write ++{line}"
    if known and not lacking:
        line = next((item.lstrip("+") for item in typed if key_of(item) == key), f"{key}=...")
        return f"{key}: has keys of its own already, and other ones can only be added; write ++{line}"
    chosen = lacking[0] if lacking else ""
    keys = known.get(chosen, [])
    prefix, dot, last = key.rpartition(".")
    of = f" of {chosen}" if chosen and (len(known) > 1 or key_of(chosen) == key.partition(".")[0]) else ""
    section = [each.rpartition(".")[2] for each in keys if each.rpartition(".")[0] == prefix]
    if not section:
        return f"{key}: unknown key{of}{nearest(key, keys)}"
    listed = ", ".join(sorted(prefix + dot + each for each in section))
    return f"{key}: unknown key{of}{nearest(last, section, prefix + dot)} (keys: {listed})"


def _known_keys(hydra: Hydra, name: str, others: list[str], key: str) -> dict[str, list[str]]:
    """The keys that these overrides leave to choose from, by a sweep's options; none when they hold a mistake as well.

    Of the options that a sweep chooses for its jobs, those up to the first that lacks `key`.
    """
    try:
        master = hydra.compose_config(name, others, RunMode.MULTIRUN)
        known: dict[str, list[str]] = {}
        for chosen in grid.choices(hydra, master, key):
            groups = set(map(key_of, chosen))
            left = [item for item in others if key_of(item) not in groups]
            config = hydra.compose_config(name, [*left, *chosen], RunMode.MULTIRUN)
            values = OmegaConf.to_container(config, resolve=False)
            assert isinstance(values, dict)
            known[" ".join(chosen)] = list(flat_keys(values))
            if key not in known[" ".join(chosen)]:
                break
        return known
    except (HydraException, OmegaConfBaseException, ValueError):
        return {}
