"""What a run made of its tasks: one that fails does not keep the others from being done. Source: own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nnbox.errors import NnboxError, Severity, error_of, refusal
from nnbox.records.plan import Plan
from nnbox.records.results import Selection
from nnbox.stages.clock import ending_recorded
from nnbox.stages.context import Context
from nnbox.stages.job import Job
from nnbox.stages.last_report import failure_reported
from nnbox.stages.packaging import TaskPredictions
from nnbox.stages.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOutcome:
    """What a run made of one task; later parts are None when the run stopped before them.

    Attributes:
        workspace: its output folder.
        plan: the plan.
        selection: what was chosen.
        predictions: the test cases' label maps.
        left: the task, where its end was left to runs that still train.
        failed: why it was not done.
    """

    workspace: Workspace
    plan: Plan | None = None
    selection: Selection | None = None
    predictions: TaskPredictions | None = None
    left: Job | None = None
    failed: NnboxError | None = None


def attempted(context: Context, work: Callable[[], TaskOutcome], *, alone: bool) -> TaskOutcome:
    """Do the work on a task; where there are others, its failure is told and becomes its outcome.

    Raises:
        NnboxError: it failed, and is the only one.
        OSError: the same, where the system refused something.
    """
    try:
        with failure_reported(context), ending_recorded(context.journal):
            return work() if alone else _told(work)
    except NnboxError as error:
        if alone:
            raise
        failed = error
    context.claims.close()  # other runs must not wait for this one
    name = context.workspace.root.name
    context.journal.listener(Severity.ERROR, f"{name} failed (exit code {failed.exit_code}): {failed}")
    return TaskOutcome(workspace=context.workspace, failed=failed)


def _told(work: Callable[[], TaskOutcome]) -> TaskOutcome:
    """Do the work; what the system refuses it is a failure of this task, not the end of all."""
    try:
        return work()
    except OSError as error:
        if error.errno is None:
            raise
        raise refusal(error) from error


def require_none_failed(outcomes: Sequence[TaskOutcome]) -> None:
    """See that every task was done, at the end of the run.

    Raises:
        NnboxError: some were not; with the highest of their exit codes.
    """
    failed = {item.workspace.root.name: item.failed for item in outcomes if item.failed is not None}
    if not failed:
        return
    lines = [
        f"  - {name} (exit code {item.exit_code}): {next(iter(str(item).splitlines()), '')}"
        for name, item in failed.items()
    ]
    raise error_of(
        max(item.exit_code for item in failed.values()),
        "\n".join(
            (
                f"{len(failed)} of {len(outcomes)} tasks failed, so that no archive of all is written:",
                *lines,
                "What to do: see what each of them said, above or in its log.jsonl; then run the same command again, "
                "what is finished is kept.",
            )
        ),
    )
