"""Configurations for tests, composed as the command line does."""

import functools

from hydra._internal.utils import get_args_parser

from vaex.config import Config
from vaex.config.compose import compose


@functools.cache
def make(*overrides: str) -> Config:
    """The one configuration of these overrides."""
    (config,) = compose(get_args_parser().parse_args([*overrides])).jobs
    return config
