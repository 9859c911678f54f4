"""Figures of one run, from what a trained model says when asked: NumPy, Pillow, matplotlib. One file a kind. No JAX."""
