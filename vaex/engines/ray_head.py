"""A Ray cluster of this machine's own, on the loopback, in a process of its own: `python -m vaex.engines.ray_head N`.

Ray forks, which a process must not in which JAX has threads. It ends when its standard input does: with the command
that began it, however that ends.
"""

import contextlib
import importlib
import logging
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator

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
        for left in reversed(range(TRIES)):
            try:
                ray.init(
                    "local", num_cpus=int(sys.argv[1]), include_dashboard=False, _node_ip_address="127.0.0.1",
                    object_store_memory=STORE, log_to_driver=False, logging_level=logging.ERROR, _temp_dir=folder,
                )  # fmt: skip
                break
            except Exception:  # Ray raises several kinds where it was too slow; the last one is told
                ray.shutdown()
                if not left:
                    raise
        print(ray.get_runtime_context().gcs_address, flush=True)
        sys.stdin.read()
        ray.shutdown()


def _place() -> str:
    """Where Ray puts a cluster's logs and sockets meanwhile."""
    named = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    return named if len(named) <= LONGEST else "/tmp"


@contextlib.contextmanager
def started(cores: int) -> Iterator[str]:
    """The address of a cluster of so many cores meanwhile; `VaexError` where it does not start.

    Nobody else on the machine knows its token. To be called before Ray is imported: what it reads then are variables.
    """
    os.environ |= LOOPBACK | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    head = subprocess.Popen(
        [sys.executable, "-m", __name__, str(cores)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert head.stdin is not None
    assert head.stdout is not None
    assert head.stderr is not None
    try:
        address = head.stdout.readline().strip()
        if not address:
            why = head.stderr.read().strip().splitlines()[-1:]
            raise VaexError(f"hydra/launcher=ray: Ray does not start here ({' '.join(why) or 'it says nothing'})")
        yield address
    finally:
        head.stdin.close()
        head.wait()


if __name__ == "__main__":
    main()
