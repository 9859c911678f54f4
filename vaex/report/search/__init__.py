"""What the report shows of a search's trials and of early stopping."""
