"""`python -m jqueue`: the command line."""

from jqueue.cli.main import main

if __name__ == "__main__":
    main()
