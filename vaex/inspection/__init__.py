"""One step of a run: replayed to it bit for bit, traced, looked into. Writes no file."""
