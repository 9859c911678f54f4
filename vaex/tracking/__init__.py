"""Weights & Biases gets a copy of what is on disk; it cannot stop a run."""
