"""Coverage-guided fuzzing of what reads files that somebody may have sent: `make fuzz`, five minutes a reader.

    PYTHONPATH=. python tests/fuzz/readers.py config|idx|metrics|steps|checkpoint -max_total_time=300 -timeout=10

Ends with a crash report when anything but a `VaexError` comes out of a reader, when it hangs, or when it allocates more
than its allowance. The first argument names the reader, the others go to libFuzzer. Whenever a reading takes more
memory than any before, a line says so. atheris is not in requirements-dev.txt: it has no wheel for every platform.
"""

import contextlib
import hashlib
import json
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import atheris

with atheris.instrument_imports(include=["vaex", "yaml", "zipfile", "json", "numpy.lib"]):
    import numpy as np
    import yaml

    from tests.support.configurations import make
    from vaex import config, files
    from vaex.data import idx
    from vaex.disk import checkpoint, metrics
    from vaex.errors import VaexError

FOLDER = Path(__file__).parents[2] / "build" / "fuzz" / sys.argv[1]
"""What is read and what libFuzzer has learnt; the next run goes on from there."""


class Reader(NamedTuple):
    """What is fuzzed, and the memory it may allocate: `factor` bytes for each byte of the input, and `constant`."""

    read: Callable[[bytes], object]
    factor: float
    constant: int


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


# Arrays stay within twice the file. Text becomes Python objects, which are larger than the shortest text for them
# ("1e9," is 4 bytes of JSON and 32 of memory, and an object {"epoch":1} 250): there a limit on the size bounds it.
READERS = {
    "config": Reader(read_config, 500, 1 << 20),
    "idx": Reader(lambda content: idx.read(content, "fuzz"), 2, 1 << 14),
    "metrics": Reader(lambda content: metrics.read_rows(written("metrics.jsonl", content)), 24, 1 << 17),
    "steps": Reader(lambda content: metrics.read_steps(written("steps.npz", content)), 2, 1 << 19),
    "checkpoint": Reader(read_checkpoint, 2, 1 << 17),
}


def seeds() -> dict[str, list[bytes]]:
    """Sound files for each reader, from which libFuzzer goes on."""
    checkpoint.save(FOLDER / "seed", {"a": np.ones(3, np.float32), "b": np.array(7, np.int32)}, {"epoch": 1})
    steps = dict.fromkeys(metrics.STEP_COLUMNS, np.ones(2, np.float32)) | {"taken": np.ones(2, bool)}
    configs = [make("dataset=digits"), make("dataset=digits", "model=conv", "likelihood=gaussian", "kl_weight=linear")]
    rows = [{"epoch": n, "valid/elbo": -1.5 * n, "valid/kl_per_latent": [0.5, None]} for n in (1, 2)]
    return {
        "config": [yaml.safe_dump(config.dump(one)).encode() for one in configs],
        "idx": [bytes([0, 0, 8, 1, 0, 0, 0, 2, 1, 2]), bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2])],
        "metrics": ["".join(json.dumps(row) + "\n" for row in rows).encode()],
        "steps": [metrics.steps_bytes([steps])],
        "checkpoint": [(FOLDER / "seed").read_bytes()[:-32]],
    }


def allocated(reader: Reader, content: bytes) -> int:
    """Bytes at the peak of a reading, beyond what was there before."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    with contextlib.suppress(VaexError):
        reader.read(content)
    return tracemalloc.get_traced_memory()[1] - before


def main() -> None:
    """Fuzz the reader that the command line names."""
    name = sys.argv.pop(1)
    reader, most = READERS[name], 0
    corpus = FOLDER / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    tracemalloc.start()
    for number, seed in enumerate(seeds()[name]):
        (corpus / f"seed_{number}").write_bytes(seed)
        allocated(reader, seed)  # imports and caches are not the input's

    def one(content: bytes) -> None:
        nonlocal most
        peak = allocated(reader, content)
        if peak > most:
            most = peak
            print(f"memory: {peak} bytes for an input of {len(content)}", flush=True)
        if peak > reader.factor * len(content) + reader.constant:
            raise MemoryError(f"{name}: {peak} bytes for an input of {len(content)}")

    atheris.Setup([*sys.argv, f"-artifact_prefix={FOLDER}/", str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
