"""Whether a run of a sweep is to stop early. A rule is one pure file, named by its paper; `judge.py` asks them.

A rule sees the history of the sweep so far, and of one run that it has come to an epoch; it knows no files, devices or
threads. All values are scores here: higher is better, and what is not finite is −∞.
"""
