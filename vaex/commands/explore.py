"""`vaex explore RUN [RUN…] [flags]`: one HTML file in which encoder and decoder run; no server, no network.

Several runs on the same data stand side by side on the same input: σ against γ, two sizes of latents.
"""

import argparse
import functools
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from vaex.api import run, states
from vaex.commands import flags, results
from vaex.errors import printable
from vaex.terminal.screen import say

MOST_RUNS = 4
MOST_IMAGES = 10_000


def parser() -> flags.Parser:
    """Its flags."""
    found = flags.of_run("explore", __doc__, "explore.html")
    count = flags.number(int, f"a whole number from 0 to {MOST_IMAGES}", lambda value: 0 <= value <= MOST_IMAGES)
    found.add_argument("--images", type=count, default=500, metavar="N", help="test images in the page (500)")
    found.add_argument("--states", type=flags.INDEX, metavar="N", help="earlier ones of each run (what 1.4 MB hold)")
    found.add_argument("--open", action="store_true", help="show it in a browser")
    return found


def main(arguments: Sequence[str]) -> int:
    """The verb; 0 when the file is there."""
    chosen = parser().read(arguments)
    directories = list(dict.fromkeys(flags.runs(chosen, "explore", MOST_RUNS)))
    path = flags.refuse_overwriting(chosen, (".html",))
    results.write(path, _page(directories, chosen).encode())
    if chosen.open and not webbrowser.open(path.absolute().as_uri()):
        say(printable(f"{path}: there is no browser here to open it"))
    return 0


def _page(directories: Sequence[Path], chosen: argparse.Namespace) -> str:
    """The page of some runs; with a run's last state come the earlier ones that it kept."""
    from vaex.explorer import contents, html  # late: with them comes jax

    sources = []
    for directory in directories:
        loaded = run.load(directory, *chosen.overrides, checkpoint=chosen.checkpoint)
        model = run.read(directory, chosen.overrides, chosen.checkpoint)
        epoch = states.epoch_of(directory, chosen.checkpoint)
        earlier = contents.earlier_epochs(directory, epoch) if chosen.checkpoint == "last" else []
        at = functools.partial(run.read, directory, chosen.overrides)
        sources.append(contents.Source(loaded, epoch, model, earlier, at))
    return html.document(contents.contents(sources, chosen.images, chosen.states))
