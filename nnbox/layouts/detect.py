"""Which layout a folder has; every layout is read in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nnbox.errors import Problem, UsageError
from nnbox.layouts.decathlon import detect_decathlon
from nnbox.layouts.description import FILE, read_description
from nnbox.layouts.draft import LayoutDraft, error, looks_like_task, task_name, warning
from nnbox.layouts.grand_challenge import IMAGES, LISTING, detect_grand_challenge, is_algorithm_input
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
    return _has_description(folder) or any((folder / name).is_dir() for name in FOLDERS)


def _has_description(folder: Path) -> bool:
    """Return whether there is a ``dataset.json``, be it a link to nothing or a pipe: one is meant, and is told of."""
    return (folder / FILE).exists() or (folder / FILE).is_symlink()


def _beside(root: Path, draft: LayoutDraft) -> tuple[Problem, ...]:
    """Say what else lies there that would be another layout; it is not used."""
    used = {file for case in (*draft.cases, *draft.test_cases) for file in case.images}
    strays = [file for file in image_files(root, "") if file not in used]
    if is_algorithm_input(root):
        strays += [name for name in (LISTING, f"{IMAGES}/") if (root / name).exists()]
    if not strays or draft.layout == "unknown":
        return ()
    shown = ", ".join(strays[:3]) + (", …" if len(strays) > 3 else "")
    what = f"beside the data set ({draft.layout}) there are {shown}, which are not used"
    return (warning(what, "one data set in a folder", "move them elsewhere if they are meant to be read"),)


def _detect(root: Path, channel_count: int | None) -> LayoutDraft:
    if _is_dataset(root):
        draft = _described(root) if _has_description(root) else detect_bare(root, channel_count)
        return replace(draft, problems=(*draft.problems, *_beside(root, draft)))
    if is_grand_challenge(root):
        return detect_grand_challenge(root)
    return detect_flat(root, channel_count)


def _two_layouts(first: Sequence[str], second: Sequence[str]) -> tuple[Problem, ...]:
    if not first:
        return ()
    keys = f'"{second[0]}" (nnU-Net v2) and "{first[0]}" (Decathlon, nnU-Net v1)'
    remedy = f"remove the keys of the layout it does not have from {FILE}"
    return (warning(f"it has {keys}; it is read as nnunet_v2", "the keys of one layout", remedy, file=FILE),)


def _described(root: Path) -> LayoutDraft:
    document, problems = read_description(root)
    if document is None:
        return LayoutDraft(task=task_name(root), layout="unknown", problems=problems)
    first = [key for key in ("training", "modality") if key in document]
    second = [key for key in ("channel_names", "file_ending") if key in document]
    if second:
        draft = detect_nnunet_v2(root, document)
        return replace(draft, problems=(*draft.problems, *_two_layouts(first, second)))
    if first:
        return detect_decathlon(root, document)
    what = f'neither "training" (Decathlon, nnU-Net v1) nor "channel_names" (nnU-Net v2) is in {FILE}'
    remedy = f"correct {FILE}, or remove it to have channels and labels found in the images"
    problem = error(what, "the description of a data set", remedy, file=FILE)
    return LayoutDraft(task=task_name(root, document.get("name")), layout="unknown", problems=(problem,))
