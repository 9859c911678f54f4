"""How far the numbers of `vaex explore` are off by the format of its weights, and how large each part of a page is.

.venv/bin/python tests/benchmarks/page_weights.py RUN
"""

import sys
from pathlib import Path

import numpy as np

from vaex.api import run
from vaex.explorer import weights
from vaex.portable import interpreter, parts

IMAGES = 500


def main() -> None:
    """A row a format and quantity: the largest difference at the first test images."""
    model = run.read(Path(sys.argv[1]), [], "last")
    images = model.dataset.test.images[:IMAGES]
    mu, _ = model.encode(images)
    given = {"encoder": {"x": model.observe(images)}, "decoder": {"z": mu}}
    print("| weights | KB | " + " | ".join(("mu", "sigma", "kl", "x")) + " |\n|---|---|---|---|---|---|")
    for form in weights.NUMBER_FORMATS:
        found, size = {}, 0
        for name, inputs in given.items():
            graph = parts.PARTS[name](model).graph()
            size += len(weights.constants(graph.constants, form)["bytes"])
            arrays = {key: weights.rounded(array, form) for key, array in graph.constants.items()}
            exact = interpreter.run(graph.as_json(), graph.constants, inputs)
            shown = interpreter.run(graph.as_json(), arrays, inputs)
            found |= {key: float(np.max(np.abs(exact[key] - shown[key]))) for key in exact}
        row = " | ".join(f"{found[key]:.1e}" for key in ("mu", "sigma", "kl", "x"))
        print(f"| {form} | {size / 1000:.0f} | {row} |")


if __name__ == "__main__":
    main()
