"""Fingerprints that were not made here: the input format of ``nnbox plan --fingerprint``.

One task is a JSON object with these keys::

    num_training                         number of training cases
    channels                             names, e.g. ["CT"]; a channel named CT in any case is CT
    labels                               names of the foreground labels, e.g. ["liver", "cancer"]
    median_relative_size_after_cropping  voxels after / before cropping, in (0, 1]
    spacings_zyx_mm                      per case three spacings in mm
    shapes_after_crop_zyx                per case three sizes in voxels, after cropping

``channels`` and ``labels`` may also be objects from number to name, as in a data set's ``dataset.json`` (label 0 is
background and left out). A file may hold many tasks as an object from name to such objects; ``--task`` names one. A
fingerprint of our own, ``fingerprint.json``, is read as well. Where every case is one voxel deep along z the data is
2D. The format holds no intensities, so what is planned from it cannot be trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nnbox.errors import RecordError, UsageError
from nnbox.geometry import Shape3, Spacing3
from nnbox.records.codec import decode, parse_record
from nnbox.records.dataset import Channel, Label
from nnbox.records.fingerprint import CaseFingerprint, Fingerprint

_KEYS = frozenset({"num_training", "spacings_zyx_mm", "shapes_after_crop_zyx"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Geometry:
    """One task of the documented format; the names of the fields are its keys."""

    num_training: int
    channels: tuple[str, ...]
    labels: tuple[str, ...]
    median_relative_size_after_cropping: float
    spacings_zyx_mm: tuple[Spacing3, ...]
    shapes_after_crop_zyx: tuple[Shape3, ...]


def fingerprint_from_json(document: object, *, task: str | None, where: str) -> Fingerprint:
    """Build a fingerprint from a decoded JSON document in the documented format, or from our own record.

    Args:
        document: what the file holds.
        task: the task to take, where the file holds several; for a single one its name.
        where: name of the file, for messages.

    Raises:
        UsageError: the file holds several tasks and none, or none of them, was named.
        RecordError: the document has another form, or a number that no image can have.

    Source: own (the format), 2018 §2.2 (what it holds)
    """
    if not isinstance(document, Mapping):
        raise RecordError(f"{where}: a JSON object with a fingerprint is expected, not a {type(document).__name__}")
    if "record" in document:
        return _own_record(document, task, where)
    if set(document) & _KEYS:
        return _from_geometry(document, task or "Task", where)
    name = _choose_task(document, task, where)
    return _from_geometry(document[name], name, f"{where}, {name}")


def _own_record(document: Mapping[str, object], task: str | None, where: str) -> Fingerprint:
    fingerprint = parse_record(dict(document), Fingerprint, where=where)
    if task is not None and task != fingerprint.task:
        raise UsageError(f"{where} is the fingerprint of {fingerprint.task}, not of {task}; leave out --task")
    for index, case in enumerate(fingerprint.cases):
        _check_case(case, f"{where}.cases[{index}]")
    if fingerprint.dimension not in {2, 3}:
        raise RecordError(f"{where}.dimension: expected 2 or 3, found {fingerprint.dimension}")
    if fingerprint.intensities is not None and len(fingerprint.intensities) != len(fingerprint.channels):
        raise RecordError(
            f"{where}.intensities: expected one entry for each of {len(fingerprint.channels)} channels, "
            f"found {len(fingerprint.intensities)}"
        )
    return fingerprint


def _choose_task(document: Mapping[str, object], task: str | None, where: str) -> str:
    names = [name for name, value in document.items() if isinstance(value, Mapping) and set(value) & _KEYS]
    if not names:
        raise RecordError(f"{where}: no fingerprint in it; expected the keys {', '.join(sorted(_KEYS))} ...")
    if task in names:
        return str(task)
    if task is None and len(names) == 1:
        return names[0]
    wrong = "holds several tasks" if task is None else f"does not hold the task {task!r}"
    raise UsageError(f"{where} {wrong}; choose one with --task: {', '.join(names)}")


def _from_geometry(document: object, task: str, where: str) -> Fingerprint:
    if not isinstance(document, Mapping):
        raise RecordError(f"{where}: a JSON object is expected, not a {type(document).__name__}")
    body = {
        key: _numbered_names(value, where, key) if key in {"channels", "labels"} else value
        for key, value in document.items()
    }
    geometry = decode(body, _Geometry, where=where)
    found = (len(geometry.spacings_zyx_mm), len(geometry.shapes_after_crop_zyx))
    if found != (geometry.num_training,) * 2:
        raise RecordError(
            f"{where}: num_training is {geometry.num_training}, but there are {found[0]} spacings and {found[1]} shapes"
        )
    for key, names in (("channels", geometry.channels), ("labels", geometry.labels)):
        if not names:
            raise RecordError(f"{where}.{key}: at least one name is expected")
    cases = tuple(_case(geometry, index) for index in range(geometry.num_training))
    for index, case in enumerate(cases):
        _check_case(case, f"{where}, case {index}")
    return Fingerprint(
        task=task,
        dimension=2 if cases and all(case.shape_vox[0] == 1 for case in cases) else 3,
        channels=tuple(Channel(name=name, is_ct=name.strip().lower() == "ct") for name in geometry.channels),
        labels=tuple(Label(value=value, name=name) for value, name in enumerate(geometry.labels, start=1)),
        cases=cases,
        intensities=None,
    )


def _numbered_names(value: object, where: str, key: str) -> object:
    """Bring ``{"0": "CT"}`` to ``["CT"]``; a background label is left out. Anything else is left to the decoder."""
    if not isinstance(value, Mapping):
        return value
    try:
        ordered = sorted(value.items(), key=lambda item: int(item[0]))
    except ValueError:
        raise RecordError(f"{where}.{key}: expected a list of names, or an object from number to name") from None
    return [name for number, name in ordered if not (key == "labels" and int(number) == 0)]


def _case(geometry: _Geometry, index: int) -> CaseFingerprint:
    """Return one case; what the format does not hold is 0, and the size of the file counts as that of the crop."""
    absent = (0,) * len(geometry.labels)
    return CaseFingerprint(
        name=f"case_{index:04d}",
        source_shape_vox=geometry.shapes_after_crop_zyx[index],
        shape_vox=geometry.shapes_after_crop_zyx[index],
        spacing_mm=geometry.spacings_zyx_mm[index],
        crop_ratio=geometry.median_relative_size_after_cropping,
        label_voxels=absent,
        components=absent,
    )


def _check_case(case: CaseFingerprint, where: str) -> None:
    if not all(spacing > 0 and math.isfinite(spacing) for spacing in case.spacing_mm):
        raise RecordError(f"{where}: spacings must be positive numbers of mm, found {list(case.spacing_mm)}")
    if not all(size >= 1 for size in case.shape_vox):
        raise RecordError(f"{where}: sizes must be at least 1 voxel, found {list(case.shape_vox)}")
    if not 0 < case.crop_ratio <= 1:
        raise RecordError(f"{where}: the share left by cropping must be in (0, 1], found {case.crop_ratio:g}")
