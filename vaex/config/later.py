"""What came after runs had been saved: what the absence of a key means in a config.yaml that an older version wrote.

On a command line nothing is absent: conf/ has every value.
"""

import copy
from collections.abc import Mapping
from typing import Any

SECTIONS = ("evaluation", "tracking", "figures", "compile", "expect", "sweep")
"""Keys and sections that decide no number of the run: an older run has today's values of conf/config.yaml."""

LATER: dict[tuple[str, str | None], dict[str, Any]] = {
    ("dataset", "fashion_mnist"): {"valid_rows": 5000},
    ("dataset", "mnist"): {"valid_rows": 5000},
    ("loss", "softplus"): {"sharpness": 1.0},
    ("training", None): {"skip_above": None, "devices": 1},
}
"""By section and, of a group, option: keys that decide numbers, with what an older version did.

That value is not in an identity.
"""

LATER_KEYS: dict[str, Any] = {"schedule": []}
"""The same of keys outside of sections."""

PLACEMENT = {"placement": "auto"}
"""A key of every dataset that decides no number."""


def with_sections(plain: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values in which what is lacking of `SECTIONS` is that of the defaults."""
    values = copy.deepcopy(dict(plain))
    for section in SECTIONS:
        known, own = defaults[section], values.get(section, defaults[section])
        values[section] = _merged(known, own) if _both_sections(known, own) else own
    return values


def with_keys(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values with the `LATER` keys that they lack."""
    values = copy.deepcopy(LATER_KEYS | dict(plain))
    if isinstance(values.get("dataset"), dict):
        values["dataset"] = values["dataset"] | {key: values["dataset"].get(key, PLACEMENT[key]) for key in PLACEMENT}
    for (group, name), keys in LATER.items():
        if _is_of(values.get(group), name):
            values[group] = keys | values[group]
    return values


def without_keys(plain: dict[str, Any]) -> dict[str, Any]:
    """Plain values without the `LATER` keys that say what their absence says."""
    plain = {key: value for key, value in plain.items() if key not in LATER_KEYS or value != LATER_KEYS[key]}
    for (group, name), keys in LATER.items():
        section: Any = plain.get(group)
        if _is_of(section, name):
            kept = {key: value for key, value in section.items() if key not in keys or value != keys[key]}
            plain = plain | {group: kept}
    return plain


def _is_of(section: Any, name: str | None) -> bool:
    return isinstance(section, dict) and section.get("name") == name


def _merged(known: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The own values, and those known where there are none."""
    both = {key: _merged(known[key], own[key]) for key in known if _both_sections(known[key], own.get(key))}
    return {**known, **own, **both}


def _both_sections(known: Any, own: Any) -> bool:
    return isinstance(known, Mapping) and isinstance(own, Mapping)
