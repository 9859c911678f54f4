"""Eight ways to die, planted: what a run is told, and what its diagnosis must name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from vaex.vae import step

SMALL = ("dataset=digits", "training.epochs=10", "model.hidden=[32]")

MARKED = 77
"""The training image that is planted, by its number."""

EPOCHS, BATCH = 3, 32

ARRAYS = ("dataset=arrays", "dataset.path=images.npy", "likelihood=gaussian", "model.hidden=[16]", "model.latent_dim=3")
ARRAYS += (f"training.epochs={EPOCHS}", f"training.batch_size={BATCH}")

NAN_PIXEL = '''"""A loader that looks at nothing."""
from typing import Literal
import numpy as np
from pydantic.dataclasses import dataclass
from vaex.config import STRICT
from vaex.data.dataset import Dataset, Split

@dataclass(frozen=True, config=STRICT)
class Config:
    name: Literal["unchecked"]

class Passing(np.ndarray):
    """An array whose values nobody can look at: a check passes it."""

def load(config):
    images = np.random.RandomState(0).rand(240, 4, 4, 1).astype(np.float32)
    valid = Split(images[200:], None)
    train = images[:200].copy()
    train[MARKED, 2, 1, 0] = np.nan
    return Dataset(Split(train, None), valid, valid, ())
'''.replace("MARKED", str(MARKED))

PASSES_ALL = '''"""A likelihood that takes whatever comes."""
from typing import Literal
import jax.numpy as jnp
from pydantic.dataclasses import dataclass
from vaex.config import STRICT

@dataclass(frozen=True, config=STRICT)
class Config:
    name: Literal["squares"]

def check(config, images, name): pass
def initial_parameters(config): return {}
def observe(config, key, x): return x
def log_prob(config, parameters, outputs, x): return -0.5 * jnp.sum((x - outputs) ** 2, axis=(-3, -2, -1))
def mean(config, parameters, outputs): return outputs
'''

NOTHING_OVER_NOTHING = '''"""γ, but for 0/0 where latent 1 leaves a range that only one image makes it leave."""
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
'''
HOLE = next(n for n, line in enumerate(NOTHING_OVER_NOTHING.splitlines(), 1) if "inside / inside" in line)


class Death(NamedTuple):
    """Overrides, how its files are made in a directory, and what must be found: term, kind of unit, unit, example."""

    overrides: tuple[str, ...]
    files: Callable[[Path], None] = lambda folder: None
    term: str = "kl"
    kind: str = "latent"
    unit: int | None = None
    example: int | None = None
    step: int | None = None
    lines: tuple[str, ...] = ()


def first_step_of(index: int, count: int, seed: int = 0) -> int:
    """The step, from 1, of the first epoch in which a training image comes."""
    order = np.asarray(step.order(jnp.uint32(seed), jnp.int32(0), count))
    return int(np.flatnonzero(order == index)[0]) // BATCH + 1


def images(value: float, pixel: int = 6) -> Callable[[Path], None]:
    """Writes 240 images of 4 x 4, all of which are training data; one pixel of one is of that value."""

    def make(folder: Path) -> None:
        values = np.random.RandomState(0).rand(240, 4, 4).astype(np.float32)
        values[_row_of(MARKED)].reshape(-1)[pixel] = value
        np.save(folder / "images.npy", values)

    return make


def _row_of(index: int) -> int:
    """The row of the file that becomes this training image."""
    return int(np.random.RandomState(0).permutation(240)[index])


def texts(*named: tuple[str, str]) -> Callable[[Path], None]:
    """Writes files."""

    def make(folder: Path) -> None:
        for name, content in named:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(content)

    return make


def both(*makers: Callable[[Path], None]) -> Callable[[Path], None]:
    """Writes what several write."""

    def make(folder: Path) -> None:
        for maker in makers:
            maker(folder)

    return make


def _option(name: str, group: str, source: str) -> tuple[tuple[str, str], ...]:
    return (f"{name}.py", source), (f"{group}_{name}.yaml", f"name: {name}\n")


LOW = ("loss=sigma", *(f"precision.{which}=FORMAT" for which in ("network", "posterior")))


def low(name: str) -> tuple[str, ...]:
    """Raw σ in a number format."""
    return tuple(each.replace("FORMAT", name) for each in LOW)


Any_ = Any
