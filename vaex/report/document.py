"""report.html: a comparison as one page that needs nothing else, section by section as one reads it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from vaex import files
from vaex.report import diagnoses, divergence_charts, outcome_charts, page, pictures, training_charts, verdicts
from vaex.report import tables as report_tables
from vaex.report.charts import MOST_VARIANTS, Chart, Panel, Plotter, capital
from vaex.report.outcome_charts import LATENTS
from vaex.report.pictures import swatch
from vaex.report.search import parts as searches
from vaex.report.tables import listed
from vaex.study.quantities import Kind
from vaex.study.questions import LEARNING_RATE
from vaex.study.runs import Study
from vaex.terminal.tables import brief

MOST_PANELS = 8
"""Settings that get charts of their own."""

MOST_PROBLEMS = 100
"""Problems that are written out."""


def write(path: Path, study: Study, comparison: Mapping[str, Any]) -> None:
    """Write the page; its links to runs are relative to its directory. A section without data is left out.

    `comparison` is what `comparing.compare` returns for `study`. Raises `OSError` where it cannot be written.
    """
    files.write(path, Report(path.parent.resolve(), study, comparison).html().encode())


class Report:
    """The page while it is put together: its charts get numbers in the order in which they are asked for."""

    def __init__(self, folder: Path, study: Study, comparison: Mapping[str, Any]):
        self.study, self.comparison, self.plotter = study, comparison, Plotter(study)
        self.links = [page.link(run.directory, folder) for run in study.runs]
        self.panels = self.plotter.panels(study.runs)
        self.figures: list[dict[str, Any]] = []

    def html(self) -> str:
        """The whole page."""
        sections = [
            ("population", "Population", searches.of_populations(self.study, self._charts)),
            ("search", "Search", searches.of_searches(self.study, self._charts)),
            ("stops", "Early stopping", searches.of_stops(self.study, self._charts)),
            ("latents", "Latent size", self._latents()),
            ("numbers", "Variants compared", self._numbers()),
            ("rates", "Loss against learning rate", self._rates()),
            ("curves", "Training curves", self._curves()),
            ("divergence", "Where runs diverge", self._divergence()),
            ("diagnoses", "Why runs diverged", diagnoses.section(self.study.runs, self.links)),
            ("gradients", "Gradient norms", self._gradients()),
            ("sigma", "Range of σ", self._sigma()),
            ("rate", "Rate and distortion", self._rate_distortion()),
            ("pictures", "Samples and reconstructions", pictures.section(self.plotter, self.links)),
            ("differences", "Differences in configuration", self._differences()),
            ("runs", "Runs", self._runs()),
            ("problems", "Problems", self._problems()),
            ("provenance", "Provenance", self._provenance()),
            ("method", "Method", self._method()),
        ]
        there = [section for section in sections if section[2]]
        contents = "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in there)
        body = [self._head(), f'<nav class="contents">{contents}</nav>', self._legend()]
        body += [page.section(*section) for section in there]
        descriptions = [self.plotter.describe(run) for run in self.study.runs]
        content = {"figures": self.figures, "links": self.links, "descriptions": descriptions}
        islands = "".join(page.island(name, value) for name, value in content.items())
        title = f"{self._title()} · vaex compare"
        return page.document(title, "\n".join(body), islands, *page.of_charts())

    def _title(self) -> str:
        names = self.study.variants
        if self.comparison["kind"] and (title := searches.title(self.study)):
            return title
        if len(names) > 1:
            return f"{listed(names[1:], 6)} against {names[0]}"
        return f"{names[0]}, {len(self.study.runs)} runs" if len(self.study.runs) > 1 else self.study.runs[0].name

    def _head(self) -> str:
        """What was compared, and the answers."""
        study = self.study
        ended = ", ".join(f"{n} {status}" for status, n in Counter(run.status for run in study.runs).most_common())
        about = f"{len(study.runs)} run{'s' * (len(study.runs) != 1)} ({ended})"
        if not self.comparison["kind"]:  # their own parts say what they had
            about += f", {len(study.variants)} variants of {study.by}" if len(study.variants) > 1 else ""
            about += "".join(f"; {key}: {listed(values)}" for key, values in study.varied.items())
        notes = []
        if self.comparison["problems"]:
            count = len(self.comparison["problems"])
            notes.append(
                f'<p class="note warn"><a href="#problems">{count} problem{"s" * (count != 1)}</a> with files.</p>'
            )
        if len(study.variants) > MOST_VARIANTS:
            notes.append(f'<p class="note">Charts with a row or line a variant show the first {MOST_VARIANTS}.</p>')
        verdict = verdicts.block(study, self.comparison) if len(study.variants) > 1 else ""
        head = f'<h1>{page.text(self._title())}</h1><p class="muted">{page.text(about, 1000)}</p>'
        return f"<header>{head}{verdict}{''.join(notes)}</header>"

    def _legend(self) -> str:
        """One legend for all charts, which stays in view and shows or hides variants."""
        if len(self.study.variants) < 2:
            return ""
        buttons = "".join(
            f'<button aria-pressed="true" data-variant="{self.plotter.group(name)}">'
            f"{swatch(self.plotter, name)}{page.text(brief(name), 40)}</button>"
            for name in self.study.variants[:MOST_VARIANTS]
        )
        head = f"<span>{page.text(self.study.by, 40)}</span>"
        return f'<div class="legend" role="group" aria-label="show or hide variants">{head}{buttons}</div>'

    def _latents(self) -> str:
        if LATENTS not in self.study.varied and self.study.by != LATENTS:
            return ""
        about = "How well a code of each size can do, and how many of its entries the posterior makes use of."
        return self._charts(outcome_charts.latents(self.plotter), about)

    def _numbers(self) -> str:
        if len(self.study.variants) < 2 or self.comparison["kind"]:
            return ""
        asked = [question for question in self.comparison["questions"] if question["headline"]]
        charts = [divergence_charts.rates(self.plotter, self.comparison["by_variant"])]
        charts += [outcome_charts.intervals(self.plotter, question) for question in asked]
        about = f"Paired with the run of {self.study.against} that has the same seed and everything else."
        tables = "<h3>Paired comparisons</h3>" + report_tables.comparisons(self.comparison)
        tables += "<h3>Counts, and means over finished runs</h3>"
        if any(run.stopped for run in self.study.runs):
            tables += (
                '<p class="about">Of variants of which runs were stopped early they are of runs chosen by results.</p>'
            )
        tables += report_tables.variants(self.comparison)
        return self._charts(charts, about) + tables

    def _curves(self) -> str:
        panels = [panel for panel in self.panels if any(run.rows for run in panel.runs)]
        about = "Hover names the run, a click goes to its directory. "
        if len(self.study.runs) > 1:
            about += (
                "Line: median over the seeds that still had a finite value; band: from the smallest to the largest. "
            )
        if any(run.status == "diverged" for run in self.study.runs):
            about += "× at the lower edge: the epoch in which runs diverged. "
        if any(run.status == "stopped" for run in self.study.runs):
            about += (
                "Runs that were stopped early end there: from then on a line is over the others, which results chose. "
            )
        if len(panels) == 1:
            kinds = (
                ("elbo", "ELBO, higher is better", "high"),
                ("reconstruction", "Reconstruction, lower is better", "low"),
                ("kl", "KL", "low"),
            )
            charts = [
                training_charts.curves(
                    self.plotter, part, f"valid/{key}", ": ".join(filter(None, (title, part.title))), better
                )
                for key, title, better in kinds
                for part in self.plotter.alike(panels[0], "anything" if key == "kl" else "bound")
            ]
            return self._charts(charts, "On the validation set. " + about)
        about = "ELBO on the validation set, higher is better; each panel has its own axis. " + about
        return self._of_panels(
            lambda p, panel: training_charts.curves(p, panel, "valid/elbo", panel.title, "high"), "bound", about
        )

    def _divergence(self) -> str:
        varied = {LEARNING_RATE, "precision.network", "precision.posterior"} & set(self.study.varied)
        if not varied and not any(run.status == "diverged" for run in self.study.runs):
            return ""
        about = "Diverged of all runs in the cell, over seeds and whatever else was varied. Hover says where it began."
        return self._charts(divergence_charts.divergence(self.plotter), about)

    def _rates(self) -> str:
        if LEARNING_RATE not in self.study.varied:
            return ""
        about = "How wide is the range of learning rates at which each variant trains?"
        panels = self.plotter.panels(self.study.runs, LEARNING_RATE)
        return self._of_panels(divergence_charts.losses, "bound", about, panels)

    def _gradients(self) -> str:
        about = (
            "All steps of all runs, log scale. Box: the middle half; whiskers: 1 % to 99 %; bar: the largest of all. "
        )
        about += "A long way from box to bar is an explosion that a mean would hide."
        return self._of_panels(training_charts.gradients, "objective", about)

    def _sigma(self) -> str:
        about = "From the smallest to the largest |σ| of any run, example and latent, log scale."
        return self._of_panels(training_charts.sigma, "anything", about)

    def _rate_distortion(self) -> str:
        about = "How an ELBO is made up: rate is KL(q(z|x) ‖ p(z)), distortion is −E log p(x|z)."
        parts = self.plotter.alike(Panel("", self.study.runs), "bound")
        return self._charts([outcome_charts.rate_distortion(self.plotter, part) for part in parts], about)

    def _differences(self) -> str:
        if self.comparison["kind"] == "population":  # in seeds and schedules, of which its own part has what there is
            return ""
        found = report_tables.differences(self.study)
        left = len(self.study.variants) - report_tables.MOST_COLUMNS
        about = "Keys that are not the same in all runs." + (
            f" {left} more variants are not shown." if left > 0 else ""
        )
        return f'<p class="about">{about}</p>{found}' if found else ""

    def _runs(self) -> str:
        about = "Final values in nats per image, of the last epoch. A click on a heading sorts."
        about += "".join(f" {capital(line)}." for line in self.comparison["apart"])
        return f'<p class="about">{page.text(about, 2000)}</p>{report_tables.runs(self.study, self.links)}'

    def _problems(self) -> str:
        problems = self.comparison["problems"]
        about = "Files that are damaged or missing; what could be read of these runs is in the report."
        left = len(problems) - MOST_PROBLEMS
        more = f"<p>and {left} more</p>" if left > 0 else ""
        return f'<p class="about">{about}</p>{page.items(problems[:MOST_PROBLEMS])}{more}' if problems else ""

    def _provenance(self) -> str:
        found, differing = report_tables.provenance(self.study)
        about = f"Not the same in all runs: {', '.join(differing)}." if differing else "The same for all runs."
        return f'<p class="about">{page.text(about, 1000)}</p>{found}' if found else ""

    def _method(self) -> str:
        lines = "".join(f"<p>{page.text(line, 5000)}</p>" for line in self.comparison["method"])
        return lines + f'<p class="muted">Written by vaex {page.text(self.comparison["vaex"])}.</p>'

    def _of_panels(
        self, draw: Callable[[Plotter, Panel], Chart | None], kind: Kind, about: str, of: Iterable[Panel] = ()
    ) -> str:
        """A chart for each of the first settings, in parts where its runs have no quantity of this kind in common."""
        panels = [part for panel in of or self.panels for part in self.plotter.alike(panel, kind)]
        left = len(panels) - MOST_PANELS
        about += f" The first {MOST_PANELS} of {len(panels)} settings." if left > 0 else ""
        return self._charts([draw(self.plotter, panel) for panel in panels[:MOST_PANELS]], about)

    def _charts(self, charts: Iterable[Chart | None], about: str) -> str:
        """Charts side by side where there is room."""
        drawn = [self._chart(chart) for chart in charts if chart is not None and chart.data]
        least = "100%" if len(drawn) == 1 else "27rem" if len(drawn) in (2, 4) else "20rem"
        grid = f'<div class="charts" style="--least:{least}">{"".join(drawn)}</div>'
        return f'<p class="about">{page.text(about, 2000)}</p>{grid}' if drawn else ""

    def _chart(self, chart: Chart) -> str:
        self.figures.append({"data": chart.data, "layout": chart.layout})
        title = f"<h3>{page.text(chart.title)}</h3>" if chart.title else ""
        clicks = " clickable" if any("customdata" in trace or "meta" in trace for trace in chart.data) else ""
        plot = f'<div class="plot{clicks}" data-figure="{len(self.figures) - 1}" style="height:{chart.height}px"'
        plot += f' role="img" aria-label="{page.text(chart.title or chart.note)}"></div>'
        note = f"<p>{page.text(chart.note)}</p>" if chart.note else ""
        return f"<figure><figcaption>{title}{note}</figcaption>{plot}</figure>"
