"""What may get a run past the place where it diverged, as overrides, the smallest change to the experiment first.

Smallest is: steps left out, then steps made shorter, then other number formats, then another learning rate, then
other initial weights, then another loss.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vaex import config as configuration
from vaex.config import Config, schedule
from vaex.diagnosis.place import Steps

QUANTILE = 0.99
"""Of the gradient norms before the place: where they are clipped."""

FEWEST = 10
"""Steps that have such a quantile; of fewer it is the largest."""

EXPLODED = 10.0
"""Times the median of the norms before: at the end of them, what already belongs to the explosion."""

SLOWER = ((3, "a third"), (9, "a ninth"), (27, "a 27th"))
"""By how much the learning rate is divided."""


@dataclass(frozen=True)
class Cure:
    """Overrides of a run's configuration, and what they are in words; `from_start`: they change how a run begins.

    `further`: the one before, taken further; tried only where that did not help.
    """

    title: str
    overrides: tuple[str, ...]
    from_start: bool = False
    further: bool = False


def of(config: Config, steps: Steps, place: int, an_epoch: int) -> list[Cure]:
    """The cures that would change something, the cheapest first; `steps` are the run's, `place` is from 1.

    They are of the numbers by which the run trained there, and no later change takes them back.
    """
    now = schedule.at(config, (place - 1) // an_epoch + 1)
    return [_lasting(config, cure) for cure in _of(now, steps, place, an_epoch)]


def _lasting(config: Config, cure: Cure) -> Cure:
    """A cure that takes out of the schedule what it gives a value itself."""
    keys = {item.partition("=")[0] for item in cure.overrides}
    left = schedule.without(config.schedule, keys)
    return cure if left == config.schedule else replace(cure, overrides=(*cure.overrides, schedule.written(left)))


def _of(config: Config, steps: Steps, place: int, an_epoch: int) -> list[Cure]:
    skips = [Cure("leave out steps that are not finite", ("training.on_nonfinite=skip",))]
    return [
        *(skips if config.training.on_nonfinite != "skip" else []),
        *_clip(config, steps, place),
        *_formats(config),
        *_warm_up(config, place, an_epoch),
        *_slower(config),
        *_heads(config),
        *_losses(config),
    ]


def _clip(config: Config, steps: Steps, place: int) -> list[Cure]:
    """At the run's own quantile before it exploded; of no use without a step before."""
    norms = steps["grad_norm"][: place - 1].astype(np.float64)
    norms = norms[np.isfinite(norms) & (norms > 0)]
    while len(norms) > 1 and norms[-1] > EXPLODED * np.median(norms[:-1]):
        norms = norms[:-1]
    if not len(norms):
        return []
    few = len(norms) < FEWEST
    clip = float(f"{norms.max() if few else np.quantile(norms, QUANTILE):.3g}")
    now = config.training.gradient_clip or math.inf
    before = "the norm of the step before" if len(norms) == 1 else f"the largest norm of {len(norms)} steps before"
    usual = before if few else f"their norm's {100 * QUANTILE:.0f} %"
    return [Cure(f"clip gradients at {usual}", (f"training.gradient_clip={clip:g}",))] if clip < now else []


def _slower(config: Config) -> list[Cure]:
    """Each tried only where the one before got past the place and was no better than untrained."""
    rate = config.optimizer.learning_rate
    return [
        Cure(f"{part} of the learning rate", (f"optimizer.learning_rate={rate / by:.3g}",), further=by > SLOWER[0][0])
        for by, part in SLOWER
    ]


def _formats(config: Config) -> list[Cure]:
    found = []
    if config.precision.posterior != "float32":
        found.append(Cure("posterior in float32", ("precision.posterior=float32",)))
    if config.precision.network != "float32":
        found.append(Cure("everything in float32", ("precision.posterior=float32", "precision.network=float32")))
    return found


def _warm_up(config: Config, place: int, an_epoch: int) -> list[Cure]:
    """Until after the epoch of the place, and longer than the run has it."""
    epochs = max(math.ceil(place / an_epoch), math.ceil(2 * config.optimizer.warmup_epochs))
    title = f"warm-up over {epochs} epoch{'s' * (epochs != 1)}"
    return [Cure(title, (f"optimizer.warmup_epochs={epochs}",), from_start=True)]


def _heads(config: Config) -> list[Cure]:
    """Smaller initial weights of μ and raw: as vaex has them, or a tenth."""
    scale = getattr(config.model, "head_init_scale", None)
    if not scale:
        return []
    smaller = 1.0 if scale > 1.0 else scale / 10
    return [Cure("smaller heads to begin with", (f"model.head_init_scale={smaller:g}",), from_start=True)]


def _losses(config: Config) -> list[Cure]:
    """Every other parameterization that comes with vaex: a head cannot be converted, so from the start."""
    names = [name for name in configuration.ours("loss") if name != config.loss.name]
    return [Cure(f"loss {name}", (f"loss={name}",), from_start=True) for name in sorted(names, key=_calm)]


CALM = ("softplus", "exp_linear", "soft_clamp", "bounded", "gamma_clamped", "gamma", "log_sigma", "sigma")
"""The parameterizations, those first whose KL grows slowest and is bounded nowhere (conf/README.md)."""


def _calm(name: str) -> Any:
    return (CALM.index(name), name) if name in CALM else (len(CALM), name)
