"""`vaex decode RUN CODES`: E[x|z] of each code, as an array or as a picture.

CODES is an .npy file (N x K; any size, it is read a part at a time), an .npz file with an array z or mu, or a .csv file
with columns z_0, z_1, … or mu_0, …; what `vaex encode` wrote is one.
"""

from collections.abc import Sequence

from vaex.api import run, sources
from vaex.commands import flags, results


def parser() -> flags.Parser:
    """Its flags."""
    return flags.of_run("decode", __doc__, "decoded.npy")


def main(arguments: Sequence[str]) -> int:
    """The verb; 0 when the file is there."""
    chosen = parser().read(arguments)
    directory, given = flags.words(chosen, "decode", ["RUN", "CODES"])
    path = flags.refuse_overwriting(chosen, (".npy", ".png"))
    loaded = run.load(directory, *chosen.overrides, checkpoint=chosen.checkpoint)
    codes = sources.codes(given, loaded.latents)
    codes = codes[None] if codes.ndim == 1 else codes
    results.refuse_too_many(path, len(codes))
    if path.suffix == ".npy":
        return results.write_decoded(path, loaded, codes)
    from vaex.figures import chosen as pictures

    heading = f"{len(codes)} codes of {given.name}, decoded"
    return results.write_picture(path, pictures.samples(loaded.decode(codes), results.look(loaded), heading))
