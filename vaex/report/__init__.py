"""Charts and report.html of a study. No JAX."""
