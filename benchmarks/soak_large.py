"""Checks of `soak.py`: large scans and many classes keep within the memory that was allowed and announced."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from course import Course
from random_model import ModelSize, write_images, write_model
from soak_check import Check, Seen, predicted

from nnbox.geometry import Shape3

_SCAN = ModelSize(labels=2, patch=(64, 128, 128), features=(4, 8, 16, 32), is_ct=True)
_SCAN_VOX, _SCAN_LIMIT_GB = (1700, 512, 512), 8
_MANY = ModelSize(labels=104, patch=(64, 128, 128), features=(4, 8, 16), is_ct=True)
_MANY_VOX, _MANY_LIMIT_GB = (384, 384, 384), 4
_SMALLER_VOX, _FEW_VOX = (128, 192, 256), (256, 320, 320)
_AIR_SLICES = 64
_OFF_BY, _MAY_DIFFER = 0.25, 1e-6
_GB = 10**9
_EVERY_SECONDS = 1  # a look at gigabytes holds the process up; what lies between two of them the kernel remembers


def _scan(work: Path) -> Seen:
    _put(work, _SCAN, _SCAN_VOX, air_slices=200)
    course = predicted(work, "out", "--memory-limit", str(_SCAN_LIMIT_GB), every_seconds=_EVERY_SECONDS)
    figures = _figures("", work, "out", course)
    holds = course.exit_code == 0 and course.peak_bytes <= _SCAN_LIMIT_GB * _GB
    return Seen(courses=(course,), figures=figures, holds=holds)


def _classes(work: Path) -> Seen:
    """Float32 sums in as much memory as they like, then the same image within the limit: sums in 16 bits."""
    _put(work, _MANY, _MANY_VOX, air_slices=_AIR_SLICES)
    free = predicted(work, "free", every_seconds=_EVERY_SECONDS)
    tight = predicted(work, "tight", "--memory-limit", str(_MANY_LIMIT_GB), every_seconds=_EVERY_SECONDS)
    figures = _figures("free ", work, "free", free) | _figures("limited ", work, "tight", tight)
    if free.exit_code or tight.exit_code:
        return Seen(courses=(free, tight), figures=figures, holds=False)
    figures["share of voxels that differ"] = _share_that_differs(work / "free", work / "tight")
    figures["held back with a limit"] = len(_announced(work / "tight")["held_back"])
    holds = tight.peak_bytes <= _MANY_LIMIT_GB * _GB and figures["share of voxels that differ"] <= _MAY_DIFFER
    return Seen(courses=(free, tight), figures=figures, holds=holds and _is_close(figures))


def _announcement(work: Path) -> Seen:
    courses, figures = [], {}
    for name, size, shape_vox in (("105 classes", _MANY, _SMALLER_VOX), ("3 classes", _SCAN, _FEW_VOX)):
        folder = work / name.replace(" ", "-")
        folder.mkdir()
        _put(folder, size, shape_vox, air_slices=_AIR_SLICES)
        courses.append(predicted(folder, "out", every_seconds=_EVERY_SECONDS))
        figures |= _figures(f"{name} ", folder, "out", courses[-1])
    holds = all(course.exit_code == 0 for course in courses) and _is_close(figures)
    return Seen(courses=tuple(courses), figures=figures, holds=holds)


def _put(work: Path, size: ModelSize, shape_vox: Shape3, *, air_slices: int) -> None:
    write_model(work / "written", size).rename(work / "model")
    write_images(work / "images", shape_vox, air_slices=air_slices)


def _figures(which: str, work: Path, output: str, course: Course) -> dict[str, float]:
    announced = _announced(work / output).get("peak_bytes", float("nan"))
    return {f"{which}peak GB": course.peak_bytes / 1e9, f"{which}announced GB": announced / 1e9}


def _announced(output: Path) -> dict:
    log = output / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return next((line["facts"] for line in lines if line["event"] == "memory"), {})


def _is_close(figures: dict[str, float]) -> bool:
    pairs = [
        (value, figures[name.replace("announced", "peak")]) for name, value in figures.items() if "announced" in name
    ]
    return all(abs(announced / seen - 1) <= _OFF_BY for announced, seen in pairs)


def _share_that_differs(one: Path, other: Path) -> float:
    from nnbox.imaging.io import read_labels

    maps = [read_labels(folder / "predictions" / "case_0.nii.gz")[0] for folder in (one, other)]
    return float(np.mean(maps[0] != maps[1]))


def _times(shape_vox: Shape3) -> str:
    return "x".join(map(str, shape_vox[::-1]))


_CLOSE = f"announced peak within {_OFF_BY:.0%} of the measured one"
CHECKS = {
    "scan": Check(
        what=f"predict, CT of {_times(_SCAN_VOX)} voxels, 3 classes, no mirroring",
        limit=f"peak of the process tree ≤ {_SCAN_LIMIT_GB} GB (`--memory-limit {_SCAN_LIMIT_GB}`)",
        run=_scan,
    ),
    "classes": Check(
        what=f"predict, CT of {_times(_MANY_VOX)} voxels, 105 classes, features 4, 8, 16, tiles of 64x128x128, no "
        "mirroring; without a limit, then with one",
        limit=f"peak ≤ {_MANY_LIMIT_GB} GB (`--memory-limit {_MANY_LIMIT_GB}`); labels of at most {_MAY_DIFFER:g} of "
        f"the voxels differ; {_CLOSE}",
        run=_classes,
    ),
    "announcement": Check(
        what=f"predict without a limit, CT of {_times(_SMALLER_VOX)} voxels, 105 classes, and of {_times(_FEW_VOX)} "
        "voxels, 3 classes",
        limit=_CLOSE,
        run=_announcement,
    ),
}
