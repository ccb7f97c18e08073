"""Label maps that are scored, and result archives that are checked."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from defect_row import CHECK, EVALUATE, Row
from small_set import BAD, TEST, SmallSet, label_values, patch, rewrite, save


def _score(defect: str, ending: str, spoil: Callable[[Path], None], code: int, *words: str) -> Row:
    def make(place: Path) -> None:
        for folder in ("predictions", "references"):
            for name in ("alpha", BAD):
                save(place / folder / f"{name}{ending}", label_values())
        spoil(place / "predictions" / f"{BAD}{ending}")

    layout = f"label maps, {ending}"
    return Row(defect=defect, layout=layout, command=EVALUATE, code=code, words=words, make=make)


def _put(value: float, kind: type):
    def spoil(path: Path) -> None:
        def change(values: np.ndarray) -> np.ndarray:
            values = values.astype(kind)
            values.reshape(-1)[:3] = value
            return values

        rewrite(path, change)

    return spoil


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


EVALUATED: tuple[Row, ...] = (
    _score("truncated prediction", ".nii.gz", _cut, 3, f"case {BAD}", "truncated", "take the case out of both folders"),
    _score("truncated prediction", ".mha", _cut, 3, f"case {BAD}", "take the case out of both folders"),
    _score("missing prediction", ".nii.gz", Path.unlink, 3, f"case {BAD}", "there is no prediction", "--references"),
    _score("prediction links to itself", ".nii.gz", _loop, 3, BAD),
    _score(
        "prediction of another size",
        ".nrrd",
        lambda p: rewrite(p, lambda v: v[1:]),
        3,
        f"case {BAD}",
        "(5, 10, 12)",
        "(6, 10, 12)",
    ),
    _score(
        "prediction moved by 1 mm",
        ".nii.gz",
        lambda p: rewrite(p, origin=(2.0, 2.0, 3.0)),
        0,
        "warning",
        f"case {BAD}",
        "1.25 voxels",
    ),
    _score("prediction moved by 1e-6 mm", ".nii.gz", lambda p: rewrite(p, origin=(1.000001, 2.0, 3.0)), 0, "2 cases"),
    _score("negative labels", ".nii.gz", _put(-1, np.int16), 3, f"case {BAD}", "[-1]", "from 0 up"),
    _score("fractional labels", ".nii.gz", _put(0.5, np.float32), 3, f"case {BAD}", "no whole numbers"),
    _score("NaN labels", ".nii.gz", _put(np.nan, np.float32), 3, f"case {BAD}", "3 voxel(s) are NaN or infinite"),
    _score("a label that no reference has", ".nrrd", _put(70000, np.int32), 0, "warning", "70000", "it is wrong"),
    _score("zero spacing", ".nii", lambda p: patch(p, {80: ("f", (0.0,))}), 3, f"case {BAD}", "(0, 0.9, 2) mm"),
)


def _checked(defect: str, write: Callable[[zipfile.ZipFile, bytes], None], code: int, *words: str) -> Row:
    """Return a row about an archive; ``write`` fills it and is given the bytes of a good prediction."""

    def make(place: Path) -> None:
        SmallSet(place).write()
        save(place / "good.nii.gz", label_values())
        with zipfile.ZipFile(place / "result.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            write(archive, (place / "good.nii.gz").read_bytes())

    return Row(defect=defect, layout="archive, .zip", command=CHECK, code=code, words=words, make=make)


def _no_zip(content: Callable[[bytes], bytes]):
    def make(place: Path) -> None:
        SmallSet(place).write()
        save(place / "good.nii.gz", label_values())
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(_NAME, (place / "good.nii.gz").read_bytes())
        (place / "result.zip").write_bytes(content(packed.getvalue()))

    return make


def _twice(archive: zipfile.ZipFile, good: bytes) -> None:
    import warnings

    archive.writestr(_NAME, good)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(_NAME, good)


def _map(change: Callable[[Path], None]):
    def write(archive: zipfile.ZipFile, good: bytes) -> None:
        path = Path(archive.filename or "").with_name("good.nii.gz")
        change(path)
        archive.write(path, _NAME)

    return write


_NAME = f"Small/{TEST}.nii.gz"
CHECKED: tuple[Row, ...] = (
    Row(
        defect="no zip",
        layout="archive, .zip",
        command=CHECK,
        code=7,
        words=("result.zip", "unreadable zip"),
        make=_no_zip(lambda content: b"no zip"),
    ),
    Row(
        defect="zip cut in half",
        layout="archive, .zip",
        command=CHECK,
        code=7,
        words=("result.zip", "unreadable zip"),
        make=_no_zip(lambda content: content[: len(content) // 2]),
    ),
    _checked("empty zip", lambda archive, good: None, 7, f"case {TEST}", "missing case", "write the archive again"),
    _checked("a case twice", _twice, 7, f"case {TEST}", "duplicate case", "2 times"),
    _checked(
        "a path with ..",
        lambda archive, good: archive.writestr(f"../{TEST}.nii.gz", good),
        7,
        f"case {TEST}",
        "wrong folder",
        "../",
    ),
    _checked(
        "bomb of 300 MB",
        lambda archive, good: archive.writestr(_NAME, bytes(300 << 20)),
        7,
        f"case {TEST}",
        "314,572,800 bytes",
    ),
    _checked("a zip in the zip", lambda archive, good: archive.writestr("Small/all.zip", b"PK\3\4"), 7, "nested zip"),
    _checked(
        "label map moved by 1 mm",
        _map(lambda path: rewrite(path, origin=(2.0, 2.0, 3.0))),
        7,
        f"case {TEST}",
        "origin",
        "2.0",
    ),
    _checked(
        "label map moved by 1e-6 mm",
        _map(lambda path: rewrite(path, origin=(1.000001, 2.0, 3.0))),
        0,
        "every check passed",
    ),
    _checked(
        "float labels",
        _map(lambda path: rewrite(path, lambda values: values.astype(np.float32))),
        7,
        f"case {TEST}",
        "float type",
    ),
    _checked("unknown label", _map(_put(7, np.uint8)), 7, f"case {TEST}", "unknown label", "[7]"),
    _checked("truncated label map", _map(_cut), 7, f"case {TEST}", "truncated or damaged"),
)
