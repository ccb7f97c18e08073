"""Every failure a user can meet, each with its exit code.

A message says what is wrong (case, file, value), what was expected, and what to do about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Severity(StrEnum):
    """How much a finding about the input matters."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One finding about the input: where, what, what was expected, and the act or option that remedies it.

    Attributes:
        severity: an error stops the run; a warning is shown and recorded.
        what: the defect in words, e.g. ``"label value 7 is not in dataset.json"``.
        expected: what a good input would look like.
        remedy: the exact option or act that helps, e.g. ``"leave it out with --exclude case_3"``.
        case: the case it belongs to, or None for the data set as a whole.
        file: the file, relative to the data set's root, or None.
    """

    severity: Severity
    what: str
    expected: str
    remedy: str
    case: str | None = None
    file: str | None = None

    def sentence(self) -> str:
        """Return the finding as one line for a terminal."""
        where = ", ".join(part for part in (self.case and f"case {self.case}", self.file) if part)
        head = f"{where}: {self.what}" if where else self.what
        return f"{head}; expected {self.expected}. What to do: {self.remedy}."


class NnboxError(Exception):
    """Base of all failures that are explained to the user instead of shown as a traceback."""

    exit_code: ClassVar[int] = 70


class UsageError(NnboxError):
    """The command line cannot be carried out as typed."""

    exit_code: ClassVar[int] = 2


class DataError(NnboxError):
    """The data set is wrong; carries every problem that was found, not only the first."""

    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, problems: tuple[Problem, ...] = ()) -> None:
        self.problems = problems
        lines = [message, *(f"  - {problem.sentence()}" for problem in problems)]
        super().__init__("\n".join(lines))


class PlanError(NnboxError):
    """No feasible plan, or a plan that must not be used for what was asked."""

    exit_code: ClassVar[int] = 4


class ResourceError(NnboxError):
    """Disk, memory, device, permissions or time do not suffice."""

    exit_code: ClassVar[int] = 5


class ChangedRunError(ResourceError):
    """A finished training unit would have to be overwritten because its inputs, options or version changed."""


class LostClaimError(NnboxError):
    """Another run took over what this one had claimed: nothing more of it must be written, not even to save it."""

    exit_code: ClassVar[int] = 5


class TrainingError(NnboxError):
    """Training broke down (for example the loss is no longer finite)."""

    exit_code: ClassVar[int] = 6


class IncompleteOutputError(NnboxError):
    """The output is incomplete or refused by the checks of the submission."""

    exit_code: ClassVar[int] = 7

    def __init__(self, message: str, problems: tuple[Problem, ...] = ()) -> None:
        self.problems = problems
        lines = [message, *(f"  - {problem.sentence()}" for problem in problems)]
        super().__init__("\n".join(lines))


_PLAIN: tuple[type[NnboxError], ...] = (
    UsageError,
    DataError,
    PlanError,
    ResourceError,
    TrainingError,
    IncompleteOutputError,
)


def error_of(exit_code: int, message: str) -> NnboxError:
    """Return the plain error of an exit code, with a message."""
    return next((kind for kind in _PLAIN if kind.exit_code == exit_code), NnboxError)(message)


def refusal(error: OSError) -> ResourceError:
    """Return what to tell of something that the system refused: a full disk, a missing right, a disk that broke."""
    place = error.filename or "a file cannot be read or written"
    return ResourceError(
        f"{place}: {error.strerror}. What to do: see that the path is right, that its disk has room, and that this "
        "user may use it."
    )


class RecordError(NnboxError):
    """A JSON record cannot be read: wrong type, missing or unknown field, unknown version."""

    exit_code: ClassVar[int] = 3
