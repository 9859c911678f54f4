"""Which numbers of two runs are the same quantity, and so may stand in one difference, mean, ranking or chart.

The **bound** (ELBO, reconstruction, steps to an ELBO) is −E log p(x|z) − KL(q ‖ p). It is the same quantity where

- log p is of one kind. `gaussian`, `laplace` and `continuous_bernoulli` are log densities of the pixels' values over
  one measure: they compare with each other, and so does every value of their keys (`sigma`, `learned`, `floor`,
  `scale`), which are parameters of the model. `bernoulli` with `binarize: none` is a cross-entropy, which no density
  is; of binarized pixels it is the log of a probability.
- x is the same: `threshold` and `stochastic` observe other pixels. A likelihood that is not named here (a plugin's)
  may do anything: it compares with itself, key for key.
- the data are: the recorded SHA-256 of all splits decides, whatever `dataset.*` says (`limit`, `size`, `fractions`
  and `split_seed` give other ones, another path to the same bytes does not). Where none is recorded the keys decide.

No other key changes what a bound is. `elbo` has β = 1 whatever `kl_weight` charged; `loss`, `model`, `optimizer`,
`training` and `precision` decide how good it gets. (`loss.epsilon` moves the reported KL by ½·log(1 + ε/σ²) a latent,
which who sets it takes to be nothing.)

The **objective** (valid/loss, gradient norms) is what was minimised: the same where the bound and `kl_weight` are.
A number of `vaex evaluate` is the same quantity where it was measured alike (`split`, `limit`, `samples` and the
metric's own options; another seed is only other luck) and, if it is of log p, the bound is; one of codes or samples
(**data**) where the data are.
**Spikes** are steps more than `training.spike_nats` above the median: counts, the same where that is, in whatever nats.
**Anything** else is the same in all runs: divergence, active latents, KL, range of σ, jumps, largest / median gradient.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from vaex.errors import printable

Kind = Literal["bound", "objective", "spikes", "data", "anything"]

DENSITY = "log density of the pixels' values"
DENSITIES = ("gaussian", "laplace", "continuous_bernoulli")
BERNOULLI = {
    "none": "cross-entropy of the pixels' values, which is no log density",
    "threshold": "log probability of pixels cut at ½",
    "stochastic": "log probability of pixels drawn anew",
}

BETTER: dict[str, tuple[Kind, Literal["high", "low"]]] = {
    "elbo": ("bound", "high"),
    "elbo_per_pixel": ("bound", "high"),
    "reconstruction": ("bound", "low"),
    "loss": ("objective", "low"),
}
"""Columns of metrics.jsonl, less their split, of which a run is the better the higher or the lower they are.

No other is: a lower KL, more active latents or a smaller gradient may be of a better run or of a worse one.
"""

MOST_NAMED = 6
"""Quantities that one line names."""


class Source(NamedTuple):
    """What a run's numbers are of: its configuration as plain values, and its data (see `study.StudyRun.data`).

    `measured` is how `vaex evaluate` measured the number that is asked for, where it did.
    """

    config: Mapping[str, Any]
    data: str
    measured: str = ""


class Quantity(NamedTuple):
    """What a number is of. Equal ones are the same quantity; what does not matter to a number is ""."""

    likelihood: str
    data: str
    kl_weight: str
    spike_nats: str
    measured: str


def quantity(source: Source, kind: Kind) -> Quantity:
    """What the numbers of a kind are of in one run."""
    config, bounded = source.config, kind in ("bound", "objective")
    return Quantity(
        likelihood=_log_p(config) if bounded else "",
        data=source.data if bounded or kind == "data" else "",
        kl_weight=_text(config.get("kl_weight")) if kind == "objective" else "",
        spike_nats=_text(_section(config, "training").get("spike_nats")) if kind == "spikes" else "",
        measured=source.measured,
    )


def better(metric: str) -> tuple[Kind, Literal["high", "low"]] | None:
    """What kind of number a column of metrics.jsonl is, and whether high or low ones are better; None: neither."""
    split, _, term = metric.partition("/")
    return BETTER.get(term) if split in ("train", "valid") else None


def of_configuration(config: Mapping[str, Any]) -> Source:
    """The source of a run that has read no data yet: its dataset's keys stand for them."""
    return Source(config, _text(config.get("dataset")))


def one(sources: Iterable[Source], kind: Kind) -> bool:
    """Whether the numbers of a kind are the same quantity in all these runs."""
    return len({quantity(source, kind) for source in sources}) < 2


def names(sources: Iterable[Source], kind: Kind) -> dict[Quantity, str]:
    """The quantities of these runs, each by that in which it differs from the others; "" if there is one."""
    runs: dict[Quantity, list[Source]] = {}
    for source in sources:
        runs.setdefault(quantity(source, kind), []).append(source)
    differing = {field for field in Quantity._fields if len({getattr(found, field) for found in runs}) > 1}
    keys = _differing_keys([source for some in runs.values() for source in some])
    found = {}
    for each, some in runs.items():
        parts = [f"{_likelihoods(some)} ({each.likelihood})"] if "likelihood" in differing else []
        parts += [_data(some, keys)] if "data" in differing else []
        parts += [f"kl_weight {each.kl_weight}"] if "kl_weight" in differing else []
        parts += [f"training.spike_nats={each.spike_nats}"] if "spike_nats" in differing else []
        parts += [f"measured with {each.measured}"] if "measured" in differing else []
        found[each] = printable(", ".join(parts))
    if len(set(found.values())) < len(found):  # files that changed under one name
        return {each: f"{name}, data {each.data[:12]}" for each, name in found.items()}
    return found


def between(sources: Iterable[Source], kind: Kind) -> str:
    """Why numbers of a kind are not compared between these runs: `gaussian (…) and bernoulli with … (…)`."""
    found = list(names(sources, kind).values())
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return "; ".join(found[:MOST_NAMED]) + more if more else " and ".join(found)


def apart(sources: Iterable[Source]) -> list[str]:
    """One line for each kind of number that is not the same quantity in all these runs, and what still compares."""
    known = list(sources)
    same_bound, same_spikes = one(known, "bound"), one(known, "spikes")
    lines = []
    if not same_bound:
        still = ["divergence", *(["loss spikes"] if same_spikes else []), "active latents"]
        lines.append(
            "not compared: ELBO, reconstruction and steps to an ELBO, which are not the same quantity in "
            f"{between(known, 'bound')}; comparable: {', '.join(still)}"
        )
    if not same_spikes:
        lines.append(f"not compared: loss spikes, which are counted by another rule in {between(known, 'spikes')}")
    return lines


def _log_p(config: Mapping[str, Any]) -> str:
    likelihood = _section(config, "likelihood")
    name = likelihood.get("name")
    if name in DENSITIES:
        return DENSITY
    observed = BERNOULLI.get(str(likelihood.get("binarize"))) if name == "bernoulli" else None
    return observed or f"log p by {_text(likelihood)}"


def _likelihoods(sources: Iterable[Source]) -> str:
    """The likelihoods of some runs by name, bernoulli with what it observes."""
    sections = [_section(source.config, "likelihood") for source in sources]
    found = [
        f"bernoulli with binarize={_plain(some.get('binarize'))}"
        if some.get("name") == "bernoulli"
        else _plain(some.get("name"))
        for some in sections
    ]
    return ", ".join(dict.fromkeys(found))


def _data(sources: Iterable[Source], keys: Iterable[str]) -> str:
    """The data of runs that have the same ones: the dataset's keys that are not alike in all runs, else the digest."""
    some = list(sources)
    section = _section(some[0].config, "dataset")
    values = [f"dataset.{key}={_plain(section.get(key))}" for key in keys]
    return ", ".join(values) if values else f"data {some[0].data[:12]}"


def _differing_keys(sources: Iterable[Source]) -> list[str]:
    """The keys of the dataset that are not alike in all runs."""
    sections = [_section(source.config, "dataset") for source in sources]
    keys = dict.fromkeys(key for section in sections for key in section)
    return [key for key in keys if len({_text(section.get(key)) for section in sections}) > 1]


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of a configuration that somebody wrote: nothing where it is none."""
    section = config.get(name)
    return section if isinstance(section, Mapping) else {}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else _text(value)
