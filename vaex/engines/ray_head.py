"""A Ray cluster of this machine's own, on the loopback, in a process of its own: `python -m vaex.engines.ray_head N`.

Ray forks, which a process must not in which JAX has threads. It ends when its standard input does: with the command
that began it, however that ends.
"""

import contextlib
import functools
import importlib
import logging
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from vaex.errors import VaexError

STORE = 1 << 27
"""Bytes of the object store: what passes through it are lines of text."""

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Ray takes 127.0.0.1 for the machine's address in its network otherwise."""

LONGEST = 24
"""Characters of the place for a cluster's files: below it lie sockets, whose whole path has 107 at most."""

TRIES = 2
"""On a busy machine a cluster may not be up within the time that Ray gives itself."""


def main() -> None:
    """Start the cluster of so many cores, say its address, wait."""
    ray = importlib.import_module("ray")  # an extra, which the type checker may lack

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with tempfile.TemporaryDirectory(prefix="vaex-ray-", dir=_place(), ignore_cleanup_errors=True) as folder:
        os.environ["TMPDIR"] = folder  # of workers, which are ended before they tidy up
        _start(ray, int(sys.argv[1]), folder)
        print(ray.get_runtime_context().gcs_address, flush=True)
        sys.stdin.read()
        ray.shutdown()


def _start(ray: Any, cores: int, folder: str) -> None:
    for left in reversed(range(TRIES)):
        try:
            ray.init(
                "local", num_cpus=cores, include_dashboard=False, _node_ip_address="127.0.0.1", _temp_dir=folder,
                object_store_memory=STORE, log_to_driver=False, logging_level=logging.ERROR,
            )  # fmt: skip
            return
        except Exception:  # Ray raises several kinds where it was too slow; the last one is told
            ray.shutdown()
            if not left:
                raise


@functools.cache
def _token() -> str:
    """One for all clusters of this process: Ray reads it once."""
    return secrets.token_hex(32)


def _place() -> str:
    """Where Ray puts a cluster's logs and sockets meanwhile."""
    named = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    return named if len(named) <= LONGEST else "/tmp"


@contextlib.contextmanager
def started(cores: int) -> Iterator[str]:
    """The address of a cluster of so many cores meanwhile; `VaexError` where it does not start.

    Nobody else on the machine knows its token. To be called before Ray is imported: what it reads then are variables.
    """
    os.environ |= LOOPBACK | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _token()}
    with tempfile.TemporaryFile("w+") as said:  # a pipe that nobody reads fills up
        head = subprocess.Popen(
            [sys.executable, "-m", __name__, str(cores)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True,
            start_new_session=True, env=os.environ | {"PYTHONWARNINGS": "ignore"},
        )  # fmt: skip
        assert head.stdin is not None
        assert head.stdout is not None
        try:
            address = head.stdout.readline().strip()
            if not address:
                raise VaexError(f"hydra/launcher=ray: Ray does not start here ({_last_line(said)})")
            yield address
        finally:
            head.stdin.close()
            head.wait()
            head.stdout.close()


def _last_line(said: IO[str]) -> str:
    said.seek(0)
    return next(reversed(said.read().strip().splitlines()), "it says nothing")


if __name__ == "__main__":
    main()
