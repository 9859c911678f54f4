"""The errors that reach a user: one line each, and the exit code that goes with it."""


class VaexError(Exception):
    """Base of every error whose message is meant for the user: one line, no traceback."""

    exit_code = 3


class InputError(VaexError):
    """The user's input is wrong: a configuration, a path, a data file. Exit code 2."""

    exit_code = 2


class ConfigError(InputError):
    """A configuration that cannot be run; the message names the full key and what was expected."""


class DataError(InputError):
    """Data that cannot be used as it is; the message names the file or array and the fix."""


class FetchError(VaexError):
    """Data could not be fetched from any of its sources. Exit code 3."""
