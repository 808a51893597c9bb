"""`python -m lensbench`: the command, where its script is on no path."""

from lensbench.cli import main

if __name__ == "__main__":
    main()
