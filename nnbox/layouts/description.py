"""``dataset.json``: what it may say, each entry checked, every defect a finding of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnbox.errors import Problem, RecordError
from nnbox.layouts.draft import error, warning
from nnbox.records.codec import brief, read_json
from nnbox.records.dataset import Label

FILE = "dataset.json"
_CORRECT = f"correct {FILE}"
_LARGEST_LABEL = 65535
_MOST_CHANNELS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """One part of ``dataset.json``: the value, None where it is missing or unusable, and the findings about it."""

    channels: tuple[str, ...] | None = None
    labels: tuple[Label, ...] | None = None
    problems: tuple[Problem, ...] = ()


def read_description(root: Path) -> tuple[Mapping[str, Any] | None, tuple[Problem, ...]]:
    """Read ``dataset.json``; a file that is no JSON object gives None and a finding."""
    try:
        document = read_json(root / FILE)
    except RecordError as failure:
        what = f"it cannot be read ({str(failure).removeprefix(f'{root / FILE} ')})"
        return None, (error(what, "a JSON object", _CORRECT, file=FILE),)
    except OSError as failure:
        return None, (error(f"it cannot be read ({failure.strerror})", "a JSON file", "check permissions", file=FILE),)
    if not isinstance(document, dict):
        return None, (error(f"it holds {brief(document)}", "a JSON object", _CORRECT, file=FILE),)
    return document, ()


def stated_channels(document: Mapping[str, Any], key: str) -> Stated:
    """Read ``{"0": "CT", "1": "PET"}`` (or a list) into channel names in order."""
    value = document.get(key)
    if isinstance(value, list):
        value = {str(index): name for index, name in enumerate(value)}
    if not isinstance(value, dict) or not value:
        what = f'"{key}" is {brief(value)}' if key in document else f'"{key}" is missing'
        return Stated(problems=(error(what, 'channel names such as {"0": "MRI"}', _CORRECT, file=FILE),))
    if len(value) > _MOST_CHANNELS:
        what = f'"{key}" names {len(value)} channels'
        return Stated(problems=(error(what, f"at most {_MOST_CHANNELS}", _CORRECT, file=FILE),))
    numbers = {_whole(number): name for number, name in value.items()}
    if sorted(numbers, key=str) != sorted(range(len(value)), key=str):
        what = f'"{key}" numbers its channels {brief(tuple(value))}'
        return Stated(problems=(error(what, f"0 to {len(value) - 1}", _CORRECT, file=FILE),))
    names = [numbers[number] for number in range(len(value))]
    if not all(isinstance(name, str) and name.strip() for name in names):
        return Stated(problems=(error(f'"{key}" holds a name that is no text', "channel names", _CORRECT, file=FILE),))
    return Stated(channels=tuple(name.strip() for name in names))


def stated_labels(document: Mapping[str, Any]) -> Stated:
    """Read ``{"0": "background", "7": "liver"}`` or ``{"background": 0, "liver": 7}`` into foreground labels."""
    value = document.get("labels")
    if not isinstance(value, dict) or not value:
        what = f'"labels" is {brief(value)}' if "labels" in document else '"labels" is missing'
        return Stated(problems=(error(what, 'labels such as {"0": "background", "1": "liver"}', _CORRECT, file=FILE),))
    by_value = all(_whole(key) is not None for key in value)
    problems: list[Problem] = []
    found: dict[int, str] = {}
    for key, entry in value.items():
        name, number = (entry, _whole(key)) if by_value else (key, entry)
        problem = _label_problem(name, number, found)
        if problem is not None:
            problems.append(problem)
        elif number is not None:
            found[int(number)] = str(name)
    labels = tuple(Label(value=number, name=name) for number, name in sorted(found.items()) if number != 0)
    if not labels and not problems:
        problems.append(error('"labels" names no foreground', "at least one label above 0", _CORRECT, file=FILE))
    return Stated(labels=labels if not problems else None, problems=tuple(problems))


def _label_problem(name: object, number: object, found: Mapping[int, str]) -> Problem | None:
    if isinstance(number, (list, tuple, dict)):
        what = f'label "{name}" is a region of several values ({brief(number)})'
        remedy = f"regions are not supported: give each structure one value of its own in {FILE} and in the label maps"
        return error(what, "one whole number for each label", remedy, file=FILE)
    if isinstance(name, str) and name.strip().lower() == "ignore":
        remedy = f"ignore labels are not supported: label these voxels, --exclude their cases, or {_CORRECT}"
        return error(f'"labels" has an ignore label (value {brief(number)})', "labelled voxels", remedy, file=FILE)
    if not isinstance(name, str) or not name.strip():
        return error(f"the name of label {brief(number)} is {brief(name)}", "a text", _CORRECT, file=FILE)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _LARGEST_LABEL:
        what = f'the value of label "{name}" is {brief(number)}'
        return error(what, f"a whole number from 0 to {_LARGEST_LABEL}", _CORRECT, file=FILE)
    if number in found:
        what = f'labels "{found[number]}" and "{name}" have the same value {number}'
        return error(what, "one name for a value", _CORRECT, file=FILE)
    return None


def count_warnings(document: Mapping[str, Any], training: int, test: int | None) -> tuple[Problem, ...]:
    """Compare ``numTraining`` and ``numTest`` with what was found; a difference is a warning."""
    warnings = []
    for key, found, what in (("numTraining", training, "labelled cases"), ("numTest", test, "test images")):
        if found is None or key not in document or document[key] == found:
            continue
        remedy = f"add the cases if some are missing; otherwise nothing, or correct {FILE}"
        warnings.append(warning(f'"{key}" is {brief(document[key])}', f"{found}, the {what} found", remedy, file=FILE))
    return tuple(warnings)


def _whole(text: object) -> int | None:
    """Return a JSON key as a number, None if it is none."""
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 10 else None
