"""What a search left in a sweep's directory becomes numbers. Read as data; no Optuna, no JAX."""
