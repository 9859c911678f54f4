"""YAML values against the type that a section has: the typed value, or one line that says what is wrong and where."""

import dataclasses
import difflib
import functools
import json
import re
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from vaex.errors import ConfigError

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def nearest(word: str, choices: Iterable[str], prefix: str = "") -> str:
    """`; did you mean 'gamma'?` for the closest choice (shown behind `prefix`), or nothing when none is close."""
    close = difflib.get_close_matches(word, list(choices), n=1)
    return f"; did you mean {prefix + close[0]!r}?" if close else ""


class NotTextError(ConfigError):
    """A number, list or the like where text belongs. `key` says where, for a door that knows how it was typed."""

    def __init__(self, path: str, value: Any):
        self.key, _, index = path.partition("[")
        self.in_list = bool(index)
        self.found = f"{path}: expected text, got {json.dumps(value)}"
        example = f"{self.key}=['{json.dumps(value)}']" if self.in_list else f"{self.key}='{json.dumps(value)}'"
        hint = f'; in quotes it is text, as in "{example}"' if isinstance(value, (int, float)) else ""
        super().__init__(self.found + hint)


def validate(key: str, expected: Any, plain: Mapping[str, Any]) -> Any:
    """The typed value of one key of plain, resolved YAML values; raises `ConfigError` naming the first mistake."""
    if key not in plain:
        raise ConfigError(f"{key}: missing")
    value = plain[key]
    fields = {field.name for field in dataclasses.fields(expected)} if isinstance(expected, type) else set()
    if fields and isinstance(value, Mapping):
        refuse_unknown(value, fields, f"{key}.")
    try:
        # Through JSON: strict validation of Python values refuses dict -> dataclass and list -> tuple.
        parsed = _adapter(expected).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise _refusal(key, error) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{key}: holds something that is no plain value ({error})") from error
    if not _hashable(parsed):
        raise ConfigError(f"{key}: its Config must be frozen, with tuples in place of lists and no dicts")
    return parsed


@functools.cache
def _adapter(expected: Any) -> Any:
    """Making one takes milliseconds, and a sweep of a thousand jobs parses twelve thousand sections."""
    return TypeAdapter(expected)


def _hashable(value: Hashable) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def refuse_unknown(section: Mapping[str, Any], known: Iterable[str], prefix: str) -> None:
    """Raise `ConfigError` for a key that is not among those `known`, with the nearest of them."""
    for key in section:
        if key not in known:
            choices = [f"{prefix}{name}" for name in sorted(known)]
            hint = nearest(str(key), known, prefix)
            raise ConfigError(f"{prefix}{key}: unknown key{hint} (keys: {', '.join(choices)})")


EXPECTED = {
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list, like [a, b]",
    "finite_number": "a finite number",
    "dataclass_type": "a section of keys",
    "dict_type": "a section of keys",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of {max_length} or fewer",
}
"""pydantic's kinds of error in the words of a configuration; its own words serve for the others."""

LIMITED = "constrained-int"
"""pydantic's name of a number with limits where a key may hold something else instead (`training.devices`)."""


def _refusal(key: str, error: ValidationError) -> ConfigError:
    errors = error.errors(include_url=False)
    first = errors[0]
    parts = [part for part in first["loc"][:2] if part != LIMITED]
    path = key + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    if first["type"] == "missing":
        return ConfigError(f"{path}: missing")
    if first["type"] == "string_type":
        return NotTextError(path, first["input"])
    if first["type"] == "value_error":  # keys that do not go together: a Config's own words
        return ConfigError(f"{path}: {first['msg'].removeprefix('Value error, ')}")
    message = first["msg"].removeprefix("Input should be ")
    known = EXPECTED.get(first["type"])
    message = known.format(**first.get("ctx", {})) if known else message.removeprefix("expected ")
    if LIMITED in first["loc"] and len(errors) > 1:
        message += f" or {errors[1]['msg'].removeprefix('Input should be ')}"
    choices = re.findall(r"'([^']*)'", message) if first["type"] == "literal_error" else []
    hint = nearest(str(first["input"]), choices)
    return ConfigError(f"{path}: expected {message}, got {json.dumps(first['input'])}{hint}")
