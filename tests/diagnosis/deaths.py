"""Eight ways to die, planted: what a run is told, and what its diagnosis must name."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from vaex.vae import step

ROWS, TRAINED, SIDE, BATCH = 250, 200, 4, 32
PIXEL = 6
"""Of the image that something is wrong with."""

COMES = 5
"""The step of the first epoch in which the training image comes that something is wrong with."""

ARRAYS = ("dataset=arrays", "dataset.path=images.npy", "likelihood=gaussian")
SMALL = ("model.hidden=[16]", "model.latent_dim=3", "training.epochs=3", f"training.batch_size={BATCH}")

OWN = ("--config-dir=conf",)

UNCHECKED = f"""
from typing import Literal
import numpy as np
from pydantic.dataclasses import dataclass
from vaex.config import STRICT
from vaex.data.dataset import Dataset, Split

@dataclass(frozen=True, config=STRICT)
class Config:
    name: Literal["unchecked"]

def load(config):
    images = np.random.RandomState(0).rand({TRAINED}, {SIDE}, {SIDE}, 1).astype(np.float32)
    train = images.copy()
    train[%d].reshape(-1)[%d] = np.nan
    return Dataset(Split(train, None), Split(images, None), Split(images, None), ())
"""

SQUARES = '''
from typing import Literal
import jax.numpy as jnp
from pydantic.dataclasses import dataclass
from vaex.config import STRICT

@dataclass(frozen=True, config=STRICT)
class Config:
    name: Literal["squares"]

def check(config, images, name):
    """Everything is welcome."""

def initial_parameters(config):
    return {}

def observe(config, key, x):
    return x

def log_prob(config, parameters, outputs, x):
    return -0.5 * jnp.sum((x - outputs) ** 2, axis=(-3, -2, -1))

def mean(config, parameters, outputs):
    return outputs
'''

HOLED = """
from typing import Literal
import jax.numpy as jnp
from pydantic.dataclasses import dataclass
from vaex.config import STRICT
from vaex.vae.posterior import Posterior, from_log_sigma, none_clamped

@dataclass(frozen=True, config=STRICT)
class Config:
    name: Literal["holed"]

def posterior(config, mu, raw):
    q = from_log_sigma(mu, 0.5 * jnp.clip(raw, -8.0, 8.0))
    inside = jnp.where((jnp.arange(mu.shape[-1]) == 1) & (jnp.abs(mu) > 50.0), 0.0, 1.0)
    return Posterior(q.mu, q.sigma, q.kl * (inside / inside), none_clamped(mu))
"""
HOLE = next(number for number, line in enumerate(HOLED.splitlines(), 1) if "inside / inside" in line)


SLUGGISH = ("optimizer=sgd", "optimizer.learning_rate=1e3", "likelihood.sigma=1e3", "kl_weight.beta=1e-6")
"""Small gradients and a large learning rate: an update overflows before its gradient does."""


class Death(NamedTuple):
    """How a run dies, and what must be said of it: term, unit and its kind, example (None: any), words in its lines.

    `make` writes the files that it needs. `step` is the one at which it must die, where that is known beforehand,
    `pixel` the one of the image that is out of proportion first.
    """

    overrides: tuple[str, ...]
    term: str
    kind: str
    words: tuple[str, ...]
    unit: int | None = None
    example: int | None = None
    step: int | None = None
    make: Callable[[Path], None] = lambda folder: None
    pixel: int | None = None


@functools.cache
def marked() -> int:
    """The training image that something is wrong with, by its number: it comes in step `COMES`."""
    return int(step.order(jnp.uint32(0), jnp.int32(0), TRAINED)[(COMES - 1) * BATCH + 10])


def _images(value: float) -> Callable[[Path], None]:
    """One pixel of the marked image has this value."""

    def make(folder: Path) -> None:
        values = np.random.RandomState(0).rand(ROWS, SIDE, SIDE).astype(np.float32)
        row = np.random.RandomState(0).permutation(ROWS)[marked()]  # dataset.split_seed=0
        values[row].reshape(-1)[PIXEL] = value
        np.save(folder / "images.npy", values)

    return make


def _plugin(group: str, name: str, source: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "conf" / group).mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text(source)
        (folder / "conf" / group / f"{name}.yaml").write_text(f"name: {name}\n")

    return make


def _all(*makers: Callable[[Path], None]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for maker in makers:
            maker(folder)

    return make


def _low(name: str) -> tuple[str, ...]:
    return ("dataset=digits", "loss=sigma", f"precision.network={name}", f"precision.posterior={name}")


NAMES = (
    "bfloat16 raw sigma", "float16", "gamma at 3e-2", "a head scaled by 50",
    "a huge image", "a NaN pixel", "0/0 in a plugin", "an optimizer overflow",
)  # fmt: skip


def make(name: str) -> Death:
    """One of the eight."""
    return dict(zip(NAMES, (*_of_numbers(), *_of_data(marked())), strict=True))[name]


def _of_numbers() -> Iterator[Death]:
    """On digits, with which nothing is wrong."""
    yield Death(
        (*_low("bfloat16"), "optimizer.learning_rate=3e-3", "training.epochs=24", "seed=1"),
        "kl",
        "latent",
        ("log(0) = −∞ in bfloat16", "from the checkpoint of epoch 22"),
    )
    yield Death(
        (*_low("float16"), "training.epochs=4"),
        "kl",
        "latent",
        ("log(0) = −∞ in float16", "below float16's smallest number"),
    )
    yield Death(
        ("dataset=digits", "loss=gamma", "optimizer.learning_rate=3e-2", "training.epochs=4"),
        "gradient",
        "latent",
        ("beyond float32's largest number", "a > 88.7"),
    )
    yield Death(
        ("dataset=digits", "loss=log_sigma", "model.head_init_scale=50", "training.epochs=2"),
        "kl",
        "latent",
        ("= ∞ in float32", "beyond float32's largest number", "a > 44.4"),
        step=1,
    )


def _of_data(index: int) -> Iterator[Death]:
    """By one image."""
    yield Death(
        (*ARRAYS, *SMALL),
        "kl",
        "latent",
        ("= ∞ in float32", "out of proportion first: x up to 1e+30"),
        example=index,
        step=COMES,
        make=_images(1e30),
        pixel=PIXEL,
    )
    yield Death(
        ("dataset=unchecked", "likelihood=squares", "plugins=[./unchecked.py,./squares.py]", *SMALL, *OWN),
        "kl",
        "pixel",
        ("x itself, NaN",),
        unit=PIXEL,
        example=index,
        step=COMES,
        make=_all(
            _plugin("dataset", "unchecked", UNCHECKED % (index, PIXEL)), _plugin("likelihood", "squares", SQUARES)
        ),
        pixel=PIXEL,
    )
    yield Death(
        (*ARRAYS, *SMALL, "loss=holed", "plugins=[./holed.py]", *OWN),
        "kl",
        "latent",
        ("0 / 0 = NaN", f"holed.py:{HOLE} (posterior)"),
        unit=1,
        example=index,
        step=COMES,
        make=_all(_images(1e4), _plugin("loss", "holed", HOLED)),
        pixel=PIXEL,
    )
    yield Death(
        (*ARRAYS, *SMALL, "loss=bounded", *SLUGGISH),
        "update",
        "pixel",
        ("update norm (largest in encoder.0.kernel)", "beyond float32's largest number"),
        unit=PIXEL,
        example=index,
        step=COMES,
        make=_images(1e13),
        pixel=PIXEL,
    )
