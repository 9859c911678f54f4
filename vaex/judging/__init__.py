"""A trained model judged: pure measures of codes and samples, NumPy only."""
