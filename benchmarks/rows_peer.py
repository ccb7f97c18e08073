"""Rows against nnU-Net v2: whole commands, and the store that training reads from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from commands import nnbox, peer
from row import Agreement, Pair, Places, Row, Timed
from subset import make_subset

_HERE = Path(__file__).resolve().parent
_STORE_REMARK = (
    "The wanted disk, at most 2 times theirs, is not met: the image is plain float32 in a mapped file, and half of "
    "these CT voxels are clipped to one value, which costs theirs next to nothing. Tried: blocks of zeros as holes in "
    "the file (done: most of a label map goes); keeping of each brick of 32 voxels a side only what is not constant, "
    "1.6 to 2.0 times theirs on the resampled images at 1.6 to 1.8 ms a patch (plain: 1.1 ms), below the wanted speed"
)
_TASK, _CASES = "Task04_Hippocampus", 240


_PREPROCESS_REMARK = (
    "Three runs within two hours, on a machine that others share, gave 4.6, 4.9 and 5.0x (theirs 31.2 to 38.5 s, ours "
    "6.8 to 7.7 s; before workers computed with one thread each and what draws the report was imported beside them: "
    "3.4 to 4.3x): of 7 s the start takes 1, reading and checking the images 1.3, preparing 3, of which waiting for "
    "the disk is 0.7, and the report at the end 1. Tried: files put on disk by several threads, or begun to be written "
    "early (no gain)"
)


def rows(places: Places) -> list[Row]:
    return [
        Row(
            name="command/preprocess",
            job=f"train --until preprocess, {_CASES} Hippocampus cases, 2d and 3d_fullres, whole command",
            reference="nnUNetv2_plan_and_preprocess, 2 processes",
            target=5,
            prepare=lambda: _preprocess(places),
            repetitions=3,
            threads=None,
            needs_peer=True,
            remark=_PREPROCESS_REMARK,
        ),
        Row(
            name="command/help",
            job="nnbox --help",
            reference="nnUNetv2_predict --help",
            target=8,
            prepare=lambda: _help(places),
            repetitions=5,
            threads=None,
            needs_peer=True,
        ),
        *(
            Row(
                name=f"store/patch-{kind}",
                job=f"random 128x128x128 patch with labels from the prepared store, CT {words}",
                reference="nnU-Net v2's blosc2 store, as it writes and opens it",
                target=3,
                prepare=lambda kind=kind: _patches(places, isotropic=kind == "resampled"),
                repetitions=3,
                threads=None,
                warm_up=False,
                needs_peer=True,
                remark=_STORE_REMARK,
            )
            for kind, words in (("resampled", "resampled to isotropic voxels"), ("own", "at its own spacing"))
        ),
    ]


def _preprocess(places: Places) -> Pair:
    work = places.work / "preprocess"
    shutil.rmtree(work, ignore_errors=True)
    root, out, theirs = work / _TASK, work / "out", work / "peer"
    source = places.data / _TASK
    cases = sorted(path.name.removesuffix(".nii.gz") for path in (source / "imagesTr").glob("hippo*.nii.gz"))[:_CASES]
    make_subset(source, root, cases, [])
    _link_as_raw(root, theirs / "raw" / "Dataset004_Hippocampus")

    def clean() -> None:
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(theirs / "preprocessed", ignore_errors=True)
        os.sync()

    def reference() -> Path:
        configurations = ("-c", "2d", "3d_fullres", "-npfp", "2", "-np", "2", "2")
        peer(places, theirs, "nnUNetv2_plan_and_preprocess", "-d", "4", *configurations)
        return theirs / "preprocessed" / "Dataset004_Hippocampus"

    shapes: list[Sequence[int]] = []

    def keep(folder: Path) -> Path:
        shapes[:] = sorted(json.loads((folder / "dataset_fingerprint.json").read_text())["shapes_after_crop"])
        return folder

    def ours() -> Path:
        options = ("--until", "preprocess", "--configurations", "2d", "3d_fullres", "--device", "cpu")
        nnbox(places, "train", "--input", root, "--output", out, *options)
        return out

    return Pair(
        reference=lambda: keep(reference()),
        ours=ours,
        agree=lambda _, out: _same_preparation(places, shapes, out),
        before=clean,
        figures=lambda: {"MB on disk": _megabytes(out / "prepared")},
    )


def _link_as_raw(root: Path, target: Path) -> None:
    """The same images in the layout that the other tool reads."""
    description = json.loads((root / "dataset.json").read_text())
    for entry in description["training"]:
        name = Path(entry["image"]).name.removesuffix(".nii.gz")
        for file, link in (("image", f"imagesTr/{name}_0000.nii.gz"), ("label", f"labelsTr/{name}.nii.gz")):
            (target / link).parent.mkdir(parents=True, exist_ok=True)
            (target / link).symlink_to((root / entry[file]).resolve())
    labels = {"background": 0, **{name: int(value) for value, name in description["labels"].items() if int(value)}}
    count = len(description["training"])
    document = {"channel_names": {"0": "MRI"}, "labels": labels, "numTraining": count, "file_ending": ".nii.gz"}
    (target / "dataset.json").write_text(json.dumps(document))


def _same_preparation(places: Places, shapes: list[Sequence[int]], out: Path) -> Agreement:
    """Compare shapes after cropping with the other tool's, and patches with the published plan of all 260 cases."""
    found = sorted(case["shape_vox"] for case in json.loads((out / "fingerprint.json").read_text())["cases"])
    planned = json.loads((out / "plan.json").read_text())["configurations"]
    published = json.loads((places.data.parent / "reference" / "plans_2019.json").read_text())[_TASK]
    wanted = {name: published[name]["patch_size"] for name in ("2d", "3d_fullres")}
    patches = {item["name"]: item["patch_size"] for item in planned} == wanted
    prepared = all(len(list((out / "prepared" / name).glob("*.json"))) == _CASES for name in wanted)
    holds = found == shapes and patches and prepared
    return Agreement(
        "all shapes after cropping equal, patches as in the published plan" if holds else "different", holds=holds
    )


def _megabytes(folder: Path) -> float:
    """Space taken, a file with two names counted once."""
    sizes = {path.stat().st_ino: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    return sum(sizes.values()) / 1e6


def _help(places: Places) -> Pair:
    return Pair(
        reference=lambda: peer(places, places.work, "nnUNetv2_predict", "--help"),
        ours=lambda: nnbox(places, "--help"),
    )


def _patches(places: Places, *, isotropic: bool) -> Pair:
    """Prepare the three largest CT images, and let a script in the other environment time both stores in turn."""
    work = places.work / f"patches-{'resampled' if isotropic else 'own'}"
    shutil.rmtree(work, ignore_errors=True)
    _write_store(places.data / "Task11_SarcomaCT", work / "ours", isotropic=isotropic)
    assert places.peer is not None
    command = [places.peer / "python", _HERE / "peer_patches.py", work / "ours", work / "peer"]
    environment = {**places.environment, "PYTHONPATH": str(_HERE.parent), "OMP_NUM_THREADS": "1"}
    latest: dict[str, float] = {}

    def reference() -> Timed:
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        latest.update(json.loads(done.stdout.splitlines()[-1]))
        return Timed(latest["theirs_seconds"])

    return Pair(
        reference=reference,
        ours=lambda: Timed(latest["ours_seconds"]),
        agree=lambda *_: Agreement(
            "lossless; every patch equal" if latest["equal"] else "different", holds=bool(latest["equal"])
        ),
        figures=lambda: {
            "disk, theirs = 1": latest["ours_bytes"] / latest["theirs_bytes"],
            "bytes a voxel": latest["ours_bytes"] / latest["voxels"],
        },
    )


def _write_store(source: Path, folder: Path, *, isotropic: bool) -> None:
    from dataclasses import replace

    from nnbox.imaging.io import read_image, read_labels
    from nnbox.imaging.prepare import prepare
    from nnbox.intake.options import IntakeOptions
    from nnbox.stages.planning import plan_from_data
    from nnbox.training.store import write_prepared

    _, plan = plan_from_data(source, IntakeOptions(), "2019", None, 2, lambda severity, sentence: None)
    configuration = plan.configuration("3d_fullres")
    if isotropic:
        fine = min(value for value in configuration.resampling.target_spacing_mm if value is not None)
        resampling = replace(
            configuration.resampling, target_spacing_mm=(fine, fine, fine), separate_axis_threshold=None
        )
        configuration = replace(configuration, resampling=resampling)
    images = sorted((source / "imagesTr").glob("*.nii.gz"), key=lambda path: -path.stat().st_size)[:3]
    for path in images:
        image, grid = read_image([path])
        labels, _ = read_labels(source / "labelsTr" / path.name)
        arrays = prepare(image, labels, grid, plan, configuration)
        write_prepared(folder, path.name.removesuffix(".nii.gz"), arrays, grid)
        assert np.isfinite(arrays.image).all()
