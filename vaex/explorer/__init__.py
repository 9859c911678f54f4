"""One HTML file in which trained models run: the page, its scripts, what it holds."""
