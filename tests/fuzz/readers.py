"""Coverage-guided fuzzing of what reads files that somebody may have sent.

    pip install atheris    # not in requirements-dev.txt: it has no wheel for every Python
    PYTHONPATH=. python tests/fuzz/readers.py config|idx|metrics|steps|checkpoint -max_total_time=300 -rss_limit_mb=1024

Ends with a crash report when anything but a `VaexError` comes out of a reader, or when it hangs or takes more memory
than the limit. The first argument names the reader, the others go to libFuzzer.
"""

import contextlib
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["vaex", "yaml", "zipfile", "json", "numpy.lib"]):
    import numpy as np
    import yaml

    from tests.configurations import make
    from vaex import checkpoint, config, files, idx, metrics
    from vaex.errors import VaexError

FOLDER = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))


def written(name: str, content: bytes) -> Path:
    """A file with this content."""
    (FOLDER / name).write_bytes(content)
    return FOLDER / name


def read_config(content: bytes) -> None:
    """A saved configuration, as resume and reproduce read it."""
    config.parse(files.read_yaml(written("config.yaml", content)) | {"plugins": []})


def read_checkpoint(content: bytes) -> None:
    """With a right digest, so that what lies behind it is reached."""
    checkpoint.load(written("epoch_000001.ckpt", content + hashlib.sha256(content).digest()))


READERS: dict[str, Callable[[bytes], object]] = {
    "config": read_config,
    "idx": lambda content: idx.read(content, "fuzz"),
    "metrics": lambda content: metrics.read_rows(written("metrics.jsonl", content)),
    "steps": lambda content: metrics.read_steps(written("steps.npz", content)),
    "checkpoint": read_checkpoint,
}


def seeds() -> dict[str, bytes]:
    """A sound file for each reader, from which libFuzzer goes on."""
    checkpoint.save(FOLDER / "seed", {"a": np.ones(3, np.float32)}, {"epoch": 1})
    steps = dict.fromkeys(metrics.STEP_COLUMNS, np.ones(2, np.float32)) | {"taken": np.ones(2, bool)}
    return {
        "config": yaml.safe_dump(config.dump(make("dataset=digits"))).encode(),
        "idx": bytes([0, 0, 8, 1, 0, 0, 0, 2, 1, 2]),
        "metrics": (json.dumps({"epoch": 1, "valid/elbo": -1.5}) + "\n").encode(),
        "steps": metrics.steps_bytes([steps]),
        "checkpoint": (FOLDER / "seed").read_bytes()[:-32],
    }


def main() -> None:
    """Fuzz the reader that the command line names."""
    name = sys.argv.pop(1)

    def one(content: bytes) -> None:
        with contextlib.suppress(VaexError):
            READERS[name](content)

    corpus = FOLDER / "corpus"
    corpus.mkdir()
    (corpus / "seed").write_bytes(seeds()[name])
    atheris.Setup([*sys.argv, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
