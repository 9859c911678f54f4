"""How runs and sweeps stand that may still train: what is on disk is read, and Slurm asked for its queue of a
sweep's tasks; nothing is written, locked or executed."""
