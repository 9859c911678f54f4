"""What `sweep.stop` cannot be asked: told in one line before anything trains."""

from collections.abc import Iterable, Sequence

from vaex.config import Config
from vaex.config.validation import nearest
from vaex.errors import ConfigError
from vaex.study import quantities


def check(configs: Sequence[Config]) -> None:
    """Raise `ConfigError` where the jobs of a sweep cannot be stopped as their configurations say."""
    settings = configs[0].sweep.stop
    if any(config.sweep.stop != settings for config in configs):
        raise ConfigError("sweep.stop: its keys are of the whole sweep, and the same in all jobs")
    if not settings.stops:
        return
    if quantities.better(settings.metric) is None:
        known = [f"{split}/{term}" for split in ("train", "valid") for term in quantities.BETTER]
        raise ConfigError(
            f"sweep.stop.metric: expected a column of metrics.jsonl that is better high or better low "
            f"({', '.join(known)}), got {settings.metric!r}{nearest(settings.metric, known)}"
        )
    epochs = min(config.training.epochs for config in configs)
    most = max(config.training.epochs for config in configs)
    if settings.rule == "hyperband" and most != epochs:
        raise ConfigError(
            f"sweep.stop=hyperband: expected one training.epochs for all jobs, got {epochs} to {most}: "
            "its brackets follow from it; take asha"
        )
    if settings.min_epochs >= epochs:
        raise ConfigError(
            f"sweep.stop.min_epochs: expected fewer than training.epochs={epochs}, got {settings.min_epochs}: "
            "nothing is left to stop"
        )


def check_search(config: Config, searched: Iterable[str]) -> None:
    """Raise `ConfigError` where a search is over keys that all of its trials must have alike."""
    settings = config.sweep.stop
    for key in searched:
        if key.startswith("sweep.stop") or key == "training.devices":
            raise ConfigError(f"{key}: cannot be searched, it is of the whole sweep and the same in all trials")
        if key == "training.epochs" and settings.rule == "hyperband":
            raise ConfigError(
                "training.epochs: cannot be searched with sweep.stop=hyperband, whose brackets follow from it"
            )


def check_lone(config: Config) -> None:
    """Raise `ConfigError` where a run that is no job of a sweep is to be stopped by one's rule."""
    if config.sweep.stop.stops:
        raise ConfigError("sweep.stop: a run alone is not stopped early, only the jobs of a sweep (vaex -m) are")
