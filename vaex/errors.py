"""The errors that reach a user: one line each, and the exit code that goes with it."""


class VaexError(Exception):
    """Base of every error whose message is meant for the user: one line, no traceback."""

    exit_code = 3

    def __str__(self) -> str:
        """The message, safe to show: it may quote a file that somebody sent."""
        return printable(super().__str__())


class InputError(VaexError):
    """The user's input is wrong: a configuration, a path, a data file. Exit code 2."""

    exit_code = 2


class ConfigError(InputError):
    """A configuration that cannot be run; the message names the full key and what was expected."""


class DataError(InputError):
    """Data that cannot be used as it is; the message names the file or array and the fix."""


class FetchError(VaexError):
    """Data could not be fetched from any of its sources. Exit code 3."""


def printable(text: object) -> str:
    """Text with every character that a terminal would obey (escape, newline, bidirectional mark) shown as its code."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
