"""report.html: a comparison as one page that needs nothing else, section by section as one reads it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vaex import bands, files, page
from vaex.charts import Chart, Plotter
from vaex.stability import number
from vaex.study import Study, StudyRun, text, within

MOST_PANELS = 8
"""Settings that get charts of their own."""

MOST_PICTURED = 8
"""Variants whose pictures are shown."""

MOST_LISTED = 60
"""Lines of problems, and values of a differing entry, that are written out."""

FINAL = ("valid/elbo", "test/elbo", "valid/reconstruction", "valid/kl", "active_latents")
STABILITY = ("loss_spikes", "stability/grad_norm_max_over_p50", "stability/valid_jumps")


def write(path: Path, study: Study, comparison: dict[str, Any]) -> None:
    """Write the page; links and pictures are looked for from its directory on. A section without data is left out."""
    report = Report(path.parent.resolve(), study, comparison)
    files.write(path, report.html().encode("utf-8", "replace"))


class Report:
    """The page while it is put together: its charts get numbers in the order in which they are asked for."""

    def __init__(self, folder: Path, study: Study, comparison: dict[str, Any]):
        self.study, self.comparison, self.plotter = study, comparison, Plotter(study)
        self.links = [page.link(run.directory, folder) for run in study.runs]
        self.figures: list[dict[str, Any]] = []
        self.latents_vary = "model.latent_dim" in study.varied or study.by == "model.latent_dim"

    def html(self) -> str:
        """The whole page."""
        latents, rest = self._latents(), [
            self._numbers(), self._curves(), self._divergence(), self._gradients(), self._sigma(), self._rate_distortion(),
            self._pictures(), self._differences(), self._runs(), self._problems(), self._provenance(), self._method(),
        ]  # fmt: skip
        parts = [(name, title, content) for name, title, content in [latents, *rest] if content]
        contents = "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in parts)
        body = [self._head(), f'<nav class="contents">{contents}</nav>', self._legend()]
        body += [page.section(*part) for part in parts]
        title = f"{self.study.by}: {', '.join(self.study.variants[:4])} · vaex"
        return page.document(title, "\n".join(body), page.island("figures", self.figures) + page.island("links", self.links))

    def _chart(self, chart: Chart, titled: bool = True) -> str:
        self.figures.append({"data": chart.data, "layout": chart.layout})
        clicks = any("customdata" in trace or "meta" in trace for trace in chart.data)
        title = f"<h3>{page.text(chart.title)}</h3>" if titled and chart.title else ""
        return (
            f'<figure><figcaption>{title}<p>{page.text(chart.note)}</p></figcaption>'
            f'<div class="plot{" clickable" if clicks else ""}" data-figure="{len(self.figures) - 1}" role="img"'
            f' aria-label="{page.text(chart.title)}" style="height:{chart.height}px"></div></figure>'
        )

    def _charts(self, charts: Iterable[Chart | None], about: str, wide: bool = False) -> str:
        drawn = [self._chart(chart) for chart in charts if chart is not None]
        return f'<p class="about">{about}</p><div class="charts{" wide" if wide else ""}">{"".join(drawn)}</div>' if drawn else ""

    def _head(self) -> str:
        study = self.study
        statuses = Counter(run.status for run in study.runs)
        ended = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
        varied = "; ".join(f"{page.text(key)} in {page.text(_listed(values))}" for key, values in study.varied.items())
        what = f"by <code>{page.text(study.by)}</code>" if len(study.variants) > 1 else "of one variant"
        about = f"{len(study.runs)} run{'s' * (len(study.runs) != 1)} ({ended}) {what}" + (f"; also varied: {varied}" if varied else "")
        return f"<header><h1>{self._title()}</h1><p class=\"muted\">{about}</p>{self._verdict()}</header>"

    def _title(self) -> str:
        variants = self.study.variants
        if len(variants) == 1:
            return page.text(f"{variants[0]}: {len(self.study.runs)} runs" if len(self.study.runs) > 1 else variants[0])
        return page.text(f"{_listed(variants[1:], 6)} against {variants[0]}")

    def _verdict(self) -> str:
        return ""

    def _numbers(self) -> tuple[str, str, str]:
        return "numbers", "Paired differences", ""

    def _legend(self) -> str:
        """One legend for all charts, which stays in view."""
        if len(self.study.variants) < 2:
            return ""
        buttons = "".join(
            f'<button aria-pressed="true" data-variant="{self.plotter.group(name)}">'
            f'<span class="swatch" style="background:{self.plotter.color(name)}"></span>{page.text(name, 40)}</button>'
            for name in self.study.variants
        )
        return f'<div class="legend" role="group" aria-label="variants: show or hide"><span>{page.text(self.study.by, 40)}</span>{buttons}</div>'

    def _latents(self) -> tuple[str, str, str]:
        charts = self.plotter.latents() if self.latents_vary else []
        about = "How much of the data a code of this size can hold, and how many of its entries the posterior makes use of."
        return "latents", "Latent size", self._charts(charts, about)

    def _curves(self) -> tuple[str, str, str]:
        panels = [panel for panel in self.plotter.panels(self.study.runs) if any(run.rows for run in panel.runs)]
        about = "Line: median of the seeds that still had a finite value. Band: from the smallest to the largest. "
        about += "× at the lower edge: runs that diverged in that epoch. Hover names the run; a click goes to its directory. "
        if len(panels) == 1:
            kinds = (("elbo", "Validation ELBO, higher is better", "high"), ("reconstruction", "Reconstruction, lower is better", "low"),
                     ("kl", "KL", "low"))  # fmt: skip
            charts = [self.plotter.curves(panels[0], f"valid/{key}", title, better) for key, title, better in kinds]
            return "curves", "Training curves", self._charts(charts, about)
        everything = bands.by_epoch(self.study.runs, "valid/elbo")
        charts = [self.plotter.curves(panel, "valid/elbo", panel.title, "high", everything) for panel in panels[:MOST_PANELS]]
        about = "Validation ELBO, higher is better; all panels have the same axis. " + about + _cut(panels)
        return "curves", "Training curves", self._charts(charts, about)

    def _divergence(self) -> tuple[str, str, str]:
        varied = {"optimizer.learning_rate", "precision.network", "precision.posterior"} & set(self.study.varied)
        if not varied and not any(run.status == "diverged" for run in self.study.runs):
            return "divergence", "", ""
        about = "Each cell: diverged of all, over seeds and whatever else was varied. Hover says at which step and where it began."
        charts = self.plotter.divergence()
        return "divergence", "Where runs diverge", self._charts(charts, about, wide=len(charts) == 1)

    def _gradients(self) -> tuple[str, str, str]:
        panels = self.plotter.panels(self.study.runs)
        charts = [self.plotter.gradients(panel) for panel in panels[:MOST_PANELS]]
        about = "All steps of all runs, on a log scale. Box: the middle half of the steps; whiskers: from 1 % to 99 %; "
        about += "bar: the largest norm of any step. A long way from box to bar is an explosion that a mean hides. "
        return "gradients", "Gradient norms", self._charts(charts, about + _cut(panels), wide=len(panels) == 1)

    def _sigma(self) -> tuple[str, str, str]:
        panels = self.plotter.panels(self.study.runs)
        charts = [self.plotter.sigma(panel) for panel in panels[:MOST_PANELS]]
        about = "From the smallest to the largest |σ| of any run, example and latent, on a log scale. "
        return "sigma", "Range of σ", self._charts(charts, about + _cut(panels), wide=len(panels) == 1)

    def _rate_distortion(self) -> tuple[str, str, str]:
        chart = self.plotter.rate_distortion()
        about = "What a bit of code buys: rate is KL(q(z|x) ‖ p(z)), distortion is −E log p(x|z)."
        return "rate", "Rate and distortion", self._charts([chart], about, wide=True)

    def _pictures(self) -> tuple[str, str, str]:
        chosen = [_representative(self.study, variant) for variant in self.study.variants[:MOST_PICTURED]]
        shown: list[str] = []
        for run in chosen:
            if run is not None:
                shown.append(self._pictured(run))
        about = "One run a variant: of those that finished, the one with the median validation ELBO."
        left = len(self.study.variants) - MOST_PICTURED
        about += f" The first {MOST_PICTURED} variants; {left} more are not shown." if left > 0 else ""
        content = f'<p class="about">{about}</p><div class="pictures">{"".join(shown)}</div>' if shown else ""
        return "pictures", "Samples and reconstructions", content

    def _pictured(self, run: StudyRun) -> str:
        parts = []
        for name in ("reconstructions", "samples"):
            address, problem = page.picture(run.directory, name)
            words = f"{name} of {run.name}"
            parts.append(f'<p class="note warn">figures/{name}.png {problem}</p>' if problem else
                         f'<img src="{address}" alt="{page.text(words)}" loading="lazy">')  # fmt: skip
        swatch = f'<span class="swatch" style="background:{self.plotter.color(run.variant)}"></span>'
        ended = "" if run.status == "finished" else f", {run.status}"
        href = page.text(self.links[self.study.runs.index(run)], 10_000)
        caption = f'<figcaption><h3>{swatch} {page.text(run.variant)}</h3><p><a href="{href}">{page.text(run.name)}</a>{ended}</p></figcaption>'
        return f"<figure>{caption}{''.join(parts)}</figure>"

    def _differences(self) -> tuple[str, str, str]:
        """Every key that differs, with each variant's values."""
        runs, variants = self.study.runs, self.study.variants[:MOST_PICTURED]
        keys = [key for key in dict.fromkeys(key for run in runs for key in run.flat)
                if len({text(run.flat.get(key)) for run in runs}) > 1]  # fmt: skip
        rows = []
        for key in keys:
            values: dict[str, dict[str, None]] = defaultdict(dict)
            for run in runs:
                values[run.variant][text(run.flat[key]) if key in run.flat else "–"] = None
            rows.append([page.cell(key)] + [page.cell(_listed(values[name], 12)) for name in variants])
        about = '<p class="about">Keys that are not the same in all runs; everything else is.</p>'
        return "differences", "Differences in configuration", about + page.table(["key", *variants], rows) if rows else ""

    def _runs(self) -> tuple[str, str, str]:
        varied = [key for key in self.study.varied if not within(key, self.study.by)]
        values = [key for key in (*FINAL, *STABILITY) if any(_final(run, key) is not None for run in self.study.runs)]
        head = ["run", "variant", *(key.rpartition(".")[2] for key in varied), "status", *map(_heading, values), "diverged at", "problems"]
        rows = []
        for run, href in zip(self.study.runs, self.links, strict=True):
            ended = f"step {text(run.summary.get('first_nonfinite_step'))}, {text(run.summary.get('culprit'))}"
            row = [page.cell(run.name, href), page.cell(run.variant), *(page.cell(_plain(run.flat.get(key))) for key in varied)]
            row += [page.cell(run.status), *(page.cell(_final(run, key)) for key in values)]
            row += [page.cell(ended if run.status == "diverged" else ""), page.cell("; ".join(run.problems))]
            rows.append(row)
        about = '<p class="about">Nats per image; values of the last epoch. A heading sorts.</p>'
        return "runs", "Runs", about + page.table(head, rows, sortable=True)

    def _problems(self) -> tuple[str, str, str]:
        problems = self.study.problems
        more = f"<p>and {len(problems) - MOST_LISTED} more</p>" if len(problems) > MOST_LISTED else ""
        about = '<p class="about">Files that are damaged or missing. What could be read of these runs is in the report.</p>'
        return "problems", "Problems", about + page.items(problems[:MOST_LISTED]) + more if problems else ""

    def _provenance(self) -> tuple[str, str, str]:
        """What the manifests say: what all runs share, and what differs in which runs."""
        entries: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for run in self.study.runs:
            for key, value in _facts(run.manifest):
                entries[key][value].append(run.name)
        rows = []
        for key, values in entries.items():
            lines = [value if len(names) == len(self.study.runs) else f"{value} ({_listed(names, 5)})" for value, names in values.items()]
            rows.append([page.cell(key), page.cell("; ".join(lines[:MOST_LISTED]))])
        differing = [key for key, values in entries.items() if len(values) > 1 and key != "command"]
        about = f"Not the same in all runs: {', '.join(differing)}." if differing else "The same for all runs."
        return "provenance", "Provenance", f'<p class="about">{page.text(about)}</p>' + page.table(["what", "value"], rows) if rows else ""

    def _method(self) -> tuple[str, str, str]:
        return "method", "Method", ""


def _representative(study: Study, variant: str) -> StudyRun | None:
    """The finished run with the median valid/elbo; of a variant of which none finished, the first that left pictures."""
    runs = [run for run in study.runs if run.variant == variant]
    finished = [(elbo, place) for place, run in enumerate(runs)
                if run.status == "finished" and (elbo := number(run.summary.get("valid/elbo"))) is not None]  # fmt: skip
    if finished:
        return runs[sorted(finished)[(len(finished) - 1) // 2][1]]
    return next((run for run in runs if (run.directory / "figures").is_dir()), None)


def _facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The entries of a manifest that numbers depend on, flat, and the command."""
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
    return number(run.measures.get(key, run.summary.get(key)))


def _heading(key: str) -> str:
    return {"stability/grad_norm_max_over_p50": "grad max/p50", "stability/valid_jumps": "valid jumps"}.get(key, key)


def _plain(value: Any) -> Any:
    return value if isinstance(value, float | int) and not isinstance(value, bool) and number(value) is not None else text(value)


def _listed(values: Iterable[Any], most: int = 10) -> str:
    some = [text(value) for value in values]
    return ", ".join(some[:most]) + (f" and {len(some) - most} more" if len(some) > most else "")


def _cut(panels: list[Any]) -> str:
    return f"The first {MOST_PANELS} of {len(panels)} settings." if len(panels) > MOST_PANELS else ""
