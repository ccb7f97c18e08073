"""A rehearsal in words, for the terminal."""

from __future__ import annotations

from nnbox.errors import Problem, Severity
from nnbox.records.handover import Rehearsal, RehearsalRun

_FORMS = {"inputs.json": "inputs.json (now)", "images": "images/<slug>/ (older)"}


def limit_rows(rehearsal: Rehearsal) -> list[tuple[str, str]]:
    """Return each limit and how it was imposed."""
    return list(rehearsal.limits.items())


def rehearsal_columns(rehearsal: Rehearsal) -> tuple[str, ...]:
    """Return the columns: one per run."""
    return ("", *(_FORMS.get(run.form, run.form) for run in rehearsal.runs))


def rehearsal_rows(rehearsal: Rehearsal) -> list[tuple[str, ...]]:
    """Return what was seen in each run."""
    runs = rehearsal.runs
    return [
        ("image (z, y, x) in voxels", *(_size(run, rehearsal) for run in runs)),
        ("spacing (z, y, x) in mm", *(" x ".join(f"{value:g}" for value in run.spacing_mm) for run in runs)),
        ("exit code", *(str(run.exit_code) for run in runs)),
        ("start to end", *(f"{run.seconds:.1f} s" for run in runs)),
        ("largest memory", *(f"{run.peak_memory_mb:.0f} MB" for run in runs)),
        ("output", *(", ".join(run.outputs) or "-" for run in runs)),
        ("label values", *(", ".join(map(str, run.label_values)) or "-" for run in runs)),
        ("the platform", *("takes it" if not run.defects else "REFUSES it" for run in runs)),
    ]


def failures(rehearsal: Rehearsal) -> tuple[Problem, ...]:
    """Return what the platform would not take, each with the last that the program said."""
    return tuple(_problem(run, defect) for run in rehearsal.runs for defect in run.defects)


def _problem(run: RehearsalRun, defect: str) -> Problem:
    said = next((line for line in reversed(run.last_lines) if line.strip()), "")
    remedy = f"see what it said last ({said[:300]})" if run.exit_code and said else "report it: this is a bug in nnbox"
    return Problem(
        severity=Severity.ERROR,
        what=defect,
        expected="exit code 0 and one 8-bit label map on the image's grid",
        remedy=remedy,
        file=run.form,
    )


def _size(run: RehearsalRun, rehearsal: Rehearsal) -> str:
    found = " x ".join(map(str, run.shape_vox))
    whole = run.shape_vox == rehearsal.median_shape_vox
    median = " x ".join(map(str, rehearsal.median_shape_vox))
    return f"{found}, the plan's median" if whole else f"{found}, cut from the plan's median {median}"
