"""nnU-Net v2 raw: ``channel_names``, ``labels`` by name, ``file_ending``, one file per channel (``case_0000``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnbox.errors import Problem
from nnbox.layouts.description import FILE, count_warnings, stated_channels, stated_labels
from nnbox.layouts.draft import CaseTable, LayoutDraft, error, task_name, warning
from nnbox.layouts.names import by_channel_suffix, dimension_of, image_files, inside_root, is_case_name, make_case
from nnbox.layouts.pairing import label_without_image, missing_label, pair, unlabelled, without_shared_names
from nnbox.records.dataset import Case
from nnbox.records.endings import IMAGE_ENDINGS


def detect_nnunet_v2(root: Path, document: Mapping[str, Any]) -> LayoutDraft:
    """Read a data set in nnU-Net v2's raw layout; its optional ``dataset`` table of files is honoured."""
    channels = stated_channels(document, "channel_names")
    labels = stated_labels(document)
    count = len(channels.channels) if channels.channels else None
    ending, ending_problems = _file_ending(document)
    strays: list[Problem] = []
    if isinstance(document.get("dataset"), dict):
        training = _listed(root, document["dataset"])
    else:
        images = _files(root, "imagesTr", ending, strays)
        label_files = _files(root, "labelsTr", ending, strays)
        training = pair(by_channel_suffix(images, count), label_files, "imagesTr", "labelsTr")
    test = unlabelled(by_channel_suffix(_files(root, "imagesTs", ending, strays), count))
    test = without_shared_names(training, test)
    found = len(training.cases) + len({problem.case for problem in training.problems})
    return LayoutDraft(
        task=task_name(root, document.get("name")),
        layout="nnunet_v2",
        dimension=dimension_of(file for case in (*training.cases, *test.cases) for file in case.images),
        channels=channels.channels,
        labels=labels.labels,
        cases=training.cases,
        test_cases=test.cases,
        problems=(
            *channels.problems,
            *labels.problems,
            *ending_problems,
            *test.problems,
            *count_warnings(document, found, None),
            *strays,
        ),
        training_problems=training.problems,
    )


def _file_ending(document: Mapping[str, Any]) -> tuple[str | None, tuple[Problem, ...]]:
    ending = document.get("file_ending")
    if ending is None or ending in IMAGE_ENDINGS:
        return ending, ()
    expected = f"one of {', '.join(IMAGE_ENDINGS)}"
    return None, (error(f'"file_ending" is {str(ending)[:40]!r}', expected, f"correct {FILE}", file=FILE),)


def _files(root: Path, folder: str, ending: str | None, strays: list[Problem]) -> tuple[str, ...]:
    """Return a folder's files of the stated ending; others are named in ``strays``."""
    files = image_files(root, folder)
    kept = tuple(file for file in files if ending is None or file.lower().endswith(ending))
    others = [file for file in files if file not in kept]
    if others:
        what = f"{len(others)} image file(s) do not end in {ending} and are not used, e.g. {others[0]}"
        strays.append(warning(what, f'"file_ending" {ending}', f"convert them, or correct {FILE}", file=folder))
    return kept


def _listed(root: Path, table: Mapping[str, Any]) -> CaseTable:
    """Read ``{"case": {"images": […], "label": "…"}}``."""
    cases: list[Case] = []
    problems: list[Problem] = []
    for name, item in sorted(table.items()):
        images = item.get("images") if isinstance(item, dict) else None
        files = [inside_root(image) for image in images] if isinstance(images, list) else []
        label = inside_root(item.get("label")) if isinstance(item, dict) else None
        paths = [file for file in files if file is not None]
        if not paths or len(paths) != len(files) or label is None or not is_case_name(name):
            what = f'entry "{name[:80]}" of "dataset" has no usable "images" and "label"'
            expected = "image files inside the data set's folder"
            problems.append(error(what, expected, f"correct {FILE}, or --exclude {name[:80]}", case=name, file=FILE))
        elif missing := [file for file in paths if not (root / file).is_file()]:
            problems.append(label_without_image(name, label, missing[0]))
        elif not (root / label).is_file():
            problems.append(missing_label(name, paths[0], label))
        else:
            cases.append(make_case(name, paths, label))
    return CaseTable(cases=tuple(cases), problems=tuple(problems))
