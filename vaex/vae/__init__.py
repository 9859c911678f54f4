"""The method, pure: posterior, objective, step, pack. No jit, no files, no Hydra."""
