"""Population based training (Jaderberg et al. 2017): what is decided every so many epochs, as a pure function.

Exploit: each of the worst members takes over the state of one of the best (truncation selection). Explore: it goes on
with that one's numbers, each moved a little, or with some probability drawn anew. A member that has diverged is worse
than any other. What is drawn follows from the seed, the epoch and the member's number alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from random import Random
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from vaex.config.validation import STRICT
from vaex.search.explored import Space


@dataclass(frozen=True, config=STRICT)
class Settings:
    """The section `hydra.sweeper` (conf/hydra/sweeper/pbt.yaml); of a population that trains its direction is known."""

    population: Annotated[int, Field(ge=2)]
    every: Annotated[int, Field(ge=1)]
    quantile: Annotated[float, Field(gt=0, le=0.5)]
    resample: Annotated[float, Field(ge=0, le=1)]
    factors: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]
    metric: Literal["valid/elbo", "valid/loss", "valid/reconstruction", "valid/kl", "train/elbo", "train/loss"]
    direction: Literal["maximize", "minimize"] | None
    seed: Annotated[int, Field(ge=0, lt=2**32)]


@plain_dataclass(frozen=True)
class Decision:
    """A member that goes on from the state of another one, with these values of the explored keys."""

    member: int
    source: int
    values: Mapping[str, Any]


def begin(settings: Settings, space: Space) -> list[dict[str, Any]]:
    """The values with which each member begins."""
    randoms = (Random(f"{settings.seed} begin {member}") for member in range(settings.population))
    return [{key: each.draw(random) for key, each in space.items()} for random in randoms]


def decide(
    settings: Settings, space: Space, epoch: int, scores: Sequence[float | None], values: Sequence[Mapping[str, Any]]
) -> list[Decision]:
    """Who goes on from whom after `epoch`; a score is None, or not finite, where a member has diverged.

    As many are replaced as `quantile` says, and all that have diverged; nobody where all have.
    """
    best, worst = _ranked(settings, scores)
    found = []
    for member in sorted(worst):
        random = Random(f"{settings.seed} epoch {epoch} member {member}")
        source = random.choice(best)
        explored = {key: _explored(settings, space, key, values[source][key], random) for key in space}
        found.append(Decision(member, source, explored))
    return found


def _ranked(settings: Settings, scores: Sequence[float | None]) -> tuple[list[int], list[int]]:
    """The members to copy from, the best first, and those to replace."""
    sign = -1 if settings.direction == "maximize" else 1
    known = [n for n, score in enumerate(scores) if score is not None and math.isfinite(score)]
    ranked = sorted(known, key=lambda n: (sign * (scores[n] or 0.0), n))
    diverged = [n for n in range(len(scores)) if n not in known]
    count = max(1, int(settings.quantile * len(scores)))
    best = ranked[:count]
    left = max(0, count - len(diverged))
    worst = [n for n in ranked[len(ranked) - left :] if n not in best]
    return best, worst + diverged if best else []


def _explored(settings: Settings, space: Space, key: str, value: Any, random: Random) -> Any:
    if random.random() < settings.resample:
        return space[key].draw(random)
    return space[key].move(value, random, settings.factors)
