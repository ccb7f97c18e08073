"""``python -m nnbox``."""

import sys

from nnbox.cli import main

if __name__ == "__main__":
    sys.exit(main())
