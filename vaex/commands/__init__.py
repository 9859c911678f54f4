"""What a person asks for: one file a verb, `main(arguments)` gives its exit code."""
