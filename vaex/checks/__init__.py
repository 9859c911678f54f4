"""Runs on disk are held against what was expected of them, and against each other; nothing here trains or draws."""
