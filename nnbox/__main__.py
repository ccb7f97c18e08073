"""``python -m nnbox``."""

from nnbox.cli import run

if __name__ == "__main__":
    run()
