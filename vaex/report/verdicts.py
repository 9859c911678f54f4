"""The head of the page: what was shown and what was not, each with the command that says it again."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vaex.report import page
from vaex.report.charts import capital
from vaex.report.tables import listed
from vaex.study.runs import Study
from vaex.study.sentences import unanswerable

SETTLED = ("more", "fewer")
"""Answers that show a difference."""

PLACES = ("hydra.sweep.dir=", "hydra.run.dir=", "hydra/launcher=packed")
"""Of a recorded command, what says where the runs lie and not what they are; the launcher is the one that -m has."""


def block(study: Study, comparison: Mapping[str, Any]) -> str:
    """The headline questions: each difference that was shown in a sentence, then those for which none was."""
    apart, verdicts = comparison["apart"], comparison["verdicts"]
    again = _code("again from these runs: ", command(comparison))
    lines = "".join(f"<p>{page.text(line, 1000)}</p>" for line in apart)
    made = [_code("the runs: ", found) for found in [command_of_runs(run.manifest for run in study.runs)] if found]
    if len(verdicts) - len(apart) == 1:  # one for all of them: too few seeds
        blocks = [f"<p>{page.text(verdicts[0], 1000)}</p>{again}", lines]
    elif len(verdicts) == len(apart):  # none of these runs says anything of another one
        blocks = [lines]
    else:
        asked = [each for each in comparison["questions"] if each["headline"] and not unanswerable(each)]
        blocks = [lines, *(f"{_answers(question)}{again}" for question in asked)]
    return f'<div class="verdict">{"".join([*blocks, *made])}</div>'


def command(comparison: Mapping[str, Any]) -> str:
    """The command line that comes to the same verdicts."""
    words = [
        "vaex",
        "compare",
        *comparison["directories"],
        "--by",
        comparison["by"],
        "--against",
        comparison["against"],
    ]
    return shlex.join([*words, *([] if comparison["target"] is None else ["--target", f"{comparison['target']:g}"])])


def command_of_runs(manifests: Iterable[Mapping[str, Any]]) -> str | None:
    """The command that made all of the runs, as their manifests have it; None where it was not one."""
    found = set(map(_command, manifests))
    recorded = found.pop() if len(found) == 1 else None
    return recorded and shlex.join(word for word in shlex.split(recorded) if not word.startswith(PLACES))


def _command(manifest: Mapping[str, Any]) -> str | None:
    """Of a run's first segment; later ones only went on with it."""
    segments = manifest.get("segments")
    first = segments[0] if isinstance(segments, Sequence) and segments else None
    recorded = first.get("command") if isinstance(first, Mapping) else None
    try:
        return recorded if isinstance(recorded, str) and shlex.split(recorded) else None
    except ValueError:  # a quote that nothing closes: somebody wrote the file by hand
        return None


def _answers(question: Mapping[str, Any]) -> str:
    items = question["comparisons"]
    lines = [item["sentence"] for item in items if len(items) == 1 or item["answer"] in SETTLED]
    for answer in dict.fromkeys(item["answer"] for item in items if item["answer"] not in SETTLED):
        names = [item["variant"] for item in items if item["answer"] == answer]
        lines += [f"{answer}: {listed(names)}"] if len(items) > 1 else []
    heading = f"<h3>{page.text(capital(question['title']))}</h3>"
    return heading + "".join(f"<p>{page.text(line, 1000)}</p>" for line in lines)


def _code(about: str, line: str) -> str:
    return f'<p class="muted">{about}<code>{page.text(line, len(line) * 12)}</code></p>'
