"""What is done and need not be done again.

A unit of work (a case, a configuration and fold, the data set) names digests of all it reads. When it is finished it
leaves a receipt, written last, with those digests and with digests of what it wrote. A unit whose receipt is present
and equal is skipped; so running the same command again *is* resuming.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from nnbox.errors import RecordError
from nnbox.files import atomic_paths, digest_file
from nnbox.records.codec import dumps, read_record, write_record
from nnbox.records.dataset import FileState, state_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Proof that a unit was finished.

    Attributes:
        unit: the unit's name.
        work_version: version of the stage's work; a new version means new results.
        inputs: digest (or plain value) of everything the unit read, by name.
        outputs: state of every file it wrote, by path relative to the workspace.
        seconds: how long it took.
    """

    RECORD: ClassVar[str] = "receipt"
    VERSION: ClassVar[int] = 1

    unit: str
    work_version: int
    inputs: Mapping[str, str]
    outputs: Mapping[str, FileState]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A piece of work: its name, the version of its code, what it reads (by digest) and what it will write."""

    name: str
    version: int
    inputs: Mapping[str, str]
    outputs: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An input that is not what it was: digests or plain values, None where it was not there."""

    name: str
    before: str | None
    now: str | None

    @property
    def words(self) -> str:
        """The difference on a line."""
        return f"{self.name}: {_short(self.before)} -> {_short(self.now)}"


@dataclass(frozen=True, slots=True)
class Receipts:
    """The receipts of a workspace."""

    root: Path
    folder: Path

    def path(self, unit_name: str) -> Path:
        """Where the receipt of a unit lies."""
        return self.folder / f"{unit_name}.json"

    def read(self, unit_name: str) -> Receipt | None:
        """Return the receipt of a unit, or None when there is none or it cannot be read."""
        try:
            return read_record(self.path(unit_name), Receipt)
        except RecordError:
            return None

    def names(self, stage: str) -> tuple[str, ...]:
        """Return the names of all units of a stage that have a receipt, sorted."""
        found = (path.relative_to(self.folder).with_suffix("") for path in (self.folder / stage).rglob("*.json"))
        return tuple(sorted(path.as_posix() for path in found if not path.name.startswith(".")))

    def differences(self, unit: Unit) -> tuple[Difference, ...] | None:
        """Compare a unit with its receipt: None without a receipt, empty when equal."""
        receipt = self.read(unit.name)
        if receipt is None:
            return None
        found = []
        if receipt.work_version != unit.version:
            before, now = str(receipt.work_version), str(unit.version)
            found.append(Difference(name="version of the work", before=before, now=now))
        for name in sorted({*receipt.inputs, *unit.inputs}):
            was, is_now = receipt.inputs.get(name), unit.inputs.get(name)
            if was != is_now:
                found.append(Difference(name=name, before=was, now=is_now))
        return tuple(found)

    def damaged(self, unit_name: str) -> tuple[str, ...]:
        """Name the outputs of a finished unit that are missing or no longer what they were."""
        receipt = self.read(unit_name)
        if receipt is None:
            return ()
        return tuple(name for name, state in receipt.outputs.items() if not self._intact(self.root / name, state))

    def is_done(self, unit: Unit) -> bool:
        """Whether the unit was finished from equal inputs and its outputs are intact."""
        return self.differences(unit) == () and not self.damaged(unit.name)

    def write(self, unit: Unit, *, seconds: float) -> Receipt:
        """Leave the receipt of a finished unit; all its outputs must exist."""
        receipt = self._receipt(unit, seconds, {})
        write_record(self.path(unit.name), receipt)
        return receipt

    def write_some(self, units: Sequence[Unit], *, seconds: float, states: Mapping[Path, FileState]) -> None:
        """Leave the receipts of units that were done together.

        The caller flushes their folders; see `atomic_paths`. A receipt that is lost with the power means that its unit
        is done again.

        Args:
            units: what was done; all outputs must exist.
            seconds: how long it took.
            states: of the outputs, as far as they were taken while these were written.
        """
        with atomic_paths([self.path(unit.name) for unit in units]) as temporaries:
            for unit, temporary in zip(units, temporaries, strict=True):
                temporary.write_text(dumps(self._receipt(unit, seconds, states)), encoding="utf-8")

    def _receipt(self, unit: Unit, seconds: float, states: Mapping[Path, FileState]) -> Receipt:
        outputs = {
            path.relative_to(self.root).as_posix(): states.get(path) or file_state(path) for path in unit.outputs
        }
        return Receipt(
            unit=unit.name,
            work_version=unit.version,
            inputs=dict(unit.inputs),
            outputs=outputs,
            seconds=round(seconds, 3),
        )

    def carry_out(self, unit: Unit, work: Callable[[], None]) -> bool:
        """Do the work unless its receipt is present and equal; return whether anything was done."""
        if self.is_done(unit):
            return False
        started = time.monotonic()
        work()
        self.write(unit, seconds=time.monotonic() - started)
        return True

    @staticmethod
    def _intact(path: Path, state: FileState) -> bool:
        try:
            found = path.stat()
        except OSError:
            return False
        if found.st_size != state.size_bytes:
            return False
        return found.st_mtime_ns == state.modified_ns or digest_file(path) == state.sha256


def file_state(path: Path) -> FileState:
    """Return size, time and digest of a file."""
    return state_of(path, digest_file(path))


def _short(value: str | None) -> str:
    if value is None:
        return "(absent)"
    return f"{value[:12]}…" if len(value) == 64 else value
