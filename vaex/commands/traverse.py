"""`vaex traverse RUN --image I`: each latent moved alone, the others as an image of the run's own data has them.

Latents are numbered from 0; values are in standard deviations of the prior.
"""

import math
from collections.abc import Sequence

import numpy as np

from vaex.api import run
from vaex.commands import flags, results
from vaex.errors import InputError

VALUES = "-3,-2.4,-1.8,-1.2,-0.6,0,0.6,1.2,1.8,2.4,3"


def parser() -> flags.Parser:
    """Its flags."""
    found = flags.of_run("traverse", __doc__, "traversal.png")
    found.add_argument("--image", type=flags.INDEX, required=True, metavar="I", help="the image's number, from 0")
    found.add_argument("--split", choices=run.SPLITS, default="test", help="the split that has it (test)")
    found.add_argument("--latent", default="all", metavar="L,L", help="which are moved (all)")
    found.add_argument("--values", default=VALUES, metavar="V,V", help="to where (-3 to 3 in 11 steps)")
    return found


def main(arguments: Sequence[str]) -> int:
    """The verb; 0 when the file is there."""
    chosen = parser().read(arguments)
    (directory,) = flags.words(chosen, "traverse", ["RUN"])
    path = flags.refuse_overwriting(chosen, (".png", ".npy"))
    values = _numbers("--values", chosen.values, float)
    loaded = run.load(directory, *chosen.overrides, checkpoint=chosen.checkpoint)
    every = range(loaded.latents)
    latents = every if chosen.latent == "all" else _numbers("--latent", chosen.latent, int)
    results.refuse_too_many(path, len(latents) * len(values))
    (image,) = results.of_split(loaded, chosen.split, [chosen.image])
    rows = [loaded.traverse(image, latent, values) for latent in latents]
    if path.suffix == ".npy":
        return results.write_array(path, np.stack(rows))
    from vaex.figures import chosen as pictures

    heading = f"latents moved alone from the code of {chosen.split} image {chosen.image}, in deviations of the prior"
    picture = pictures.traversal(rows, latents, np.asarray(values), results.look(loaded), heading)
    return results.write_picture(path, picture)


def _numbers(flag: str, text: str, kind: type) -> list:
    """Numbers with commas between them."""
    try:
        values = [kind(part) for part in text.split(",")]
        are_finite = all(map(math.isfinite, values))
    except (ValueError, OverflowError):  # no number; an integer beyond all floats
        values, are_finite = [], False
    if not values or not are_finite:
        raise InputError(f"{flag}: expected numbers with commas between them, got {text!r}")
    return values
