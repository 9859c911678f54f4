"""A sweep that chooses its next configuration by the results so far: its space, its study on disk, its source of runs."""
