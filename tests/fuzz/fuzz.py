"""Coverage-guided fuzzing of one target: ``python tests/fuzz/fuzz.py codec CORPUS -max_total_time=60``."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["nnbox", "json"]):
    from targets import TARGETS


def main() -> None:
    """Run until the budget is over; an exception other than NnboxError, a hang or a swelling ends it."""
    name = sys.argv.pop(1)
    atheris.Setup(
        [sys.argv[0], "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1", *sys.argv[1:]], TARGETS[name]
    )
    atheris.Fuzz()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
