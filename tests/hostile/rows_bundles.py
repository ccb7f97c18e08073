"""Model bundles that somebody made to do harm, given to ``predict``."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import pickle
import shutil
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from defect_row import PREDICT, Row
from safetensors.numpy import save
from small_set import SmallSet

_ARCHIVE = PREDICT.replace("--model model", "--model evil.tar.gz")
_FOLDER = PREDICT.replace("--model model", "--model evil")
_WEIGHTS = "weights/3d_fullres/fold_0.safetensors"
_ANEW = "get the model anew"


def _members(place: Path) -> dict[str, bytes]:
    folder = place / "model"
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _signed(files: dict[str, bytes]) -> dict[str, bytes]:
    """Give the manifest the digests of the files: a maker of bundles can do that."""
    manifest = json.loads(files["manifest.json"])
    manifest["files"] = {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items() if name != "manifest.json"
    }
    return {**files, "manifest.json": json.dumps(manifest).encode()}


def _pack(target: Path, files: dict[str, bytes], extra: tuple[tarfile.TarInfo, ...] = ()) -> None:
    with tarfile.open(target, "w:gz", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for entry in extra:
            tar.addfile(entry, io.BytesIO(bytes(entry.size)))


def _with_entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0):
    def make(place: Path) -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.size = kind, link, size
        _pack(place / "evil.tar.gz", _members(place), (entry,))

    return make


def _header(name: bytes, size_field: bytes) -> bytes:
    block = bytearray(512)
    block[: len(name)] = name
    block[124 : 124 + len(size_field)] = size_field
    block[156:157] = b"0"
    block[148:156] = b" " * 8
    block[148:155] = b"%06o\0" % sum(block)
    return bytes(block)


def _absurd_size(place: Path) -> None:
    (place / "evil.tar.gz").write_bytes(gzip.compress(_header(b"plan.json", b"77777777777\0") + bytes(512)))


def _bomb(place: Path) -> None:
    """Weights of 8 GB of zeros in 8 MB: a megabyte deflated once, and repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    size = 8191 << 20
    head = packer.compress(_header(_WEIGHTS.encode(), b"%011o\0" % size)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    (place / "evil.tar.gz").write_bytes(head + block * 8191)


def _many(place: Path) -> None:
    entry = _header(b"plan.json", b"00000000000\0").replace(b"0\0\0\0\0\0\0\0\0ustar", b"5")
    folder = bytearray(entry)
    folder[156:157] = b"5"
    folder[148:156] = b" " * 8
    folder[148:155] = b"%06o\0" % sum(folder)
    (place / "evil.tar.gz").write_bytes(gzip.compress(bytes(folder) * 5000))


def _edited(name: str, change: Callable[[dict[str, Any]], Any]):
    """Change a record, and sign the bundle anew."""

    def make(place: Path) -> None:
        files = _members(place)
        document = json.loads(files[name])
        changed = change(document)
        files[name] = json.dumps(document if changed is None else changed).encode()
        _pack(place / "evil.tar.gz", files if name == "manifest.json" else _signed(files))

    return make


def _configuration(**changes: Any):
    def change(plan: dict[str, Any]) -> None:
        plan["configurations"][0].update(changes)

    return _edited("plan.json", change)


def _topology(**changes: Any):
    def change(plan: dict[str, Any]) -> None:
        plan["configurations"][0]["topology"].update(changes)

    return _edited("plan.json", change)


def _replaced(name: str, content: bytes):
    def make(place: Path) -> None:
        _pack(place / "evil.tar.gz", _signed({**_members(place), name: content}))

    return make


def _changed_weights(place: Path) -> None:
    files = _members(place)
    files[_WEIGHTS] = files[_WEIGHTS][:-1] + b"\x7f"
    _pack(place / "evil.tar.gz", files)


def _nan_weights(place: Path) -> None:
    from safetensors.numpy import load

    tensors = load(_members(place)[_WEIGHTS])
    next(iter(tensors.values())).reshape(-1)[0] = np.nan
    _replaced(_WEIGHTS, save(tensors))(place)


def _all_tasks(place: Path) -> None:
    """A task name that would put the archive elsewhere, in every record."""
    files = _members(place)
    for name in ("manifest.json", "plan.json", "selection.json"):
        files[name] = files[name].replace(b'"task": "Small"', b'"task": "../../evil"')
    _pack(place / "evil.tar.gz", _signed(files))


def _truncated(place: Path) -> None:
    _pack(place / "evil.tar.gz", _members(place))
    content = (place / "evil.tar.gz").read_bytes()
    (place / "evil.tar.gz").write_bytes(content[: len(content) // 2])


def _not_a_bundle(place: Path) -> None:
    (place / "evil.tar.gz").write_bytes(b"PK\3\4" + bytes(999))


def _linked_folder(place: Path) -> None:
    shutil.copytree(place / "model", place / "evil")
    (place / "evil" / _WEIGHTS).unlink()
    (place / "evil" / _WEIGHTS).symlink_to("/etc/passwd")


def _script_in_folder(place: Path) -> None:
    shutil.copytree(place / "model", place / "evil")
    (place / "evil" / "setup.py").write_text("import os\n")


def _many_classes(plan: dict[str, Any]) -> None:
    plan["labels"] = [{"value": value, "name": "x"} for value in range(1, 100_001)]
    plan["configurations"][0]["topology"]["classes"] = 100_001


def _row(defect: str, make: Callable[[Path], None], code: int, *words: str, command: str = _ARCHIVE) -> Row:
    def write(place: Path) -> None:
        SmallSet(place, layout="flat").write()
        make(place)

    layout = "bundle, folder" if command == _FOLDER else "bundle, .tar.gz"
    return Row(defect=defect, layout=layout, command=command, code=code, words=words, make=write, model=True)


_OUTSIDE = "leaves the archive"
ROWS: tuple[Row, ...] = (
    _row("path with ..", _with_entry("../evil.json"), 3, "evil.tar.gz", "'../evil.json'", _OUTSIDE, _ANEW),
    _row("absolute path", _with_entry("/etc/evil.json"), 3, "evil.tar.gz", "'/etc/evil.json'", _OUTSIDE, _ANEW),
    _row("symbolic link", _with_entry("plan.json", tarfile.SYMTYPE, "/etc/passwd"), 3, "a symbolic link", _ANEW),
    _row("hard link", _with_entry("plan.json", tarfile.LNKTYPE, "/etc/passwd"), 3, "a hard link", _ANEW),
    _row("device", _with_entry("plan.json", tarfile.CHRTYPE), 3, "a device", _ANEW),
    _row("named pipe", _with_entry("plan.json", tarfile.FIFOTYPE), 3, "a named pipe", _ANEW),
    _row("sparse file", _with_entry("plan.json", b"S"), 3, "a sparse file", _ANEW),
    _row("a member of 8 GB that is not there", _absurd_size, 3, "claims 8,589,934,591 bytes", _ANEW),
    _row("bomb: 8 GB of zeros in 8 MB", _bomb, 3, "claims 8,588,886,016 bytes", _ANEW),
    _row("5000 members", _many, 3, "more than 4096 members", _ANEW),
    _row("a file twice", _with_entry("plan.json"), 3, "'plan.json' twice", "nothing was extracted", _ANEW),
    _row("a pickle in it", _with_entry("weights/3d_fullres/fold_0.pt"), 3, "fold_0.pt", "which no bundle holds", _ANEW),
    _row(
        "weights that are a pickle",
        _replaced(_WEIGHTS, pickle.dumps(print)),
        3,
        "fold_0.safetensors",
        "expected a safetensors file",
    ),
    _row(
        "weights changed after the manifest",
        _changed_weights,
        3,
        "fold_0.safetensors",
        "does not have its manifest's digest",
        "nothing was extracted",
        _ANEW,
    ),
    _row(
        "weights of another network",
        _replaced(_WEIGHTS, save({"x": np.zeros(3, np.float32)})),
        3,
        "fold_0.safetensors",
        "tensor",
        "the plan expects",
    ),
    _row("weights that are not finite", _nan_weights, 3, "fold_0.safetensors", "not finite"),
    _row("cut in half", _truncated, 3, "evil.tar.gz", _ANEW),
    _row("no archive at all", _not_a_bundle, 3, "evil.tar.gz", "cannot be unpacked", _ANEW),
    _row(
        "manifest of a later version",
        _edited("manifest.json", lambda m: m.update(version=2)),
        3,
        "version 1",
        "version 2",
        "the nnbox version that wrote it",
    ),
    _row(
        "unknown field",
        _edited("plan.json", lambda plan: plan.update(surprise=1)),
        3,
        "plan.json",
        "'surprise'",
        "a newer nnbox may have written it",
    ),
    _row(
        "field of the wrong type",
        _edited("plan.json", lambda plan: plan.update(dimension="three")),
        3,
        "plan.json.dimension",
        "'three'",
        _ANEW,
    ),
    _row("plan that is a list", _edited("plan.json", lambda plan: [plan]), 3, "plan.json", "a JSON object", _ANEW),
    _row("a million features", _topology(features=[4, 1_000_000]), 3, "1000000", "impossible", _ANEW),
    _row(
        "a network of 10^12 parameters",
        _topology(features=[4096] * 12, strides=[[1] * 3] * 12, kernels=[[7] * 3] * 12),
        3,
        "parameters",
        "2,147,483,648",
        _ANEW,
    ),
    _row("a patch of 10^9 voxels", _configuration(patch_size=[1000, 1000, 1000]), 3, "(1000, 1000, 1000)", _ANEW),
    _row("100,000 labels", _edited("plan.json", _many_classes), 3, "100,000 labels", "65,535", _ANEW),
    _row("negative strides", _topology(strides=[[1, 1, 1], [-2, 2, 2]]), 3, "-2", "stride", _ANEW),
    _row("NaN spacing", _configuration(spacing_mm=[float("nan"), 1.0, 1.0]), 3, "plan.json", "NaN", _ANEW),
    _row(
        "spacing of a millionth of a mm",
        _configuration(
            resampling={"target_spacing_mm": [1e-6, 1e-6, 1e-6], "separate_axis_threshold": 3.0, "label_order": 1}
        ),
        5,
        "GiB",
        "1e-06",
        "What to do",
    ),
    _row("unknown recipe", _edited("plan.json", lambda plan: plan.update(recipe="2030")), 3, "'2030'", "2019", _ANEW),
    _row("task name that is a path", _all_tasks, 3, "'../../evil'", "cannot name a file", _ANEW),
    _row(
        "a fold 10,000 times",
        _edited("selection.json", lambda s: s.update(folds={"3d_fullres": [0] * 10_000})),
        3,
        "3d_fullres",
        "twice",
        _ANEW,
    ),
    _row(
        "record nested 1000 deep",
        _replaced("plan.json", b'{"a":' * 1000 + b"1" + b"}" * 1000),
        3,
        "plan.json",
        "nested 1000 levels",
        _ANEW,
    ),
    _row("a link in the folder", _linked_folder, 3, "fold_0.safetensors", "a link or device", _ANEW, command=_FOLDER),
    _row("a script in the folder", _script_in_folder, 3, "'setup.py'", "does not list", _ANEW, command=_FOLDER),
    _row("no model there", lambda place: None, 3, "evil", "no such model", _ANEW, command=_FOLDER),
)
