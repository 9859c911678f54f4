"""What was found at a step, as plain values for diagnose.json and as a few sentences."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vaex.config import Config
from vaex.diagnosis import limits
from vaex.diagnosis.limits import number
from vaex.errors import printable
from vaex.inspection import origin, proportion
from vaex.inspection.look import BY_LATENT, BY_PIXEL, Look, Looks, of_pixels
from vaex.inspection.proportion import Excess

MOST_NAMED = 10
"""Latents, examples and values that are listed."""

TERMS = {"kl": "the KL", "reconstruction": "the reconstruction", "gradient": "the gradient", "update": "the update"}


class Findings:
    """A step's findings. `looked` has it and the steps before it, `culprit` the term that was not finite (or None)."""

    def __init__(self, config: Config, looks: Looks, looked: Mapping[int, Look], place: int, culprit: str | None):
        self.config, self.looks, self.place, self.look = config, looks, place, looked[place]
        self.before = [look for number, look in looked.items() if number < place]
        self.excesses = proportion.all_of(self.look, self.before)
        self.excess = proportion.first(self.excesses)
        self.origin = origin.first(looks, place, self.look, self.before)
        self.term = culprit or self._risen()
        self.unit, self.example = self._unit(), self._example()

    def plain(self) -> dict[str, Any]:
        """For diagnose.json."""
        return {
            "term": self.term,
            "unit": self.unit,
            "example": self.example,
            "first_not_finite": self._of_origin(),
            "first_out_of_proportion": self.excess and self.excess._asdict(),
            "limit_of_loss": limits.of_loss(self.config),
            "latent": self._of_latent(),
            "kl_per_latent": [float(each) for each in self.look.terms["kl_per_latent"]],
            "worst_examples": self._worst(),
            "sizes": {each.name: each._asdict() for each in self.excesses},
        }

    def lines(self) -> list[str]:
        """A few sentences."""
        return [
            *([self._origin_line()] if self.origin else []),
            *self._format_lines(),
            *([self._excess_line()] if self.excess else []),
            *self._example_lines(),
        ]

    def _risen(self) -> str:
        """The term of a finite step that rose most: KL or reconstruction in nats, the gradient where neither did."""
        if not self.before:
            return max(("kl", "reconstruction"), key=lambda term: _term(self.look, term))

        def rise(term: str) -> float:
            return _term(self.look, term) - float(np.median([_term(each, term) for each in self.before]))

        risen = {term: rise(term) for term in ("kl", "reconstruction")}
        largest = max(risen, key=lambda term: risen[term])
        sizes = {each.name: each for each in self.excesses}
        steep = (sizes["gradient norm"].of_steps or 0.0) >= proportion.TIMES
        return "gradient" if steep and risen[largest] < abs(_term(self.look, largest)) / 2 else largest

    def rise(self) -> str:
        """Of a finite step: which term rose most, from the median of the steps before."""
        if self.term not in ("kl", "reconstruction"):
            return f"{TERMS[self.term]} was out of proportion"
        now, before = _term(self.look, self.term), [_term(each, self.term) for each in self.before]
        if not before:
            return f"{TERMS[self.term]} is the largest term, {number(now)} nats"
        usual = float(np.median(before))
        rose = "rose most," if now > usual else "fell least,"
        return f"{TERMS[self.term]} {rose} from {number(usual)} to {number(now)} nats"

    def _located(self) -> tuple[str, int | None, int | None] | None:
        """Name, example in the batch and unit where the first number was not finite, if it is of an example."""
        if self.origin is None or self.looks.example_axes[self.origin.number] != 0 or not self.origin.at:
            return None
        at = list(self.origin.at)
        image = len(at) > 2 and of_pixels(self.origin.name)
        shape = self.looks.trace.shapes[self.origin.number]
        unit = int(np.ravel_multi_index(at[1:], shape[1:])) if image else at[-1]
        return self.origin.name, at[0], unit if len(at) > 1 else None

    def _source(self) -> Excess | None:
        """What was out of all proportion in one example, before anything was not finite."""
        known = [each for each in self.excesses if each.of_examples is not None and math.isfinite(each.largest)]
        return next((each for each in known if (each.of_examples or 0.0) >= proportion.TIMES), None)

    def _where(self) -> tuple[str, int | None, int | None] | None:
        """Name, example and unit of the first number not finite, else out of proportion, else of the largest."""
        located, source = self._located(), self._source()
        if located:
            return located
        if source:
            return source.name, source.example, source.unit
        chosen = [each for each in self.excesses if each.example is not None and each.name in self._of_term()]
        largest = max(chosen, key=lambda each: each.times, default=None)
        return (largest.name, largest.example, largest.unit) if largest else None

    def _of_term(self) -> tuple[str, ...]:
        names = {"kl": ("kl",), "reconstruction": ("log_p", "pixels")}
        return names.get(self.term, tuple(each.name for each in self.excesses))

    def _unit(self) -> dict[str, Any] | None:
        found = self._where()
        return {"of": found[0], "kind": _kind(found[0]), "number": found[2]} if found and found[2] is not None else None

    def _example(self) -> dict[str, Any] | None:
        found = self._where()
        if not found or found[1] is None or found[1] >= len(self.looks.rows(self.place)):
            return None
        index = int(self.looks.rows(self.place)[found[1]])
        return {"split": "train", "index": index, "in_batch": found[1]}

    def _of_origin(self) -> dict[str, Any] | None:
        if self.origin is None:
            return None
        equation, dtype = self.origin.equation, self.looks.trace.dtypes[self.origin.number]
        where = equation.where if equation else None
        return {
            "name": self.origin.name,
            "operation": limits.operation(equation, self.origin.operands) if equation else None,
            "made": number(self.origin.made),
            "format": str(dtype),
            "limit": limits.of(self.origin, dtype),
            "source": f"{_short(where[0])}:{where[1]} ({where[2]})" if where else None,
            "layer": self._layer(),
            "leaf": self._leaf(),
            "at": list(self.origin.at),
            "count": self.origin.bad,
        }

    def _layer(self) -> str | None:
        """The last layer before it."""
        if self.origin is None:
            return None
        names = list(self.look.sizes)
        before = names[: names.index(self.origin.name) + 1]
        return next((name.partition("layer ")[2] for name in reversed(before) if "layer " in name), None)

    def _leaf(self) -> str | None:
        """Of a norm the parameter that has the largest entry."""
        if self.origin is None or not self.origin.name.endswith(" norm"):
            return None
        leaves = [each for each in self.excesses if each.name.startswith(f"{self.origin.name.split()[0]} of model.")]
        return max(leaves, key=lambda each: each.largest).name.partition(" of model.")[2] if leaves else None

    def _of_latent(self) -> dict[str, float] | None:
        """μ, raw, σ and KL at the latent and example to blame."""
        if not self.unit or self.unit["kind"] != "latent" or not self.example:
            return None
        at = self.example["in_batch"], self.unit["number"]
        return {name: float(self.look.whole[name][at]) for name in ("mu", "raw", "sigma", "kl")}

    def _worst(self) -> list[dict[str, Any]]:
        """Examples by their part of the loss, the largest first; first of those alike not finite the one to blame."""
        with np.errstate(invalid="ignore"):
            loss = self.look.whole["kl"].sum(axis=1) - self.look.whole["log_p"]
        size = np.where(np.isfinite(loss), loss, np.inf)
        blamed = np.arange(len(loss)) != (self.example["in_batch"] if self.example else -1)
        order = np.lexsort((blamed, -size))[:MOST_NAMED]
        rows = self.looks.rows(self.place)
        return [
            {
                "index": int(rows[each]),
                "kl": float(self.look.whole["kl"][each].sum()),
                "reconstruction": -float(self.look.whole["log_p"][each]),
            }
            for each in order
        ]

    def _origin_line(self) -> str:
        found = self._of_origin()
        assert found is not None
        if found["operation"] is None:
            return f"first not finite: {found['name']} itself, {found['made']}{self._at()}"
        where = f", {found['source']}" if found["source"] else ""
        leaf = f" (largest in {found['leaf']})" if found["leaf"] else ""
        made = f"{found['operation']} = {found['made']} in {found['format']}"
        return f"first not finite: {found['name']}{leaf}: {made}{self._at()}{where}"

    def _at(self) -> str:
        """Where it is, or, of a value that is no example's, what was furthest off on the way to it."""
        parts = []
        if self.unit:
            parts.append(f"{self.unit['kind']} {self.unit['number']}")
        if self.example:
            parts.append(f"training image {self.example['index']}")
        if not parts or self._located():
            return "".join(f", {part}" for part in parts)
        return f"; {'out of proportion' if self._source() else 'largest'} before it: {', '.join(parts)}"

    def _format_lines(self) -> list[str]:
        found, latent = self._of_origin(), self._of_latent()
        lines = [f"format: {found['limit']}"] if found and found["limit"] else []
        row = limits.of_loss(self.config)
        if latent:
            there = ", ".join(f"{name} {number(value)}" for name, value in latent.items())
            lines.append(
                f"there: {there}" + (f"; loss={self.config.loss.name} breaks at {row}" if row and self.origin else "")
            )
        return lines

    def _excess_line(self) -> str:
        assert self.excess is not None
        times = []
        if (self.excess.of_steps or 0.0) >= proportion.TIMES:
            times.append(
                f"{number(self.excess.of_steps or 0.0)} times the median of the {len(self.before)} steps before"
            )
        if (self.excess.of_examples or 0.0) >= proportion.TIMES:
            times.append(f"{number(self.excess.of_examples or 0.0)} times the median example's")
        where = f", {_kind(self.excess.name)} {self.excess.unit}" if self.excess.unit is not None else ""
        rows = self.looks.rows(self.place)
        where += f", training image {rows[self.excess.example]}" if self.excess.example is not None else ""
        size = f"{self.excess.name} up to {number(self.excess.largest)}"
        return f"out of proportion first: {size}, {' and '.join(times)}{where}"

    def _example_lines(self) -> list[str]:
        if self.origin or not self._worst():
            return []
        worst = self._worst()[0]
        terms = f"KL {number(worst['kl'])}, reconstruction {number(worst['reconstruction'])} nats"
        return [f"largest share of the loss: training image {worst['index']} ({terms})"]


def _term(look: Look, term: str) -> float:
    return float(np.sum(look.terms["kl_per_latent"]) if term == "kl" else look.terms[term])


def _kind(name: str) -> str:
    """What the last axis of a value counts."""
    bare = name.removeprefix("gradient of ")
    return "latent" if bare in BY_LATENT else "pixel" if bare in BY_PIXEL else "unit"


def _short(path: str) -> str:
    """A source file's name as one would type it."""
    parts = Path(path).parts
    inside = [place for place, part in enumerate(parts) if part == "vaex"]
    return printable(str(Path(*parts[inside[-1] :])) if inside and len(parts) > inside[-1] + 2 else Path(path).name)
