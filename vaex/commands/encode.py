"""`vaex encode RUN INPUT | RUN --split test`: mu, sigma and the ELBO of each image, as arrays or as a table.

INPUT is an .npy file (uint8, 0 to 255, or float as the run's data; any size, it is read a part at a time), an .npz
file, a folder of pictures or one picture, which are resized.
"""

import io
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from vaex.api import run, sources
from vaex.commands import flags, results


def parser() -> flags.Parser:
    """Its flags."""
    found = flags.of_run("encode", __doc__, "codes.npz")
    found.add_argument("--split", choices=run.SPLITS, help="images of the run's own data, and their labels")
    found.add_argument("--samples", type=flags.DRAWS, default=10, metavar="S", help="draws of z for the ELBO (10)")
    found.add_argument("--seed", type=flags.SEED, default=0, help="of those draws (0)")
    return found


def main(arguments: Sequence[str]) -> int:
    """The verb; 0 when the file is there."""
    chosen = parser().read(arguments)
    wanted = ["RUN"] if chosen.split else ["RUN", "INPUT"]
    directory, *given = flags.words(chosen, "encode", wanted)
    path = flags.refuse_overwriting(chosen, (".npz", ".csv"))
    loaded = run.load(directory, *chosen.overrides, checkpoint=chosen.checkpoint)
    columns: dict[str, np.ndarray] = {}
    if chosen.split:
        rows = loaded.data(chosen.split)
        images, labels = rows.images, rows.labels
        if labels is not None:
            columns = {f"label_{name}": labels[:, i] for i, name in enumerate(loaded.labels_named)}
    else:
        images, names = sources.images(given[0], loaded.shape)
        columns = {"name": np.array(names)} if names else {}
    code = loaded.encode(images, chosen.seed)
    if code.mu.ndim == 1:
        images, code = np.asarray(images)[None], run.Code(code.mu[None], code.sigma[None])
    elbo = np.asarray(loaded.elbo(images, chosen.samples, chosen.seed))
    if path.suffix == ".csv":
        return results.write(path, _table(columns, code, elbo))
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, mu=code.mu, sigma=code.sigma, elbo=elbo, **columns)
    return results.write(path, content.getvalue())


def _as_text(column: np.ndarray) -> np.ndarray:
    """Text behind an apostrophe where a spreadsheet would take it for a formula, which a number is not, and obey it."""
    if column.dtype.kind != "U":
        return column
    formula = re.compile(r"[=+@-](?![0-9.]+$)")
    return np.array([f"'{text}" if formula.match(text) else text for text in column.tolist()])


def _table(columns: Mapping[str, np.ndarray], code: run.Code, elbo: np.ndarray) -> bytes:
    """A row an image: what is known of it, mu_0, mu_1, …, sigma_0, …, elbo in nats."""
    values = {name: _as_text(column) for name, column in columns.items()} or {"image": np.arange(len(elbo))}
    for name, array in code._asdict().items():
        values |= {f"{name}_{latent}": array[:, latent] for latent in range(array.shape[1])}
    return pd.DataFrame(values | {"elbo": elbo}).to_csv(index=False).encode()
