"""Pictures: figures of a run, charts and report.html of a study. No JAX."""
