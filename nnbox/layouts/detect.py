"""Which layout a folder has; every layout is read in place."""

from __future__ import annotations

from pathlib import Path

from nnbox.errors import UsageError
from nnbox.layouts.decathlon import detect_decathlon
from nnbox.layouts.description import FILE, read_description
from nnbox.layouts.draft import LayoutDraft, error, looks_like_task, task_name
from nnbox.layouts.grand_challenge import detect_grand_challenge, is_algorithm_input
from nnbox.layouts.names import OWN_FOLDER, image_files
from nnbox.layouts.nnunet_v2 import detect_nnunet_v2
from nnbox.layouts.plain import FOLDERS, detect_bare, detect_flat


def detect(root: Path, *, channel_count: int | None = None) -> LayoutDraft:
    """Describe the data set in a folder by its names and its ``dataset.json``; no image is read.

    Args:
        root: the data set's folder.
        channel_count: channels of every case where that is known (``--channels``, or a model's): it tells whether
            ``case_0000`` and ``case_0001`` are two channels or two cases where no ``dataset.json`` does.

    Returns:
        The draft; whatever is wrong with names and JSON is in its problems.

    Raises:
        UsageError: the root is no folder, or cannot be listed.
    """
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder. What to do: name the data set's folder with --input.")
    try:
        return _detect(root, channel_count)
    except OSError as failure:
        raise UsageError(f"{failure.filename or root} cannot be read ({failure.strerror})") from None


def find_tasks(root: Path) -> tuple[Path, ...]:
    """Return the data sets to do one after the other: the ``Task…``/``Dataset…`` folders in a root, or the root.

    The folder ``nnbox`` in the root is never one of them. A root that is itself a data set is taken as one.

    Raises:
        UsageError: the root is no folder, or cannot be listed.
    """
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder. What to do: name the data set's folder with --input.")
    try:
        if _is_dataset(root) or image_files(root, "") or is_algorithm_input(root):
            return (root,)
        tasks = [entry for entry in root.iterdir() if entry.name != OWN_FOLDER and looks_like_task(entry)]
        return tuple(sorted(task for task in tasks if _is_dataset(task))) or (root,)
    except OSError as failure:
        raise UsageError(f"{failure.filename or root} cannot be read ({failure.strerror})") from None


def is_grand_challenge(root: Path) -> bool:
    """Return whether a folder is the input of an algorithm on grand-challenge.org, and no data set."""
    return not _is_dataset(root) and is_algorithm_input(root) and not image_files(root, "")


def _is_dataset(folder: Path) -> bool:
    return (folder / FILE).is_file() or any((folder / name).is_dir() for name in FOLDERS)


def _detect(root: Path, channel_count: int | None) -> LayoutDraft:
    if (root / FILE).exists():
        return _described(root)
    if any((root / folder).is_dir() for folder in FOLDERS):
        return detect_bare(root, channel_count)
    if is_grand_challenge(root):
        return detect_grand_challenge(root)
    return detect_flat(root, channel_count)


def _described(root: Path) -> LayoutDraft:
    document, problems = read_description(root)
    if document is None:
        return LayoutDraft(task=task_name(root), layout="unknown", problems=problems)
    if "channel_names" in document or "file_ending" in document:
        return detect_nnunet_v2(root, document)
    if "training" in document or "modality" in document:
        return detect_decathlon(root, document)
    what = f'neither "training" (Decathlon, nnU-Net v1) nor "channel_names" (nnU-Net v2) is in {FILE}'
    remedy = f"correct {FILE}, or remove it to have channels and labels found in the images"
    problem = error(what, "the description of a data set", remedy, file=FILE)
    return LayoutDraft(task=task_name(root, document.get("name")), layout="unknown", problems=(problem,))
