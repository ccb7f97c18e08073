"""What is fuzzed: each target takes any bytes, and may end in an NnboxError only."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from nnbox.errors import NnboxError
from nnbox.layouts.detect import detect, find_tasks
from nnbox.records.codec import dumps, parse_record
from nnbox.records.dataset import Dataset
from nnbox.records.fingerprint import Fingerprint
from nnbox.records.json_text import parse_json
from nnbox.records.plan import Plan
from nnbox.records.results import BundleManifest, CrossValidation, Selection
from nnbox.submission.bundle import open_bundle

_RECORDS = (Plan, Selection, BundleManifest, Dataset, Fingerprint, CrossValidation)
_FILES = ("imagesTr/a_0000.nii.gz", "imagesTr/b.nii.gz", "labelsTr/a.nii.gz", "labelsTr/b.nii.gz", "imagesTs/c.nii.gz")


def codec(data: bytes) -> None:
    """Read the bytes as each kind of record; what is read must be writable, and must read back as the same."""
    for kind in _RECORDS:
        with contextlib.suppress(NnboxError):
            record = parse_record(parse_json(data, "fuzzed", finite=True), kind, where="fuzzed")
            assert parse_record(json.loads(dumps(record)), kind, where="written") == record


def bundle(data: bytes) -> None:
    """Open the bytes as an archive: packed as they are, or, after a first byte of 1, a signed bundle of records."""
    with _folder() as place:
        content = gzip.compress(data[1:], 1) if data[:1] != b"\1" else _signed(data[1:])
        (place / "model.tar.gz").write_bytes(content if data[:1] != b"\2" else data[1:])
        (place / "scratch").mkdir()
        with contextlib.suppress(NnboxError):
            open_bundle(place / "model.tar.gz", place / "scratch")
            return
        assert not list((place / "scratch").iterdir()), "a refused archive was extracted"


def layout(data: bytes) -> None:
    """Detect the layout of a folder whose dataset.json, or inputs.json, holds the bytes."""
    with _folder() as place:
        for name in _FILES:
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).touch()
        (place / ("inputs.json" if data[:1] == b"\1" else "dataset.json")).write_bytes(data[1:])
        if data[:1] == b"\1":
            for name in ("imagesTr", "labelsTr", "imagesTs"):
                shutil.rmtree(place / name)
        with contextlib.suppress(NnboxError):
            for task in find_tasks(place):
                draft = detect(task)
                assert all(problem.sentence().encode() for problem in (*draft.problems, *draft.training_problems))
                assert all(
                    (task / image).resolve().is_relative_to(place.resolve())
                    for case in draft.cases
                    for image in case.images
                )


TARGETS: dict[str, Callable[[bytes], None]] = {"codec": codec, "bundle": bundle, "layout": layout}


def _signed(plan: bytes) -> bytes:
    """Pack the bytes as a plan with a manifest of the right digest, as a maker of bundles can."""
    import io
    import tarfile

    digest = hashlib.sha256(plan).hexdigest()
    files = {"plan.json": digest, "selection.json": hashlib.sha256(_SELECTION).hexdigest()}
    manifest = {"record": "bundle", "version": 1, "task": "T", "recipe": "2019", "versions": {}, "files": files}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        for name, content in (
            ("manifest.json", json.dumps(manifest).encode()),
            ("plan.json", plan),
            ("selection.json", _SELECTION),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


_SELECTION = json.dumps(
    {
        "record": "selection",
        "version": 1,
        "task": "T",
        "candidate": "2d",
        "members": ["2d"],
        "folds": {"2d": [0]},
        "partial": True,
        "mean_dice": None,
        "mean_dice_per_label": [],
        "reason": "",
        "postprocessing": [],
        "trials": [],
    }
).encode()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    memory = Path("/dev/shm")  # a disk would be most of the time
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None, prefix="nnbox-fuzz-") as name:
        yield Path(name)
