"""The numbers of a pack's runs epoch by epoch: arguments of its program, in which a `schedule` is a change."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Num

from vaex.config import Config, schedule
from vaex.vae import objective, pack
from vaex.vae.objective import Hyper, Program


class Numbers:
    """`program` is that of all runs together; `at` has their numbers, on the device on which `put` puts them."""

    def __init__(
        self,
        configs: Sequence[Config],
        programs: Sequence[Program],
        lanes: int,
        latents: int,
        put: Callable[[Hyper], Hyper],
    ):
        self._configs, self._programs, self._lanes, self._latents = configs, programs, lanes, latents
        self._put = put
        self._made: dict[tuple[tuple[schedule.Change, ...], ...], Hyper] = {}
        hypers = [objective.hyper(config) for config in configs]
        self.program, first = pack.joined(programs, hypers, lanes, latents)
        self._made[tuple(() for _ in configs)] = put(first)

    def at(self, epochs: Num[np.ndarray, "*lanes"] | np.generic) -> Hyper:
        """The numbers where each lane is in this epoch, from 1; those of lanes to spare do not matter."""
        each = [int(epoch) for epoch, _ in zip(np.atleast_1d(epochs), self._configs, strict=False)]
        began = tuple(schedule.began(config, epoch) for config, epoch in zip(self._configs, each, strict=True))
        if began not in self._made:
            now = [schedule.at(config, epoch) for config, epoch in zip(self._configs, each, strict=True)]
            hypers = [objective.hyper(config) for config in now]
            _, joined = pack.joined(self._programs, hypers, self._lanes, self._latents)
            self._made[began] = self._put(joined)
        return self._made[began]
