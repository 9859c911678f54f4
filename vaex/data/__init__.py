"""Files become verified splits."""
