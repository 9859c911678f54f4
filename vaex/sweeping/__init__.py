"""What Hydra calls, and how a sweep goes on and ends."""
