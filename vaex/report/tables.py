"""The report's tables: verdicts' numbers, variants, differences in configuration, runs, provenance."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vaex.report import page
from vaex.study.run import OTHER_LENGTH
from vaex.study.runs import Study, StudyRun, text, within
from vaex.study.stability import number

MOST_COLUMNS = 8
"""Variants that a table has a column for."""

MOST_VALUES = 60
"""Values of one entry that are written out."""

MOST_EVALUATED = 16
"""Numbers of `vaex evaluate` that the table of runs has."""

FINAL = ("valid/elbo", "test/elbo", "valid/reconstruction", "valid/kl", "active_latents")
STABILITY = ("loss_spikes", "stability/grad_norm_max_over_p50", "stability/valid_jumps")

HEADINGS = {
    "loss_spikes": "loss spikes",
    "active_latents": "active latents",
    "stability/grad_norm_max_over_p50": "grad norm max/p50",
    "stability/valid_jumps": "valid jumps",
}


def comparisons(comparison: Mapping[str, Any]) -> str:
    """Every paired difference with its interval; nothing when there is one variant."""
    rows = []
    for question in comparison["questions"]:
        for item in question["comparisons"]:
            what = question["title"] + (" (ratio)" if question["scale"] == "ratio" else "")
            values = (item.get(key) for key in ("mean_variant", "mean_against", "estimate", "low", "high", "p_holm"))
            row = [what, item["variant"], item["seeds"], item["pairs"], *values, item["answer"]]
            rows.append([page.cell(value) for value in row])
    head = ["what", "variant", "seeds", "pairs", "its mean", f"mean of {comparison['against']}"]
    return page.table([*head, "difference", "from", "to", "p (Holm)", "it has"], rows, sortable=True) if rows else ""


def variants(comparison: Mapping[str, Any]) -> str:
    """Counts and means of each variant over all its runs, paired or not: one column a variant."""
    shown = list(comparison["by_variant"].items())[:MOST_COLUMNS]
    rows = [[page.cell(name), *(page.cell(row[name]) for _, row in shown)] for name in ("runs", "finished", "diverged")]
    rates = [row["divergence"] for _, row in shown]
    shares = [f"{100 * rate['low']:.0f}–{100 * rate['high']:.0f} %" if rate else "–" for rate in rates]
    rows.append([page.cell("diverged, 95 % interval"), *(f"{page.NUMBER}>{share}</td>" for share in shares)])
    others = [OTHER_LENGTH] if any(row[OTHER_LENGTH] for _, row in shown) else []
    rows += [
        [page.cell(name), *(page.cell(row[name]) for _, row in shown)]
        for name in ("stopped", *others, "interrupted", "failed")
    ]
    for question in comparison["questions"]:
        means = [row["means"].get(question["key"], {}).get("mean") for _, row in shown]
        if any(mean is not None for mean in means):
            rows.append([page.cell(question["title"]), *(page.cell(mean) for mean in means)])
    return page.table(["", *(name for name, _ in shown)], rows)


def differences(study: Study) -> str:
    """Every key of the configuration that is not the same in all runs, with each variant's values."""
    shown = study.variants[:MOST_COLUMNS]
    values: dict[str, dict[str, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
    for key in dict.fromkeys(key for run in study.runs for key in run.flat):
        for run in study.runs:
            values[key][run.variant][text(run.flat[key]) if key in run.flat else "–"] = None
    rows = [
        [page.cell(key), *(page.cell(listed(found[name], 12)) for name in shown)]
        for key, found in values.items()
        if len({value for some in found.values() for value in some}) > 1
    ]
    return page.table(["key", *shown], rows) if rows else ""


def runs(study: Study, links: Sequence[str]) -> str:
    """One row a run: what was varied, how it ended, final values, stability, problems."""
    varied = [key for key in study.varied if not within(key, study.by)]
    evaluated = dict.fromkeys(key for run in study.runs for key in run.evaluation)
    values = [key for key in (*FINAL, *STABILITY) if any(_final(run, key) is not None for run in study.runs)]
    values += list(evaluated)[:MOST_EVALUATED]
    rows = []
    for run, href in zip(study.runs, links, strict=True):
        culprit = text(run.summary.get("culprit"))
        row = [page.cell(run.name, href), page.cell(run.variant), page.cell(run.status)]
        row += [page.cell(_plain(run.flat.get(key))) for key in varied]
        row += [page.cell(_final(run, key)) for key in values]
        row += [page.cell(f"step {text(run.diverged_at)}, {culprit}" if run.status == "diverged" else "")]
        rows.append([*row, page.cell("; ".join(run.problems))])
    head = ["run", "variant", "status", *(key.rpartition(".")[2] for key in varied)]
    head += [HEADINGS.get(key, key) for key in values]
    return page.table([*head, "diverged at", "problems"], rows, sortable=True)


def provenance(study: Study) -> tuple[str, list[str]]:
    """What the manifests say, with the runs that say something else than the others; and the entries that differ."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for run in study.runs:
        for key, value in _facts(run.manifest):
            found[key][value].append(run.name)
    rows = []
    for key, values in found.items():
        alike = len(values) == 1 and len(*values.values()) == len(study.runs)
        lines = [value if alike else f"{value} ({listed(names, 5)})" for value, names in values.items()]
        rows.append([page.cell(key), page.cell("; ".join(lines[:MOST_VALUES]))])
    differing = [key for key, values in found.items() if len(values) > 1 and key != "command"]
    return page.table(["what", "value"], rows) if rows else "", differing


def listed(values: Iterable[Any], most: int = 10) -> str:
    """A few values, and how many more there are."""
    some = [text(value) for value in values]
    return ", ".join(some[:most]) + (f" and {len(some) - most} more" if len(some) > most else "")


def _facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The entries of a manifest that numbers depend on, flat, and the command; whatever else may stand there is not."""
    environment, code, segments = (manifest.get(key) for key in ("environment", "code", "segments"))
    facts: dict[str, Any] = {"dataset_sha256": manifest.get("dataset_sha256")}
    if isinstance(code, Mapping):
        facts |= {f"code.{key}": value for key, value in code.items()}
    if isinstance(environment, Mapping):
        versions = environment.get("versions")
        facts |= {key: value for key, value in environment.items() if key != "versions"}
        facts |= dict(versions) if isinstance(versions, Mapping) else {}
    if isinstance(segments, list) and segments and isinstance(segments[-1], Mapping):
        facts["command"] = segments[-1].get("command")
    return [(text(key), text(value)) for key, value in facts.items() if value is not None]


def _final(run: StudyRun, key: str) -> float | None:
    """A measure, or what the summary says."""
    if key in run.evaluation:
        return run.evaluation[key].value
    return number(run.measures[key] if key in run.measures else run.summary.get(key))


def _plain(value: Any) -> Any:
    """A finite number as such, to be sorted by; anything else as text."""
    return text(value) if number(value) is None else value
