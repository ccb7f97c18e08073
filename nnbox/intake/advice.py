"""What is not wrong with a data set but would make a worse model, each with the option that remedies it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from nnbox.errors import Problem, Severity
from nnbox.intake.facts import CaseFacts, CaseReading
from nnbox.records.dataset import Case, Channel, Dataset, Label
from nnbox.rules.folds import FOLD_COUNT

HU_LIKE_BELOW = -500.0
"""A channel whose cases mostly reach below this is taken to hold Hounsfield units. Source: own."""
_REPEAT = re.compile(
    r"(?P<patient>.*\d.*?)[_\-. ](?P<scan>\d{1,2}|[a-zA-Z]|(?:t|tp|v|visit|scan|frame|time|phase|ses|session)-?\d{1,3}"
    r"|left|right|pre|post|baseline|followup)",
    re.IGNORECASE,
)


def training_findings(dataset: Dataset, readings: Sequence[CaseReading], *, names_known: bool) -> tuple[Problem, ...]:
    """Return every finding about the training cases as a whole.

    Args:
        dataset: as far as it is known, with the user's choices.
        readings: of its labelled and unlabelled cases.
        names_known: something in the data set names the channels.
    """
    names = {case.name for case in dataset.cases}
    facts = [item.facts for item in readings if item.facts is not None and item.name in names]
    asked = not names_known and dataset.choices.channels is None
    severity = Severity.ERROR if asked else Severity.WARNING
    ready = dataset.folds is not None
    return (
        *(hu_problem(index, facts, dataset.channels, severity) for index in hu_like_channels(facts, dataset.channels)),
        *orientation_warnings(facts),
        *constant_warnings(facts),
        *mirror_warnings(dataset.labels, facts, dataset.choices.mirror_axes),
        *(() if ready else patient_warnings(dataset.cases)),
        *fold_warnings(dataset.cases, ready=ready),
        *copy_warnings([item for item in readings if item.name in names], dataset.cases),
    )


def hu_like_channels(facts: Sequence[CaseFacts], channels: Sequence[Channel]) -> tuple[int, ...]:
    """Return the channels that are not called CT but hold values like Hounsfield units."""
    found = []
    for index, channel in enumerate(channels):
        lowest = [case.minimum[index] for case in facts if len(case.minimum) == len(channels)]
        if lowest and not channel.is_ct and median(lowest) < HU_LIKE_BELOW:
            found.append(index)
    return tuple(found)


def hu_problem(index: int, facts: Sequence[CaseFacts], channels: Sequence[Channel], severity: Severity) -> Problem:
    """Return the finding for a channel that looks like CT: an error where nothing names the channels."""
    lowest = [case.minimum[index] for case in facts if len(case.minimum) == len(channels)]
    named = ",".join(
        "CT" if place == index or channel.is_ct else channel.name for place, channel in enumerate(channels)
    )
    what = f"channel {index} ({channels[index].name}) reaches down to {min(lowest):g}, like Hounsfield units"
    expected = "the channel name CT for CT images, which are normalised by their own rule"
    other = ",".join(f"MRI{place}" if len(channels) > 1 else "MRI" for place in range(len(channels)))
    remedy = f"say --channels {named} if it is CT"
    remedy += f", or another name such as --channels {other} if it is not" if severity is Severity.ERROR else ""
    return Problem(severity=severity, what=what, expected=expected, remedy=remedy)


def orientation_warnings(facts: Sequence[CaseFacts]) -> tuple[Problem, ...]:
    """Warn if the images' axes run in different anatomical directions."""
    kinds = Counter(case.orientation for case in facts)
    if len(kinds) < 2:
        return ()
    parts = []
    for kind, count in kinds.most_common():
        example = next(case.name for case in facts if case.orientation == kind)
        parts.append(f"{count} {kind} (e.g. {example})")
    what = f"the images are oriented differently (array axes z, y, x run towards): {'; '.join(parts)}"
    remedy = "reorient the images and their labels to one orientation if left and right or top and bottom matter"
    return (_warning(what, "one orientation", remedy),)


def constant_warnings(facts: Sequence[CaseFacts]) -> tuple[Problem, ...]:
    """Warn of images with one and the same value everywhere in a channel: they show nothing."""
    return tuple(
        Problem(
            severity=Severity.WARNING,
            what=f"channel {index} has the value {lowest:g} everywhere",
            expected="an image that shows something",
            remedy=f"replace the image, or leave the case out with --exclude {case.name}",
            case=case.name,
        )
        for case in facts
        for index, (lowest, highest) in enumerate(zip(case.minimum, case.maximum, strict=True))
        if lowest == highest
    )


def mirror_warnings(
    labels: Sequence[Label], facts: Sequence[CaseFacts], mirror_axes: tuple[str, ...] | None
) -> tuple[Problem, ...]:
    """Warn if labels come in left/right pairs while the axis from left to right is mirrored."""
    pairs = [(left, right) for left, right in _side_pairs([label.name for label in labels])]
    if not pairs or not facts:
        return ()
    axes = ("z", "y", "x")[-facts[0].dimension :]
    letters = facts[0].orientation
    across = next((axis for axis, letter in zip(axes, letters, strict=True) if letter in "LR"), "x")
    if mirror_axes is not None and across not in mirror_axes:
        return ()
    rest = [axis for axis in axes if axis != across and (mirror_axes is None or axis in mirror_axes)]
    shown = ", ".join(f"{left}/{right}" for left, right in pairs[:3])
    what = f"labels come in left/right pairs ({shown}), and mirroring along {across} swaps the sides"
    remedy = f"keep the sides apart with --mirror-axes {','.join(rest) or 'none'}"
    return (_warning(what, "no mirroring from left to right for such labels", remedy),)


def patient_warnings(cases: Sequence[Case]) -> tuple[Problem, ...]:
    """Warn if case names look like several scans of a patient and nothing says which belong together."""
    if any(case.patient is not None for case in cases):
        return ()
    groups: dict[str, list[str]] = {}
    for case in cases:
        match = _REPEAT.fullmatch(case.name)
        groups.setdefault(match["patient"] if match else case.name, []).append(case.name)
    repeated = {patient: names for patient, names in groups.items() if len(names) > 1}
    if not repeated or len(groups) < 2:
        return ()
    patient, names = next(iter(repeated.items()))
    what = (
        f"case names look like several scans of a patient: {', '.join(names[:3])} of {patient}"
        f" ({len(repeated)} such patients)"
    )
    remedy = "name them with --patients FILE ({case: patient}) or in patients.json beside dataset.json"
    return (_warning(what, "all scans of a patient in one fold", remedy),)


def fold_warnings(cases: Sequence[Case], *, ready: bool) -> tuple[Problem, ...]:
    """Say aloud that there will be fewer folds, or, as an error, that there cannot be any."""
    units = len({case.patient if case.patient is not None else ("case", case.name) for case in cases})
    if ready or units >= FOLD_COUNT or not cases:
        return ()
    words = "patients" if any(case.patient is not None for case in cases) else "labelled cases"
    what = f"there {'is' if units == 1 else 'are'} only {units} {words if units > 1 else words[:-1]}"
    if units < 2:
        slip = ", or correct the patients given with --patients" if words == "patients" else ""
        remedy = f"add labelled cases{slip}"
        return (
            Problem(severity=Severity.ERROR, what=what, expected="at least 2 to learn and to check", remedy=remedy),
        )
    remedy = f"nothing: cross-validation uses {units} folds; more cases give more"
    return (_warning(what, f"at least {FOLD_COUNT}, one for each fold", remedy),)


def label_findings(labels: Sequence[Label], facts: Sequence[CaseFacts]) -> tuple[Problem, ...]:
    """Report labels that no case has; as an error if there is no foreground at all."""
    counted = [case for case in facts if case.labelled and len(case.label_voxels) == len(labels)]
    totals = [sum(case.label_voxels[index] for case in counted) for index in range(len(labels))]
    if not counted or (totals and all(totals)):
        return ()
    if not any(totals):
        what = f"none of the {len(counted)} label maps has a voxel above 0"
        remedy = "check that labelsTr holds the label maps, not images of another kind"
        return (Problem(severity=Severity.ERROR, what=what, expected="foreground in some case", remedy=remedy),)
    absent = [f"{label.name} ({label.value})" for label, total in zip(labels, totals, strict=True) if not total]
    what = f"no case has a voxel of {', '.join(absent)}"
    remedy = "remove the label from dataset.json, or add cases that show it; it cannot be learned"
    return (_warning(what, "every label in some case", remedy),)


def copy_warnings(readings: Iterable[CaseReading], cases: Sequence[Case]) -> tuple[Problem, ...]:
    """Warn of training images that are equal byte for byte: both sides of a fold may see them."""
    first_image = {case.name: case.images[0] for case in cases}
    owners: dict[str, list[str]] = {}
    for reading in readings:
        digests: Mapping[str, str] = {file: state.sha256 for file, state in reading.digests.files.items()}
        image = first_image.get(reading.name)
        if image is not None and image in digests:
            owners.setdefault(digests[image], []).append(reading.name)
    found = []
    for names in owners.values():
        if len(names) > 1:
            remedy = (
                f"leave the copies out with --exclude {','.join(names[1:])}, or give them one patient with --patients"
            )
            found.append(_warning(f"the images of {', '.join(names[:5])} are equal", "different images", remedy))
    return tuple(found)


def _side_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    known = {_words(name): name for name in names}
    found = []
    for words, name in known.items():
        for left, right in (("left", "right"), ("l", "r"), ("lt", "rt")):
            other = tuple(right if word == left else word for word in words)
            if other != words and other in known:
                found.append((name, known[other]))
    return found


def _words(name: str) -> tuple[str, ...]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return tuple(word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word)


def _warning(what: str, expected: str, remedy: str) -> Problem:
    return Problem(severity=Severity.WARNING, what=what, expected=expected, remedy=remedy)
