"""`vaex sample RUN [flags]`: images from the prior, as a picture or as an array.

E[x|z] at z = temperature · ε, ε ~ N(0, I): mean images, no noise of the pixels.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from vaex.api import run
from vaex.api.inputs import MOST_TEMPERATURE
from vaex.commands import flags, results
from vaex.errors import InputError

OUT = Path("samples.png")


def parser() -> flags.Parser:
    """Its flags."""
    found = flags.of_run("sample", __doc__, str(OUT))
    temperature = flags.number(
        float, "a number from 0, finite in float32", lambda value: 0 <= value <= MOST_TEMPERATURE
    )
    found.add_argument("--n", type=flags.COUNT, default=24, help="images (24)")
    found.add_argument("--seed", type=flags.SEED, default=0, help="of ε (0)")
    found.add_argument("--temperature", type=temperature, default=1.0, metavar="T", help="the deviation of z (1)")
    form = found.add_mutually_exclusive_group()
    form.add_argument("--png", dest="form", action="store_const", const=".png", help="to samples.png")
    form.add_argument("--npy", dest="form", action="store_const", const=".npy", help="to samples.npy")
    return found


def main(arguments: Sequence[str]) -> int:
    """The verb; 0 when the file is there."""
    chosen: argparse.Namespace = parser().read(arguments)
    (directory,) = flags.words(chosen, "sample", ["RUN"])
    if chosen.form:
        if chosen.out != OUT:
            raise InputError(f"vaex sample: --out and --{chosen.form[1:]}: give one; a file's form is that of its name")
        chosen.out = OUT.with_suffix(chosen.form)
    path = flags.refuse_overwriting(chosen, (".png", ".npy"))
    results.refuse_too_many(path, chosen.n)
    loaded = run.load(directory, *chosen.overrides, checkpoint=chosen.checkpoint)
    if path.suffix == ".npy":
        return results.write_decoded(path, loaded, loaded.prior(chosen.n, chosen.seed, chosen.temperature))
    from vaex.figures import chosen as pictures

    images = loaded.sample(chosen.n, chosen.seed, chosen.temperature)
    heading = f"samples from the prior, temperature {chosen.temperature:g}, seed {chosen.seed}"
    return results.write_picture(path, pictures.samples(images, results.look(loaded), heading))
