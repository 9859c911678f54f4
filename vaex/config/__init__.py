"""YAML and arguments become a typed `Config`: frozen dataclasses, one `parse`. Here is what other rooms need."""

from vaex.config.evaluation import Evaluation
from vaex.config.schema import (
    FUNCTIONS,
    GROUPS,
    KEYS,
    NOT_IDENTITY,
    PLACE,
    STRICT,
    Config,
    Tracking,
    dump,
    find,
    identifying,
    identity,
    implementation,
    ours,
    parse,
    parse_evaluation,
)

__all__ = [
    "FUNCTIONS",
    "GROUPS",
    "KEYS",
    "NOT_IDENTITY",
    "PLACE",
    "STRICT",
    "Config",
    "Evaluation",
    "Tracking",
    "dump",
    "find",
    "identifying",
    "identity",
    "implementation",
    "ours",
    "parse",
    "parse_evaluation",
]
