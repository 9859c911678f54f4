"""Searches: which job comes next, decided by those that have ended."""
