"""What the decoder makes of chosen codes: along single latents, between two images, over a plane of the prior."""

from statistics import NormalDist

import numpy as np
from jaxtyping import Float
from PIL import Image

from vaex.figures.images import SHOWN as FIRST
from vaex.figures.images import by_size
from vaex.figures.subject import Subject, UnfitError, type_of_images
from vaex.figures.tiles import SIZE, Look, grid, look
from vaex.judging import information

SHOWN = 10
"""Latents of a traversal; pairs of an interpolation are fewer by two."""

REACH = 3.0
"""A traversal goes from −REACH to REACH, in standard deviations of the prior, which are the unit of z."""

type_of_codes = Float[np.ndarray, "M K"]


def kl(subject: Subject) -> Float[np.ndarray, " K"]:
    """The mean KL of each latent, nats."""
    codes = subject.codes("valid")
    return information.kl_per_latent(codes.mu, codes.sigma).mean(axis=0)


def traversals(subject: Subject) -> Image.Image:
    """A row for each of the latents of most KL: that one moved, the others as the first validation image has them."""
    shown, nats, mu = _look(subject), kl(subject), subject.codes("valid").mu
    latents = by_size(nats)[:SHOWN]
    values = np.linspace(-REACH, REACH, shown.columns - 1 | 1)
    rows = _rows(subject, traversal_codes(mu[0], latents, values), len(values))
    of = f"the {len(latents)} of most KL of {len(nats)} latents" if len(latents) < len(nats) else "the latents by KL"
    heading = f"{of}, each moved alone from the code of validation image 0; in standard deviations of the prior"
    names = [f"latent {latent}\n{nats[latent]:.3g} nats" for latent in latents]
    return grid([rows], heading + shown.scale, shown, names, list(map(signed, values)))


def traversal_codes(code: Float[np.ndarray, " K"], latents: np.ndarray, values: np.ndarray) -> type_of_codes:
    """The code with latent i at each of the values, for each i in turn."""
    codes = np.tile(code, (len(latents), len(values), 1))
    for row, latent in zip(codes, latents, strict=True):
        row[:, latent] = values
    return codes.reshape(-1, len(code))


def interpolation(subject: Subject) -> Image.Image:
    """Pairs of validation images, and the images on the straight line between the means of their codes."""
    shown, x, mu = _look(subject), subject.seen(), subject.codes("valid").mu
    pairs = min(len(mu) // 2, SHOWN - 2)
    if not pairs:
        raise UnfitError("needs two validation images")
    shares = np.linspace(0, 1, shown.columns - 2)
    between = _rows(subject, between_codes(mu[: 2 * pairs], shares), len(shares))
    rows = [np.concatenate([x[2 * k : 2 * k + 1], row, x[2 * k + 1 : 2 * k + 2]]) for k, row in enumerate(between)]
    above = ["image", *(f"{share:.2f}" for share in shares), "image"]
    heading = f"from one validation image to another, straight between the means of their codes{shown.scale}"
    return grid([rows], heading, shown, above=above)


def between_codes(mu: Float[np.ndarray, "N K"], shares: np.ndarray) -> type_of_codes:
    """(1 − t)·μ₂ₖ + t·μ₂ₖ₊₁ for each share t, for each pair k in turn."""
    t = shares[:, None]
    return ((1 - t) * mu[::2, None] + t * mu[1::2, None]).reshape(-1, mu.shape[1])


def manifold(subject: Subject) -> Image.Image:
    """Two latents at a grid of quantiles of the prior, the others at 0: as much of the prior in each image."""
    shown, nats = _look(subject)._replace(size=SIZE // 2), kl(subject)
    if len(nats) < 2:
        raise UnfitError("needs two latents, and model.latent_dim is 1")
    across, up = (0, 1) if len(nats) == 2 else by_size(nats)[:2].tolist()
    z = quantiles(9 if shown.lines else 15)
    rows = _rows(subject, plane_codes(len(nats), across, up, z), len(z))
    rest = ", all others at 0" if len(nats) > 2 else ""
    heading = f"latent {across} to the right and {up} upwards at quantiles of the prior{rest}{shown.scale}"
    return grid([rows], heading, shown, list(map(signed, z[::-1])), list(map(signed, z)))


def signed(value: float) -> str:
    """A place on an axis: −1.83, 0, +1.83."""
    return f"{round(value, 2):+g}".replace("-", "−") if abs(value) >= 0.005 else "0"


def quantiles(count: int) -> Float[np.ndarray, " count"]:
    """The values of N(0, 1) in the middles of `count` parts of equal probability."""
    return np.array([NormalDist().inv_cdf((i + 0.5) / count) for i in range(count)])


def plane_codes(size: int, across: int, up: int, z: np.ndarray) -> type_of_codes:
    """A code of `size` latents for each place of the grid, row by row from the top left."""
    codes = np.zeros((len(z), len(z), size))
    codes[:, :, across], codes[:, :, up] = z, z[::-1, None]
    return codes.reshape(-1, size)


def _look(subject: Subject) -> Look:
    return look(subject.seen()[:FIRST])


def _rows(subject: Subject, codes: type_of_codes, length: int) -> list[type_of_images]:
    """What the codes decode to, in rows of so many."""
    images = subject.decode(codes)
    return [images[k : k + length] for k in range(0, len(images), length)]
