"""Layouts without a ``dataset.json``: ``imagesTr``/``labelsTr``, and a flat folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnbox.layouts.draft import LayoutDraft, error, task_name
from nnbox.layouts.names import (
    Grouping,
    by_channel_suffix,
    dimension_of,
    has_channel_suffixes,
    image_files,
    one_file_each,
    stem_of,
)
from nnbox.layouts.pairing import pair, unlabelled, without_shared_names

FOLDERS = ("imagesTr", "labelsTr", "imagesTs")


def detect_bare(root: Path, channels: int | None) -> LayoutDraft:
    """Read ``imagesTr``, ``labelsTr`` and ``imagesTs``; channels and labels are found in the images.

    Args:
        root: the data set.
        channels: the channel count where it is known.
    """
    images, labels, tests = (image_files(root, folder) for folder in FOLDERS)
    grouped = _by_labels(images, labels, channels)
    training = pair(grouped, labels, "imagesTr", "labelsTr")
    in_groups = any(len(case.images) > 1 or stem_of(case.images[0]) != case.name for case in training.cases)
    as_channels = in_groups if training.cases else has_channel_suffixes(tests, channels)
    test = unlabelled(by_channel_suffix(tests, channels) if as_channels else one_file_each(tests))
    test = without_shared_names(training, test)
    return LayoutDraft(
        task=task_name(root),
        layout="bare",
        dimension=dimension_of((*images, *tests)),
        cases=training.cases,
        test_cases=test.cases,
        problems=test.problems,
        training_problems=training.problems,
    )


def detect_flat(root: Path, channels: int | None) -> LayoutDraft:
    """Take the image files in the root itself as unlabelled cases; see `has_channel_suffixes` for channel files."""
    files = image_files(root, "")
    groups = by_channel_suffix(files, channels) if has_channel_suffixes(files, channels) else one_file_each(files)
    table = unlabelled(groups)
    problems = table.problems
    if not files:
        expected = "dataset.json with its images, imagesTr and labelsTr, or image files"
        remedy = "check the path after --input (in a container: what is mounted there)"
        problems = (error(f"there are no images in {root}", expected, remedy),)
    return LayoutDraft(
        task=task_name(root),
        layout="flat" if files else "unknown",
        dimension=dimension_of(files),
        test_cases=table.cases,
        problems=problems,
    )


def _by_labels(images: Sequence[str], labels: Sequence[str], channels: int | None) -> Grouping:
    """Group channel files where the labels' names say so: ``case_0000`` has the label ``case``."""
    names = {stem_of(label) for label in labels}
    single = sum(stem_of(image) in names for image in images)
    grouped = by_channel_suffix(images, channels)
    return grouped if sum(name in names for name in grouped.images) > single else one_file_each(images)
