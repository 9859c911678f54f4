"""A run's or sweep's directory: written while training, read back as data, never executed."""
