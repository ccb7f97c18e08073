"""``report.html``: made from a run's files alone, while it runs and at its end."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from nnbox.files import atomic_write_text
from nnbox.report.facts import RunFacts
from nnbox.report.render import render
from nnbox.report.report import run_report
from nnbox.stages.case_images import pictured_cases
from nnbox.stages.run_files import RunFiles, read_run, result_digests, work_done
from nnbox.stages.standing import standing
from nnbox.stages.workspace import Workspace
from nnbox.version import version_sentence


def write_report(workspace: Workspace, root: Path | None = None) -> Path:
    """Write the report of a run, whatever it got to; return the page.

    Args:
        workspace: the run's folder.
        root: the data set, for pictures; None: where the run says it was.

    Raises:
        RecordError: a record of the run cannot be read.
    """
    run = read_run(workspace)
    page = render(run_report(_facts(run, root), run.task))
    atomic_write_text(workspace.report, page)
    return workspace.report


def _facts(run: RunFiles, root: Path | None) -> RunFacts:
    pictured, why_not = pictured_cases(run, root or run.root)
    found = standing(run)
    return RunFacts(
        state=found.state,
        remark=found.remark,
        made=datetime.now().astimezone(),
        version=version_sentence(),
        dataset=run.dataset,
        fingerprint=run.fingerprint,
        plan=run.plan,
        folds=run.folds,
        crossvalidation=run.crossvalidation,
        selection=run.selection,
        results=run.results,
        progress=run.progress,
        work=work_done(run.workspace),
        digests=result_digests(run.workspace),
        events=run.events,
        pictured=pictured,
        why_no_pictures=why_not,
    )
