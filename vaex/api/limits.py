"""How much may be asked of a trained model at once; here, so that who only reads flags imports no JAX."""

MOST_DRAWS = 10_000_000
"""Of z for each image: a bound has stopped to move long before."""
