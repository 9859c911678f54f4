"""Runs on disk become numbers and sentences. No JAX, nothing executed."""
