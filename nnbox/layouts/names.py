"""From file names to cases: which files count, which belong together, what a prediction will be called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nnbox.errors import Problem
from nnbox.layouts.draft import error
from nnbox.records.dataset import Case
from nnbox.records.endings import PICTURE_ENDINGS, image_ending, split_ending

OWN_FOLDER = "nnbox"
"""Where nnbox writes when the output lies in the input; never looked at."""
LONGEST_NAME_BYTES = 200
"""Of a case's name: outputs add their endings to it, and a file name holds 255."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Image files by case; ``problems`` are channels that are missing or doubled."""

    images: Mapping[str, tuple[str, ...]]
    problems: tuple[Problem, ...] = ()


def image_files(root: Path, folder: str) -> tuple[str, ...]:
    """Return the image files directly in a folder of the root, relative to the root and sorted.

    Hidden files (``._*``, ``.DS_Store``) do not count. A missing folder holds nothing.
    """
    place = root / folder if folder else root
    if not place.is_dir():
        return ()
    names = sorted(entry.name for entry in place.iterdir() if is_image(entry))
    return tuple(f"{folder}/{name}" if folder else name for name in names)


def is_image(path: Path) -> bool:
    """Return whether a path is a file with a supported ending that is not hidden."""
    return not path.name.startswith(".") and image_ending(path.name) is not None and not path.is_dir()


def stem_of(file: str) -> str:
    """Return a file's name without folder and image ending."""
    return split_ending(file.rsplit("/", 1)[-1])[0]


def split_channel(file: str) -> tuple[str, int | None]:
    """Split a file's stem into case and channel: ``("case_1", 0)`` for ``case_1_0000.nii.gz``; none: None."""
    stem = stem_of(file)
    match = _CHANNEL.fullmatch(stem)
    return (match["case"], int(match["channel"])) if match else (stem, None)


def one_file_each(files: Iterable[str]) -> Grouping:
    """Take every file for a case of its own, named by its stem."""
    return _grouping(((stem_of(file), None, file) for file in files), None)


def by_channel_suffix(files: Iterable[str], channels: int | None) -> Grouping:
    """Group ``case_0000``, ``case_0001``, … by case; files without such a suffix are cases of their own.

    Args:
        files: image files.
        channels: how many channels every case must have, or None for whatever it has without a gap.
    """
    return _grouping(((*split_channel(file), file) for file in files), channels)


def has_channel_suffixes(files: Sequence[str], channels: int | None = None) -> bool:
    """Return whether the files are named by channel: all of them, equally many from ``_0000`` on for every case.

    Args:
        files: image files.
        channels: the channel count where it is known: other counts mean that the numbers count cases instead.
    """
    found: dict[str, list[int]] = {}
    for file in files:
        case, channel = split_channel(file)
        if channel is None:
            return False
        found.setdefault(case, []).append(channel)
    counts = {len(numbers) for numbers in found.values()}
    whole = all(sorted(numbers) == list(range(len(numbers))) for numbers in found.values())
    return bool(found) and whole and len(counts) == 1 and (channels is None or counts == {channels})


def make_case(name: str, images: Sequence[str], label: str | None = None) -> Case:
    """Return a case; its prediction takes the first image's ending."""
    ending = split_ending(images[0])[1]
    return Case(name=name, images=tuple(images), label=label, output_name=f"{name}{ending}")


def inside_root(value: object) -> str | None:
    """Return a stated path without ``./``; None unless it is an image file's and stays inside the root."""
    if not isinstance(value, str) or "\0" in value or image_ending(value.rsplit("/", 1)[-1]) is None:
        return None
    path = PurePosixPath(value)
    unusable = path.is_absolute() or ".." in path.parts or any(len(part) > 200 for part in path.parts)
    return None if unusable else path.as_posix()


def is_case_name(name: str) -> bool:
    """Return whether a stated name can name output files."""
    return not ("/" in name or name.startswith(".") or _name_problem(name, ("",)))


def dimension_of(files: Iterable[str]) -> int | None:
    """Return 2 if all files are pictures, else None: other formats hold both."""
    endings = {image_ending(file) for file in files}
    return 2 if endings and endings <= set(PICTURE_ENDINGS) else None


def _grouping(parts: Iterable[tuple[str, int | None, str]], channels: int | None) -> Grouping:
    found: dict[str, list[tuple[int, str]]] = {}
    for case, channel, file in parts:
        found.setdefault(case, []).append((channel or 0, file))
    images: dict[str, tuple[str, ...]] = {}
    problems: list[Problem] = []
    for case, members in sorted(found.items()):
        members.sort()
        numbers = [number for number, _ in members]
        files = tuple(file for _, file in members)
        if problem := _name_problem(case, files) or _channel_problem(case, numbers, files, channels):
            problems.append(problem)
        else:
            images[case] = files
    return Grouping(images=images, problems=tuple(problems))


def _name_problem(case: str, files: tuple[str, ...]) -> Problem | None:
    """Report a name that no output file can bear, or that a terminal would obey."""
    size = len(case.encode("utf-8", "surrogateescape"))
    if size > LONGEST_NAME_BYTES:
        expected = f"at most {LONGEST_NAME_BYTES}: output files are named after it"
        return error(f"the case name has {size} bytes", expected, "rename its files", case=case, file=files[0])
    if _CONTROL.search(case):
        expected = "letters, digits and other characters that can be printed"
        what = "the case name holds a line break or another control character"
        return error(what, expected, "rename its files", case=case, file=files[0])
    return None


def _channel_problem(case: str, numbers: list[int], files: tuple[str, ...], channels: int | None) -> Problem | None:
    leave_out = f"or leave the case out with --exclude {case}"
    doubled = [file for number, file in zip(numbers, files, strict=True) if numbers.count(number) > 1]
    if doubled:
        what = f"the case name stands for several files: {', '.join(doubled)}"
        return error(what, "one file for a case name", f"rename or remove all but one, {leave_out}", case=case)
    wanted = channels if channels is not None else numbers[-1] + 1
    # One picture may hold several channels (RGB); how many it does is seen when it is read.
    if numbers == list(range(wanted)) or (numbers == [0] and image_ending(files[0]) in PICTURE_ENDINGS):
        return None
    missing = sorted(set(range(wanted)) - set(numbers))
    extra = sorted(set(numbers) - set(range(wanted)))
    words = [f"channel file _{number:04d} is missing" for number in missing]
    words += [f"channel file _{number:04d} is one too many" for number in extra]
    words = words if len(words) <= 4 else [*words[:3], f"and {len(words) - 3} more"]
    expected = f"{wanted} channel file(s) from _0000 to _{wanted - 1:04d}"
    return error("; ".join(words), expected, f"add or remove the files, {leave_out}", case=case, file=files[0])
