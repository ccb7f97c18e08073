"""Shared fixtures: where the references and the real images lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No timing in tests: a busy machine must not fail a law. On CI the same examples are tried every time.
settings.register_profile(
    "nnbox", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=os.environ.get("CI") == "true"
)
settings.load_profile("nnbox")

# As the command line does it, before torch is imported: spinning threads slow each other down on busy cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Byte-identical results need one number of threads; tests compare processes, so all of them use one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Triton decides when it is first imported, by whomever, whether its kernels are compiled or interpreted.
os.environ.setdefault("TRITON_INTERPRET", "1")

_REPOSITORY = Path(__file__).resolve().parent.parent
_oracle_cells = 0


def _shared_root() -> Path:
    return Path(os.environ.get("NNBOX_SHARED", _REPOSITORY.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of references and real images; skipped where it is missing, unless CI_REQUIRE_SHARED=1."""
    root = _shared_root()
    if not root.is_dir():
        if os.environ.get("CI_REQUIRE_SHARED") == "1":
            pytest.fail(f"the reference folder is missing at {root}, and CI_REQUIRE_SHARED=1")
        pytest.skip("no reference folder (set NNBOX_SHARED)")
    return root


@pytest.fixture(scope="session")
def reference(shared: Path) -> Path:
    """The folder of independent oracles."""
    return shared / "reference"


@pytest.fixture(scope="session")
def count_oracle_cells():
    """Call with the number of oracle cells a test compared; the total is printed at the end of the run."""

    def count(cells: int) -> None:
        global _oracle_cells  # noqa: PLW0603 - the terminal summary hook has no other way to see it
        _oracle_cells += cells

    return count


def pytest_sessionfinish(session):
    """Tell the process that started this one, where tests run side by side, what was counted here."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["oracle_cells"] = _oracle_cells


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Add up what the processes counted that tests ran in side by side."""
    global _oracle_cells  # noqa: PLW0603 - as above
    _oracle_cells += getattr(node, "workeroutput", {}).get("oracle_cells", 0)


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"oracle cells checked: {_oracle_cells}")
