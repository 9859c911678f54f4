"""Why a run diverged: a step inspected, said in words and pictures, cures tried. Reads a run, never changes it."""
