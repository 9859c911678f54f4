"""The notebook's door: compose, train, sweep, load; a trained run as an object."""
