"""Checks of `soak.py`: memory and open files stay flat, however long a run is."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from bundles import write_random_bundle
from course import Course, watch
from soak_check import NNBOX, Check, Seen, predicted

_EPOCHS, _CASES, _IMAGES = 200, 500, 20
_GROWTH_SHARE, _MORE_FILES = 0.05, 1


def _epochs(work: Path) -> Seen:
    _synthesized(work / "data")
    words = ["train", "--input", work / "data", "--output", work / "out", "--until", "train", "--device", "cpu"]
    words += ["--configurations", "3d_fullres", "--folds", "0", "--planning-memory", "0.003", "--workers", "2"]
    words += ["--epochs", str(_EPOCHS), "--iterations", "10"]
    return _flat(watch([NNBOX, *words], work / "log.txt", os.environ, every_seconds=0.5))


def _cases(work: Path) -> Seen:
    from nnbox.intake.options import IntakeOptions
    from nnbox.stages.planning import plan_from_data

    data = _synthesized(work / "data")
    _, plan = plan_from_data(data, IntakeOptions(), "2019", 0.04, 1, lambda severity, sentence: None)
    configuration = plan.configuration("3d_fullres")
    few = tuple(4 * 2**level for level, _ in enumerate(configuration.topology.features))
    configuration = replace(configuration, topology=replace(configuration.topology, features=few))
    write_random_bundle(work, replace(plan, configurations=(configuration,)), configuration)
    (work / "images").mkdir()
    images = sorted((data / "imagesTr").glob("*.nii.gz"))[:_IMAGES]
    for number in range(_CASES):
        (work / "images" / f"case_{number:03}_0000.nii.gz").hardlink_to(images[number % len(images)])
    return _flat(predicted(work, "out", every_seconds=0.25))


def _synthesized(folder: Path) -> Path:
    from nnbox.synthesize import PRESETS, synthesize

    synthesize(folder, replace(PRESETS["smoke"], training_cases=_IMAGES), 0)
    return folder


def _flat(course: Course) -> Seen:
    if course.exit_code or len(course.judged) < 2:
        return Seen(courses=(course,), figures={}, holds=False)
    figures = {
        "usual memory MB": course.median_bytes / 1e6,
        "growth MB": course.growth_bytes / 1e6,
        "usual number of open files": course.median_files,
        "growth": course.growth_files,
    }
    is_flat = course.growth_bytes <= _GROWTH_SHARE * course.median_bytes and course.growth_files < _MORE_FILES
    return Seen(courses=(course,), figures=figures, holds=is_flat)


_FLAT = (
    f"between the medians of the first and the last third (start and end of the run left out), memory grows by "
    f"at most {_GROWTH_SHARE:.0%} and the number of open files by less than {_MORE_FILES}"
)
CHECKS = {
    "epochs": Check(what=f"train, {_EPOCHS} epochs, tiny configuration, 2 loader workers", limit=_FLAT, run=_epochs),
    "cases": Check(what=f"predict, {_CASES} small cases, no mirroring", limit=_FLAT, run=_cases),
}
