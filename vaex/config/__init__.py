"""YAML and arguments become a typed `Config`: frozen dataclasses, one `parse`. Here is what other rooms need."""

from vaex.config.evaluation import Evaluation
from vaex.config.options import FUNCTIONS, GROUPS, find, implementation, ours
from vaex.config.parsing import deciding, dump, identifying, identity, parse, parse_evaluation
from vaex.config.schema import KEYS, NOT_IDENTITY, PLACE, PLACED, Config, Tracking
from vaex.config.validation import STRICT

__all__ = [
    "FUNCTIONS",
    "GROUPS",
    "KEYS",
    "NOT_IDENTITY",
    "PLACE",
    "PLACED",
    "STRICT",
    "Config",
    "Evaluation",
    "Tracking",
    "deciding",
    "dump",
    "find",
    "identifying",
    "identity",
    "implementation",
    "ours",
    "parse",
    "parse_evaluation",
]
