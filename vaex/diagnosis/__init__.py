"""Why a run diverged: replayed to the step, looked into, cured by trial. Reads a run, never changes it."""
