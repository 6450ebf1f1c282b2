"""Run the command line with `python -m ct`."""

from ct.cli import main

if __name__ == "__main__":
    main()
