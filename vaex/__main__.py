"""`python -m vaex` is `vaex`."""

from vaex.cli import main

if __name__ == "__main__":
    main()
