"""How runs and sweeps stand that may still train: what is on disk is read; nothing is written, locked or executed."""
