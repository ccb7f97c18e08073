"""What the user decided, applied to the draft: exclusions, channel names, mirror axes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nnbox.errors import Problem, Severity
from nnbox.intake.facts import CaseFacts
from nnbox.intake.options import IntakeOptions
from nnbox.layouts.draft import LayoutDraft
from nnbox.records.dataset import Case, Channel, Choices

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
AXES = ("z", "y", "x")
NO_AXES = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The cases that are left, and the findings that are left or new."""

    cases: tuple[Case, ...]
    test_cases: tuple[Case, ...]
    problems: tuple[Problem, ...]


def without_excluded(draft: LayoutDraft, options: IntakeOptions, *, training: bool) -> Chosen:
    """Drop excluded cases and every finding about them; a name that nothing bears is an error.

    Args:
        draft: as detected.
        options: with the names to leave out.
        training: keep labelled cases and the findings about them.
    """
    everything = (*draft.problems, *draft.training_problems)
    names = {printable(case.name) for case in (*draft.cases, *draft.test_cases)}
    names |= {printable(problem.case) for problem in everything if problem.case is not None}
    excluded = {printable(name) for name in options.exclude}
    problems = [
        _error(
            f"--exclude names {name!r}, which the data set does not have",
            "the name of a case" + (f", such as {min(names)}" if names else ""),
            "correct the name after --exclude",
        )
        for name in sorted(excluded - names)
    ]
    found = everything if training else draft.problems
    problems.extend(problem for problem in found if problem.case is None or printable(problem.case) not in excluded)
    return Chosen(
        cases=tuple(case for case in draft.cases if training and printable(case.name) not in excluded),
        test_cases=tuple(case for case in draft.test_cases if printable(case.name) not in excluded),
        problems=tuple(problems),
    )


def channel_names(
    draft: LayoutDraft, options: IntakeOptions, facts: Sequence[CaseFacts]
) -> tuple[tuple[str, ...], tuple[Problem, ...]]:
    """Return the names of the channels: the user's, else the data set's, else ``channel_0`` … as most cases have."""
    if options.channels is not None:
        stated = len(draft.channels) if draft.channels is not None else len(options.channels)
        if stated != len(options.channels):
            what = f"--channels names {len(options.channels)} channel(s): {', '.join(options.channels)}"
            expected = f"{stated}, as dataset.json has: {', '.join(draft.channels or ())}"
            return options.channels, (_error(what, expected, "correct --channels or dataset.json"),)
        return options.channels, ()
    if draft.channels is not None:
        return draft.channels, ()
    counts = Counter(case.channels for case in facts)
    most = max(counts, key=lambda count: (counts[count], count)) if counts else 0
    return tuple(f"channel_{index}" for index in range(most)), ()


def channels_of(names: Sequence[str]) -> tuple[Channel, ...]:
    """Return the channels; CT is the whole word, in any case. Source: 2018 §2.2."""
    return tuple(Channel(name=name, is_ct=name.strip().lower() == "ct") for name in names)


def mirror_axes(options: IntakeOptions) -> tuple[tuple[str, ...] | None, tuple[Problem, ...]]:
    """Return the mirror axes in the order z, y, x (``none``: no axis), and the finding about a name that is none."""
    if options.mirror_axes is None or options.mirror_axes == (NO_AXES,):
        return (None if options.mirror_axes is None else ()), ()
    unknown = sorted(set(options.mirror_axes) - set(AXES))
    problems = tuple(
        _error(f"--mirror-axes names {axis!r}", "axes of the file: z, y, x, or none", "correct --mirror-axes")
        for axis in unknown
    )
    return tuple(axis for axis in AXES if axis in options.mirror_axes), problems


def recorded(options: IntakeOptions, axes: tuple[str, ...] | None) -> Choices:
    """Return the choices as the data-set record and the plan keep them."""
    return Choices(
        channels=options.channels,
        excluded=tuple(sorted({printable(name) for name in options.exclude})),
        trust_image_grid=options.trust_image_grid,
        replace_nonfinite=options.replace_nonfinite,
        mirror_axes=axes,
    )


def printable(text: str) -> str:
    """Return a text that can be shown: what is no UTF-8, or would command a terminal, is spelt out as escapes."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _error(what: str, expected: str, remedy: str) -> Problem:
    return Problem(severity=Severity.ERROR, what=what, expected=expected, remedy=remedy)
