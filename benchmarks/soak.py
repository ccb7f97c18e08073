"""`make soak`: what only long or large runs show, through the program as a shell starts it. Not in CI.

* ``scan``: a CT of 512 x 512 x 1700 voxels, 3 classes, predicted within 8 GB.
* ``epochs``: memory and open files stay flat over 200 epochs of training.
* ``cases``: the same over 500 predicted cases.

Each check starts one command, looks at its whole process tree from outside (`course.py`) and writes its figures into
``results/soak``; the table in ``README.md`` is made of them. A check that has not run is "not measured".
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import table
from bundles import write_random_bundle
from course import Course, watch

if TYPE_CHECKING:
    from nnbox.records.plan import Plan

RESULTS = table.RESULTS / "soak" / "latest.json"
BEGIN, END = "<!-- table: begin (make soak) -->", "<!-- table: end (make soak) -->"
_NNBOX = Path(sys.executable).with_name("nnbox")
_SCAN_VOX, _SCAN_LIMIT_GB = (1700, 512, 512), 8
_EPOCHS, _CASES, _IMAGES = 200, 500, 20
_GROWTH_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing to be seen.

    Attributes:
        what: in words.
        limit: in words.
        run: does it in an empty folder; returns the course, figures by name, and whether the limit is kept.
    """

    what: str
    limit: str
    run: Callable[[Path], tuple[Course, dict[str, float], bool]]


def _scan(work: Path) -> tuple[Course, dict[str, float], bool]:
    from nnbox.synthesize.files import write_volume

    plan = _scan_plan()
    write_random_bundle(work, plan, plan.configurations[0])
    (work / "images").mkdir()
    rng = np.random.default_rng(0)
    coarse = rng.integers(-1000, 1500, tuple(-(-size // 8) for size in _SCAN_VOX), dtype=np.int16)
    values = coarse.repeat(8, 0).repeat(8, 1).repeat(8, 2)[tuple(slice(size) for size in _SCAN_VOX)]
    write_volume(work / "images" / "scan_0000.nii.gz", np.ascontiguousarray(values), (1.0, 0.8, 0.8))
    del coarse, values
    words = ["--memory-limit", str(_SCAN_LIMIT_GB), "--no-mirroring"]
    course = _predicted(work, words, every_seconds=0.1)
    peak = course.peak_bytes / 1e9
    return course, {"peak GB": peak}, course.exit_code == 0 and peak <= _SCAN_LIMIT_GB


def _scan_plan() -> Plan:
    """A CT plan at the scan's own spacing: nothing is resampled away, so all arrays are of full size."""
    from nnbox.records.dataset import Channel, Choices, Label
    from nnbox.records.plan import ConfigurationPlan, Normalization, NormalizationScheme, Plan, Resampling, Topology

    ones, twos, threes = (1,) * 3, (2,) * 3, (3,) * 3
    configuration = ConfigurationPlan(
        name="3d_fullres",
        store="3d_fullres",
        previous=None,
        spacing_mm=(1.0, 0.8, 0.8),
        median_shape=_SCAN_VOX,
        patch_size=(64, 128, 128),
        batch_size=2,
        num_pool_per_axis=(3,) * 3,
        dummy_2d_augmentation=False,
        dummy_2d_axis=None,
        batch_dice=False,
        full_resolution=True,
        resampling=Resampling(target_spacing_mm=(1.0, 0.8, 0.8), separate_axis_threshold=3.0, label_order=1),
        topology=Topology(
            dimension=3,
            input_channels=1,
            classes=3,
            features=(4, 8, 16, 32),
            strides=(ones, twos, twos, twos),
            kernels=(threes,) * 4,
        ),
    )
    clipped = Normalization(
        scheme=NormalizationScheme.CT, use_nonzero_mask=False, mean=40.0, sd=60.0, lower=-100.0, upper=240.0
    )
    return Plan(
        task="Task90_Scan",
        recipe="2019",
        trainable=True,
        why_not_trainable=None,
        planning_memory_gb=12.0,
        dimension=3,
        axis_order=(0, 1, 2),
        channels=(Channel(name="CT", is_ct=True),),
        labels=(Label(value=1, name="organ"), Label(value=2, name="tumour")),
        normalizations=(clipped,),
        configurations=(configuration,),
        choices=Choices(),
        decisions=(),
    )


def _epochs(work: Path) -> tuple[Course, dict[str, float], bool]:
    _synthesized(work / "data")
    words = ["train", "--input", work / "data", "--output", work / "out", "--until", "train", "--device", "cpu"]
    words += ["--configurations", "3d_fullres", "--folds", "0", "--planning-memory", "0.003", "--workers", "2"]
    words += ["--epochs", str(_EPOCHS), "--iterations", "10"]
    course = watch([_NNBOX, *words], work / "log.txt", os.environ, every_seconds=0.5)
    return course, *_flat(course)


def _cases(work: Path) -> tuple[Course, dict[str, float], bool]:
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
    course = _predicted(work, ["--no-mirroring"], every_seconds=0.25)
    return course, *_flat(course)


def _synthesized(folder: Path) -> Path:
    from nnbox.synthesize import PRESETS, synthesize

    synthesize(folder, replace(PRESETS["smoke"], training_cases=_IMAGES), 0)
    return folder


def _predicted(work: Path, words: list[str], *, every_seconds: float) -> Course:
    command = [_NNBOX, "predict", "--input", work / "images", "--output", work / "out", "--model", work / "model"]
    return watch([*command, "--device", "cpu", *words], work / "log.txt", os.environ, every_seconds=every_seconds)


def _flat(course: Course) -> tuple[dict[str, float], bool]:
    before, after = course.files
    figures = {
        "usual memory MB": course.median_bytes / 1e6,
        "growth MB": course.growth_bytes / 1e6,
        "open files, first half": before,
        "open files, second half": after,
    }
    is_flat = course.growth_bytes <= _GROWTH_SHARE * course.median_bytes and after <= before
    return figures, course.exit_code == 0 and is_flat


_FLAT = f"memory grows by at most {_GROWTH_SHARE:.0%} from a fifth of the run to its end; no more files open later"
CHECKS = {
    "scan": Check(
        what=f"predict, CT of {'x'.join(map(str, _SCAN_VOX[::-1]))} voxels, 3 classes, no mirroring",
        limit=f"peak of the process tree ≤ {_SCAN_LIMIT_GB} GB (`--memory-limit {_SCAN_LIMIT_GB}`)",
        run=_scan,
    ),
    "epochs": Check(what=f"train, {_EPOCHS} epochs, tiny configuration, 2 loader workers", limit=_FLAT, run=_epochs),
    "cases": Check(what=f"predict, {_CASES} small cases, no mirroring", limit=_FLAT, run=_cases),
}


def markdown(results: dict[str, dict[str, Any]]) -> str:
    """Return the table: every check, with its last result or "not measured"."""
    lines = ["| check | what | limit | seen | kept | minutes | measured |", "|---|---|---|---|---|---|---|"]
    for name, check in CHECKS.items():
        found = results.get(name)
        if found is None:
            seen = ["not measured", "–", "–", "–"]
        else:
            figures = "; ".join(f"{words} {value:g}" for words, value in found["figures"].items())
            kept = "yes" if found["holds"] else "**no**"
            seen = [figures, kept, f"{found['seconds'] / 60:.1f}", found["measured"][:10]]
        lines.append("| " + " | ".join([f"`{name}`", check.what, check.limit, *seen]) + " |")
    return "\n".join(lines)


def stored() -> dict[str, dict[str, Any]]:
    """Return the last result of every check that has run."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def with_table(text: str, rendered: str) -> str:
    """Return a text with the table between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{rendered}\n\n{END}{after}"


def main() -> None:
    """Run the checks, one after the other; exit 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/soak"))
    parser.add_argument("--only", choices=sorted(CHECKS), action="append", help="one check; may be repeated")
    parser.add_argument("--no-write", action="store_true", help="print only")
    arguments = parser.parse_args()
    work, failed = arguments.work.resolve(), []
    for name in arguments.only or CHECKS:
        shutil.rmtree(work / name, ignore_errors=True)
        (work / name).mkdir(parents=True)
        course, figures, holds = CHECKS[name].run(work / name)
        entry = {
            "figures": {words: float(f"{value:.4g}") for words, value in figures.items()},
            "holds": holds,
            "exit_code": course.exit_code,
            "seconds": round(course.seconds, 1),
            "looks": len(course.looks),
            "measured": time.strftime("%Y-%m-%dT%H:%M:%S"),
            "commit": table.commit(),
            "machine": table.machine(),
        }
        print(
            f"{name}: {'kept' if holds else 'NOT KEPT'}; {entry['figures']}; {course.seconds / 60:.1f} min", flush=True
        )
        if course.exit_code:
            log = (work / name / "log.txt").read_text().splitlines()[-15:]
            print(f"  it ended with exit code {course.exit_code}:", *log, sep="\n  ", flush=True)
        elif not arguments.no_write:
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            RESULTS.write_text(json.dumps({**stored(), name: entry}, indent=1, ensure_ascii=False) + "\n")
            table.README.write_text(with_table(table.README.read_text(), markdown(stored())))
        failed += [] if holds else [name]
    if failed:
        sys.exit(f"soak: {', '.join(failed)} not kept")


if __name__ == "__main__":
    main()
