"""`vaex interpolate RUN --from I --to J`: the way from one image to another, straight between the means of their codes.

I and J are numbers of images of the run's own data, from 0.
"""

from collections.abc import Sequence

import numpy as np

from vaex.api import run
from vaex.commands import flags, results
from vaex.errors import InputError

IN_A_ROW = 100
"""Images of a picture, which is one row."""


def parser() -> flags.Parser:
    """Its flags."""
    found = flags.of_run("interpolate", __doc__, "interpolation.png")
    found.add_argument("--from", dest="first", type=flags.INDEX, required=True, metavar="I", help="the first image")
    found.add_argument("--to", dest="last", type=flags.INDEX, required=True, metavar="J", help="the last image")
    found.add_argument("--split", choices=run.SPLITS, default="test", help="the split that has them (test)")
    steps = flags.number(int, "a whole number from 2", lambda value: value >= 2)
    found.add_argument("--steps", type=steps, default=10, help="images on the way, both ends included (10)")
    return found


def main(arguments: Sequence[str]) -> int:
    """The verb; 0 when the file is there."""
    chosen = parser().read(arguments)
    (directory,) = flags.words(chosen, "interpolate", ["RUN"])
    path = flags.refuse_overwriting(chosen, (".png", ".npy"))
    if path.suffix == ".png" and chosen.steps > IN_A_ROW:
        raise InputError(f"--steps: {chosen.steps} images in a row; at most {IN_A_ROW}, any number as an .npy file")
    results.refuse_too_many(path, chosen.steps)
    loaded = run.load(directory, *chosen.overrides, checkpoint=chosen.checkpoint)
    images = results.of_split(loaded, chosen.split, [chosen.first, chosen.last])
    between = loaded.interpolate(*images, steps=chosen.steps)
    if path.suffix == ".npy":
        return results.write_array(path, between)
    from vaex.figures import chosen as pictures

    ends = np.stack([results.as_shown(image) for image in images])
    heading = f"from {chosen.split} image {chosen.first} to {chosen.last}, straight between the means of their codes"
    return results.write_picture(path, pictures.interpolation(ends, between, results.look(loaded), heading))
