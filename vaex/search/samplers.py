"""Optuna's samplers, made anew for every trial: its random numbers follow from the search's seed and its own number.

So a search that was cut off goes on with the trials that it would have had, and never repeats those it has made.
"""

import io
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np

from vaex.errors import ConfigError, InputError
from vaex.search.settings import SECTION, Settings
from vaex.search.space import Parameter


def sampler(settings: Settings, parameters: Sequence[Parameter], trial: int) -> Any:
    """The sampler of one trial."""
    from optuna import samplers  # late: an extra

    seed = int(np.random.SeedSequence([settings.seed, trial]).generate_state(1)[0])
    name, startup = settings.sampler, settings.startup
    if name == "tpe":
        return samplers.TPESampler(seed=seed, n_startup_trials=startup, constant_liar=True)
    if name == "random":
        return samplers.RandomSampler(seed=seed)
    if name == "gp":
        return samplers.GPSampler(seed=seed, n_startup_trials=startup)
    independent = samplers.RandomSampler(seed=seed)
    if name == "qmc":  # one sequence for the whole search: which of its points are taken is in the study
        own: dict[str, Any] = {"warn_asynchronous_seeding": False, "warn_independent_sampling": False}
        return samplers.QMCSampler(scramble=True, seed=settings.seed, independent_sampler=independent, **own)
    if name == "grid":
        return _grid(samplers.GridSampler, parameters, settings.seed)
    own = {"n_startup_trials": max(startup, 1), "warn_independent_sampling": False}
    return _cmaes(samplers.CmaEsSampler)(seed=seed, independent_sampler=independent, **own)


def most_trials(settings: Settings, parameters: Sequence[Parameter]) -> int:
    """How many trials there can be: of a grid no more than it has points; `ConfigError` where it has none."""
    if settings.sampler != "grid":
        return settings.trials
    points = 1
    for each in parameters:
        if not each.listed():
            raise ConfigError(
                f"{each.element}={each.text}: {SECTION}.sampler=grid takes values that can be listed, as choice(...) "
                "or range(...)"
            )
        points *= len(each.listed())
    return min(settings.trials, points)


def _grid(base: Any, parameters: Sequence[Parameter], seed: int) -> Any:
    class Grid(base):
        """Without the end of `study.optimize`, which is not ours."""

        def after_trial(self, *_: Any) -> None:
            """Nothing."""

    return Grid({each.key: list(each.listed()) for each in parameters}, seed=seed)


def _cmaes(base: Any) -> Any:
    class CmaEs(base):
        """Its state lies in the study as a pickle, and a sweep's directory is data: only arrays are taken from it."""

        def _restore_optimizer(self, completed_trials: Sequence[Any], *_: Any) -> Any:
            for trial in reversed(completed_trials):
                kept = {k: v for k, v in trial.system_attrs.items() if k.startswith(self._attr_key_optimizer)}
                if kept:
                    return _Arrays(io.BytesIO(bytes.fromhex(self._concat_optimizer_attrs(kept)))).load()
            return None

    return CmaEs


class _Arrays(pickle.Unpickler):
    """Refuses all but the classes that an optimizer of the package `cmaes` is made of."""

    KNOWN = frozenset(
        {
            *(("cmaes._cma", "CMA"), ("cmaes", "CMA")),
            *((module, name) for module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
              for name in ("ndarray", "dtype", "_reconstruct", "scalar")),
            *(("numpy._core.numeric", "_frombuffer"), ("numpy.core.numeric", "_frombuffer")),
            *((f"numpy.random.{module}", name) for module, name in (
                ("_pickle", "__randomstate_ctor"), ("_pickle", "__bit_generator_ctor"), ("_mt19937", "MT19937"),
                ("mtrand", "RandomState"))),
        }
    )  # fmt: skip

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """A known class, or none."""
        if (module_name, global_name) in self.KNOWN:
            return super().find_class(module_name, global_name)
        raise InputError(
            f"study.journal: the state of its sampler names {module_name}.{global_name}, which is not loaded"
        )
