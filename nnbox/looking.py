"""What the verbs that only look do: no file of a data set is changed by them, and no result of a run."""

from __future__ import annotations

import json
import os
from pathlib import Path

from nnbox.console import print_raw, say, show_problems, show_status, show_table
from nnbox.errors import DataError, UsageError
from nnbox.intake.options import IntakeOptions
from nnbox.records.codec import encode


def inspect(
    root: Path,
    intake: IntakeOptions,
    *,
    recipe: str,
    planning_memory_gb: float | None,
    workers: int | None,
    page: Path | None,
) -> None:
    """Show every problem, what was detected, what would be trained and the disk it needs; write a page if asked to.

    Raises:
        DataError: the data set has errors.
    """
    from nnbox.stages.inspect import TRAINING_COLUMNS, inspect_root, write_data_report
    from nnbox.stages.resources import worker_count

    found = inspect_root(
        root, intake, recipe=recipe, planning_memory_gb=planning_memory_gb, workers=worker_count(workers)
    )
    for inspection in found:
        show_problems(inspection.problems)
        show_table(inspection.task, ("", "found"), inspection.rows, numbers=False)
        if inspection.training:
            show_table("would be trained", TRAINING_COLUMNS, inspection.training)
        say(inspection.note)
        if page is not None:
            target = page if len(found) == 1 else page.with_stem(f"{page.stem}-{inspection.task}")
            write_data_report(inspection, target)
            say(f"data section: {target}")
    if errors := [problem for inspection in found for problem in inspection.errors]:
        raise DataError(f"{root}: {len(errors)} problem{'' if len(errors) == 1 else 's'} to be solved first")


def status(output: Path, *, as_json: bool) -> None:
    """Show where the runs of an output folder are.

    Raises:
        UsageError: there is no run.
    """
    from nnbox.stages.run_files import workspaces
    from nnbox.stages.status import read_status

    found = [read_status(workspace) for workspace in workspaces(output)]
    if as_json:
        document = [{"record": item.RECORD, "version": item.VERSION, **encode(item)} for item in found]
        print_raw(json.dumps(document, indent=1, ensure_ascii=False))
    else:
        show_status(found)


def report(output: Path, root: Path | None) -> None:
    """Write the report of every run of an output folder anew.

    Raises:
        UsageError: there is no run.
    """
    from nnbox.stages.report import write_report
    from nnbox.stages.run_files import workspaces

    found = workspaces(output)
    for workspace in found:
        place = root if root is None or len(found) == 1 else root / workspace.root.name
        say(f"report: {write_report(workspace, place)}")


def explain(output: Path, case: str, *, root: Path | None, picture: Path | None) -> None:
    """Tell what was done to one case, and draw it.

    Raises:
        UsageError: there is no such case, or nothing was selected yet.
        DataError: its files cannot be read.
    """
    from nnbox.report.images import LEGEND
    from nnbox.stages.explain import explain as explain_case

    found = explain_case(output, case, root, picture)
    show_table(found.case, ("step", "what was done"), found.steps, numbers=False)
    say(f"picture: {found.picture}")
    if found.has_reference:
        say("; ".join(f"{color}: {meaning}" for _, color, meaning in LEGEND))


def case_names(output: Path) -> list[str]:
    """Return the names of all cases of a run, test images included; empty where there is no run."""
    from nnbox.errors import NnboxError
    from nnbox.stages.run_files import read_run, workspaces

    try:
        found = [read_run(workspace).dataset for workspace in workspaces(output)]
    except (NnboxError, OSError):
        return []
    return [case.name for item in found if item is not None for case in (*item.cases, *item.test_cases)]


def run_folder(output: Path | None) -> Path:
    """Return the run to look at: ``--output``, else the folder ``nnbox`` in the container's input.

    Raises:
        UsageError: neither is known.
    """
    if output is not None:
        return output
    if "NNBOX_INPUT" in os.environ:
        return Path(os.environ["NNBOX_INPUT"]) / "nnbox"
    raise UsageError("which run? What to do: name the --output folder of nnbox train.")
