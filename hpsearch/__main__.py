"""`python -m hpsearch` is the `hpsearch` command."""

from hpsearch.cli.main import run

if __name__ == "__main__":
    run()
