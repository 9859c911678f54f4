"""A sweep that chooses its next configuration by the results so far: space, study on disk, source of runs."""
