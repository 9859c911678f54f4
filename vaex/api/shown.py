"""A run as a notebook shows it: what it is, how it ended, a picture."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from vaex.config import GROUPS
from vaex.report import page

PICTURES = ("reconstructions", "samples")
"""The first of these that the run has is shown."""


def ended(summary: Mapping[str, Any]) -> str:
    """`finished at epoch 25, valid elbo -245.31`."""
    status, epoch, elbo = (summary.get(key) for key in ("status", "epoch", "valid/elbo"))
    told = f"{status} at epoch {epoch}" if epoch is not None else str(status)
    return f"{told}, valid elbo {elbo:.2f}" if isinstance(elbo, float) else told


def html(directory: Path, config: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """The run as a piece of HTML that needs nothing else; strings from disk are text."""
    head = f"<b>{escape(str(directory))}</b><br>{escape(ended(summary))}<br>{escape(', '.join(_choices(config)))}"
    for name in PICTURES:
        address, problem = page.picture(directory, name)
        if not problem and address:
            return f'<div>{head}<br><img src="{address}" alt="{name}" style="max-width:100%"></div>'
    return f"<div>{head}</div>"


def _choices(config: Mapping[str, Any]) -> list[str]:
    """`loss=gamma`, … of each group, the number of latents, the seed."""
    sections = {group: config.get(group) for group in GROUPS}
    chosen = [f"{group}={section.get('name')}" for group, section in sections.items() if isinstance(section, Mapping)]
    model = config.get("model")
    latents = [f"model.latent_dim={model.get('latent_dim')}"] if isinstance(model, Mapping) else []
    return [*chosen, *latents, f"seed={config.get('seed')}"]
