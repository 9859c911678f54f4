"""A trained model, read back from its run: asked, measured, drawn."""
