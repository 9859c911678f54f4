"""How the packs of a sweep are run: in this process, or by workers elsewhere. What they leave on disk is the same."""
