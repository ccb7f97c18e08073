"""``dataset.json`` with lists of cases: the Medical Segmentation Decathlon and nnU-Net v1 raw.

Both state ``modality``, ``labels``, ``training`` and ``test``. They differ in the files: Decathlon names the file
itself, nnU-Net v1 names ``case.nii.gz`` and stores ``case_0000.nii.gz``, one file per channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnbox.errors import Problem
from nnbox.layouts.description import FILE, count_warnings, stated_channels, stated_labels
from nnbox.layouts.draft import CaseTable, LayoutDraft, error, task_name, warning
from nnbox.layouts.names import (
    Grouping,
    by_channel_suffix,
    dimension_of,
    has_channel_suffixes,
    image_files,
    inside_root,
    make_case,
    one_file_each,
    split_channel,
    stem_of,
)
from nnbox.layouts.pairing import label_without_image, missing_label, unlabelled, without_shared_names
from nnbox.records.dataset import Case
from nnbox.records.endings import split_ending


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One case as the lists state it: paths relative to the root."""

    image: str
    label: str | None


def detect_decathlon(root: Path, document: Mapping[str, Any]) -> LayoutDraft:
    """Read a data set whose ``dataset.json`` lists its cases."""
    channels = stated_channels(document, "modality")
    labels = stated_labels(document)
    count = len(channels.channels) if channels.channels else None
    entries, entry_problems = _entries(document, "training")
    tests, test_problems = _entries(document, "test")
    training = _training_table(root, entries, count)
    if tests or test_problems:
        test = _test_table(root, tests, count)
        strays = _unlisted(root, (*training.cases, *test.cases), ("imagesTr", "labelsTr", "imagesTs"), entries)
    else:
        # Many data sets leave the list empty though there are test images.
        test = unlabelled(_grouping(image_files(root, "imagesTs"), count))
        strays = _unlisted(root, training.cases, ("imagesTr", "labelsTr"), entries)
    test = without_shared_names(training, test)
    stated_test = len(test.cases) + len({problem.case for problem in test.problems})
    counts = count_warnings(document, len(entries), stated_test)
    cases = (*training.cases, *test.cases)
    return LayoutDraft(
        task=task_name(root, document.get("name")),
        layout="nnunet_v1" if _is_v1(cases, entries) else "decathlon",
        dimension=dimension_of(file for case in cases for file in case.images),
        channels=channels.channels,
        labels=labels.labels,
        cases=training.cases,
        test_cases=test.cases,
        problems=(*channels.problems, *labels.problems, *test_problems, *test.problems, *counts, *strays),
        training_problems=(*entry_problems, *training.problems),
    )


def _entries(document: Mapping[str, Any], key: str) -> tuple[tuple[_Entry, ...], tuple[Problem, ...]]:
    """Read the list of cases; an entry is an object, or a string where it has no label."""
    value = document.get(key)
    if value is None and key == "test":
        return (), ()
    if not isinstance(value, list):
        what = f'"{key}" is missing' if value is None else f'"{key}" is no list'
        return (), (error(what, "a list of cases", f"correct {FILE}", file=FILE),)
    entries, problems = [], []
    for index, item in enumerate(value):
        entry = _entry(item, labelled=key == "training")
        if entry is None:
            expected = '{"image": "./imagesTr/…", "label": "./labelsTr/…"}' if key == "training" else '"./imagesTs/…"'
            what = f'entry {index} of "{key}" is {str(item)[:80]!r}'
            problems.append(
                error(what, f"{expected}, an image file inside the data set's folder", f"correct {FILE}", file=FILE)
            )
        else:
            entries.append(entry)
    return tuple(entries), tuple(problems)


def _entry(item: object, *, labelled: bool) -> _Entry | None:
    if isinstance(item, str) and not labelled:
        item = {"image": item}
    if not isinstance(item, dict):
        return None
    image = inside_root(item.get("image"))
    label = inside_root(item.get("label")) if labelled else None
    return None if image is None or (labelled and label is None) else _Entry(image=image, label=label)


def _training_table(root: Path, entries: Sequence[_Entry], channels: int | None) -> CaseTable:
    cases: dict[str, Case] = {}
    problems: list[Problem] = []
    for entry in entries:
        name = stem_of(entry.label or entry.image)
        images = _existing(root, entry.image, channels)
        has_label = entry.label is not None and (root / entry.label).is_file()
        problems.extend(images.problems)
        files = next(iter(images.images.values()), ())
        if name in cases:
            problems.append(_listed_twice(name, entry))
        elif files and entry.label is not None and has_label:
            cases[name] = make_case(name, files, entry.label)
        elif files:
            problems.append(missing_label(name, files[0], entry.label or "labelsTr"))
        elif has_label and entry.label is not None and not images.problems:
            problems.append(label_without_image(name, entry.label, entry.image))
        elif not images.problems:
            problems.append(_both_missing(name, entry))
    return CaseTable(cases=tuple(sorted(cases.values(), key=lambda case: case.name)), problems=tuple(problems))


def _test_table(root: Path, entries: Sequence[_Entry], channels: int | None) -> CaseTable:
    cases: dict[str, Case] = {}
    problems: list[Problem] = []
    for entry in entries:
        images = _existing(root, entry.image, channels)
        problems.extend(images.problems)
        name, files = next(iter(images.images.items()), (stem_of(entry.image), ()))
        if name in cases:
            problems.append(_listed_twice(name, entry))
        elif files:
            cases[name] = make_case(name, files)
        elif not images.problems:
            problems.append(_both_missing(name, entry))
    return CaseTable(cases=tuple(sorted(cases.values(), key=lambda case: case.name)), problems=tuple(problems))


def _existing(root: Path, image: str, channels: int | None) -> Grouping:
    """Return the file itself, or its ``_0000`` … channel files; empty if there is neither."""
    if (root / image).is_file():
        return one_file_each([image])
    folder, _, name = image.rpartition("/")
    stem, ending = split_ending(name)
    most = 100 if channels is None else max(channels + 1, 1)
    numbered = [f"{folder}/{stem}_{number:04d}{ending}".lstrip("/") for number in range(most)]
    return by_channel_suffix([file for file in numbered if (root / file).is_file()], channels)


def _grouping(files: Sequence[str], channels: int | None) -> Grouping:
    return by_channel_suffix(files, channels) if has_channel_suffixes(files, channels) else one_file_each(files)


def _is_v1(cases: Sequence[Case], entries: Sequence[_Entry]) -> bool:
    stated = {entry.image for entry in entries}
    return bool(cases) and all(split_channel(case.images[0])[1] == 0 and case.images[0] not in stated for case in cases)


def _listed_twice(name: str, entry: _Entry) -> Problem:
    remedy = f"remove one entry from {FILE} or rename its files, or leave the case out with --exclude {name}"
    return error(f"{FILE} lists this case name twice", "different names", remedy, case=name, file=entry.image)


def _both_missing(name: str, entry: _Entry) -> Problem:
    what = f"{FILE} lists it, but the file is missing"
    remedy = f"put the file there, remove the entry from {FILE}, or leave the case out with --exclude {name}"
    return error(what, "a file at that place", remedy, case=name, file=entry.image)


def _unlisted(
    root: Path, cases: Sequence[Case], folders: Sequence[str], entries: Sequence[_Entry]
) -> tuple[Problem, ...]:
    """Say which image files the lists leave out; they are not used."""
    used = {file for case in cases for file in (*case.images, *((case.label,) if case.label else ()))}
    used |= {file for entry in entries for file in (entry.image, entry.label) if file}
    found = []
    for folder in folders:
        strays = [file for file in image_files(root, folder) if file not in used]
        if strays:
            names = ", ".join(file.rsplit("/", 1)[-1] for file in strays[:3]) + (", …" if len(strays) > 3 else "")
            what = f"{len(strays)} file(s) are not listed in {FILE} and are not used: {names}"
            found.append(warning(what, "every file listed", f"list them in {FILE} if they belong to it", file=folder))
    return tuple(found)
