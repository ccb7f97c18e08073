"""The prepared store: arrays of every training case on disk, read in patches without loading whole volumes.

Beside ``<case>.json`` (`PreparedCase`) lie ``<case>.image.npy`` (float32 channel, z, y, x), ``<case>.labels.npy``
(int16 z, y, x; -1 outside) and ``<case>.voxels.npy`` (int32 rows: label, z, y, x): a draw of each label's voxels, so
that a patch with a given class is found at once. A previous stage's label maps lie in a store of their own.

Blocks of zeros (most of a label map, the outside of a masked image) are holes in a file: they take no space on disk,
and are read as what they are.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from nnbox.errors import DataError, Problem, Severity
from nnbox.files import atomic_path, atomic_paths, digest_file, link_or_copy
from nnbox.geometry import Grid
from nnbox.randomness import generator
from nnbox.records.codec import dumps, read_record, write_record
from nnbox.records.dataset import FileState, state_of
from nnbox.records.prepared import PreparedCase, PreviousPrediction

if TYPE_CHECKING:
    from nnbox.imaging.prepare import PreparedArrays

MOST_VOXELS_PER_LABEL = 10_000
_BLOCK_BYTES = 4096


def store_paths(folder: Path, case: str) -> tuple[Path, ...]:
    """Return the files of one labelled case, the side record last (it is written last)."""
    return tuple(folder / f"{case}{ending}" for ending in (".image.npy", ".labels.npy", ".voxels.npy", ".json"))


def case_record(folder: Path, case: str) -> Path:
    """Return the side record's file of one case."""
    return folder / f"{case}.json"


def write_prepared(folder: Path, case: str, arrays: PreparedArrays, grid: Grid) -> PreparedCase:
    """Write one labelled case to one store; see `write_to_stores`."""
    write_to_stores((folder,), case, arrays, grid)
    return load_prepared(folder, case)


def write_to_stores(folders: Sequence[Path], case: str, arrays: PreparedArrays, grid: Grid) -> dict[Path, FileState]:
    """Write one labelled case to every store that prepares it in the same way: once, with a name in each.

    Each file is written atomically, a store's side record last. The caller flushes the folders; see `atomic_paths`.

    Returns:
        The state of each file.

    Raises:
        ValueError: the case has no labels.
    """
    if arrays.labels is None:
        raise ValueError(f"case {case} has no labels; a prepared store holds training cases")
    counts = np.bincount(arrays.labels[arrays.labels > 0].ravel(), minlength=1)[1:]
    record = PreparedCase(
        name=case, grid=grid, placement=arrays.placement, class_voxels=tuple(int(count) for count in counts)
    )
    first = store_paths(folders[0], case)
    with atomic_paths(first) as temporaries:
        digests = (
            _write_array(temporaries[0], np.ascontiguousarray(arrays.image, dtype=np.float32)),
            _write_array(temporaries[1], np.ascontiguousarray(arrays.labels, dtype=np.int16)),
            _write_array(temporaries[2], draw_voxels(case, arrays.labels)),
            _write_text(temporaries[3], dumps(record)),
        )
    for folder in folders[1:]:
        folder.mkdir(parents=True, exist_ok=True)
        for source, target in zip(first, store_paths(folder, case), strict=True):
            link_or_copy(source, target)
    return {
        path: state_of(path, digest)
        for folder in folders
        for path, digest in zip(store_paths(folder, case), digests, strict=True)
    }


def draw_voxels(case: str, labels: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
    """Draw up to 10,000 voxels of each foreground label, without replacement; the same for the same case. Source: own.

    Args:
        case: its name, which the draw depends on.
        labels: (z, y, x).

    Returns:
        (n, 4) rows of label, z, y, x, sorted.
    """
    rng = generator(0, f"voxels/{case}")
    flat = np.flatnonzero(labels > 0)
    values = labels.ravel()[flat]
    rows = [np.empty((0, 4), dtype=np.int32)]
    for label in np.unique(values):
        found = flat[values == label]
        if found.size > MOST_VOXELS_PER_LABEL:
            found = np.sort(rng.choice(found, MOST_VOXELS_PER_LABEL, replace=False))
        places = np.stack(np.unravel_index(found, labels.shape), axis=1)
        rows.append(np.concatenate((np.full((found.size, 1), label), places), axis=1).astype(np.int32))
    return np.concatenate(rows)


def load_prepared(folder: Path, case: str) -> PreparedCase:
    """Read the side record of a case; see `read_record` for errors."""
    return read_record(case_record(folder, case), PreparedCase)


def load_image(folder: Path, case: str) -> NDArray[np.float32]:
    """Map the image of a case, float32 (channel, z, y, x), read-only: only what is touched is read.

    Raises:
        DataError: the file is missing or damaged.
    """
    return _map(folder / f"{case}.image.npy", case)


def load_labels(folder: Path, case: str) -> NDArray[np.int16]:
    """Map the labels of a case, int16 (z, y, x), -1 outside the mask. See `load_image` for errors."""
    return _map(folder / f"{case}.labels.npy", case)


def load_voxels(folder: Path, case: str) -> NDArray[np.int32]:
    """Read the drawn voxels of a case, rows of label, z, y, x. See `load_image` for errors."""
    return _load(folder / f"{case}.voxels.npy", case, mode=None)


def previous_paths(folder: Path, case: str) -> tuple[Path, Path]:
    """Return the array and the side record of one previous-stage prediction."""
    return folder / f"{case}.npy", folder / f"{case}.json"


def write_previous(folder: Path, labels: NDArray[np.integer[Any]], origin: PreviousPrediction) -> PreviousPrediction:
    """Write a previous stage's label map (z, y, x) of a training case on the next stage's prepared grid.

    Returns:
        ``origin`` with the digest of the array file.

    Raises:
        DataError: one of the models was trained on that case.
    """
    _refuse_seen(origin)
    array_path, record_path = previous_paths(folder, origin.case)
    record_path.unlink(missing_ok=True)
    with atomic_path(array_path) as temporary:
        digest = _write_array(temporary, np.ascontiguousarray(labels, dtype=np.uint8))
    complete = replace(origin, labels_sha256=digest)
    write_record(record_path, complete)
    return complete


def load_previous(folder: Path, case: str) -> NDArray[np.uint8]:
    """Map the previous stage's label map of a training case, uint8 (z, y, x).

    Raises:
        DataError: missing or damaged; it belongs to another case; or a model that predicted it was trained on the case.
    """
    array_path, record_path = previous_paths(folder, case)
    origin = read_record(record_path, PreviousPrediction)
    if origin.case != case:
        raise _refusal(case, array_path, f"the prediction is of case {origin.case}", f"a prediction of {case}")
    _refuse_seen(origin)
    labels: NDArray[np.uint8] = _map(array_path, case)
    return labels


def check_previous(folder: Path, store: Path, cases: Iterable[str]) -> None:
    """Check once, before training, that every case has its own out-of-fold prediction on its own grid.

    Raises:
        DataError: as `load_previous`; or the array is not the one that was written, or its shape does not fit.
    """
    for case in cases:
        labels = load_previous(folder, case)
        array_path, record_path = previous_paths(folder, case)
        if digest_file(array_path) != read_record(record_path, PreviousPrediction).labels_sha256:
            raise _refusal(case, array_path, "the prediction is not the one that was written", "an untouched file")
        expected = load_labels(store, case).shape
        if labels.shape != expected:
            raise _refusal(case, array_path, f"the prediction has shape {labels.shape}", f"the shape {expected}")


def _refuse_seen(origin: PreviousPrediction) -> None:
    if origin.case in origin.trained_on:
        folds = ", ".join(str(fold) for fold in origin.model_folds)
        what = f"{origin.configuration} of fold {folds} predicted it and was trained on it"
        raise _refusal(origin.case, Path(f"{origin.case}.npy"), what, "a model of the fold that did not see the case")


def _refusal(case: str, path: Path, what: str, expected: str) -> DataError:
    problem = Problem(
        severity=Severity.ERROR,
        case=case,
        file=path.name,
        what=what,
        expected=expected,
        remedy="remove the file and run the same command again",
    )
    return DataError("a prepared file cannot be used:", (problem,))


def _write_array(path: Path, array: NDArray[Any]) -> str:
    """Write a ``.npy`` file of a C-contiguous array; return the digest of its bytes, which are in memory anyway."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(array))
    values = array.reshape(-1).view(np.uint8)
    digest = hashlib.sha256(head.getvalue())
    digest.update(values.data)
    with path.open("wb") as stream:
        stream.write(head.getvalue())
        _write_with_holes(stream, values)
    return digest.hexdigest()


def _write_with_holes(stream: BinaryIO, values: NDArray[np.uint8]) -> None:
    """Write bytes to the end of a file, but step over whole blocks of zeros. Source: own."""
    begin = stream.tell()
    lead = min(-begin % _BLOCK_BYTES, values.size)  # up to where a block of the file begins
    stream.write(values[:lead].data)
    whole = lead + (values.size - lead) // _BLOCK_BYTES * _BLOCK_BYTES
    blocks = values[lead:whole].reshape(-1, _BLOCK_BYTES)
    is_kept = np.concatenate(([False], blocks.any(axis=1), [False]))
    edges = np.flatnonzero(is_kept[1:] != is_kept[:-1])
    for first, last in edges.reshape(-1, 2).tolist():
        stream.seek(begin + lead + first * _BLOCK_BYTES)
        stream.write(blocks[first:last].data)
    stream.seek(begin + whole)
    stream.write(values[whole:].data)
    stream.truncate()


def _write_text(path: Path, text: str) -> str:
    path.write_bytes(text.encode())
    return hashlib.sha256(text.encode()).hexdigest()


def _map(path: Path, case: str) -> NDArray[Any]:
    return _load(path, case, mode="r")


def _load(path: Path, case: str, *, mode: Literal["r"] | None) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode=mode, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _refusal(case, path, f"it cannot be read ({error})", "a complete .npy file") from None
    return array
