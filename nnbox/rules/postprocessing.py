"""When only the largest component of a prediction is kept. Pure decisions; finding components is imaging's work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nnbox.records.results import PostprocessingStep

SMALLEST_GAIN = 1e-4
Dice = tuple[float | None, ...]


def single_component_labels(components: Sequence[Sequence[int]]) -> tuple[PostprocessingStep, ...]:
    """Return a step for every label that has exactly one component in each reference that holds it.

    A label that no reference holds gets no step.

    Args:
        components: per training case the number of components of each label 1..K, 0 where it is absent.

    Raises:
        ValueError: the cases differ in their number of labels.

    Source: 2018 §2.5
    """
    steps = []
    for label, counts in enumerate(zip(*components, strict=True), start=1):
        held = [count for count in counts if count > 0]
        if held and all(count == 1 for count in held):
            steps.append(PostprocessingStep(label=label))
    return tuple(steps)


def accept_step(before: Sequence[Dice], after: Sequence[Dice]) -> tuple[bool, str]:
    """Decide whether a step helps on the cross-validation's label maps.

    It is accepted if the mean Dice rises by more than 1e-4, no label's mean falls, and no case loses a label that its
    reference has: with the Dice alone, a value above 0 that falls to 0. Means are over the cases that define a label,
    then over labels; a case's Dice stays defined unless neither reference nor prediction holds the label any more.

    Args:
        before: per case the Dice of each label, None where undefined, without the step.
        after: the same cases and labels with the step.

    Returns:
        Whether it is accepted, and why in words.

    Raises:
        ValueError: the two differ in cases or labels.

    Source: own (2019 §4 leaves it open)
    """
    lost = _first_loss(before, after)
    old, new = _means(before), _means(after)
    old_mean, new_mean = _mean(old), _mean(new)
    if old_mean is None or new_mean is None:
        return False, "no case defines a Dice to judge it by"
    change = f"mean Dice {old_mean:.4f} -> {new_mean:.4f}"
    if not new_mean - old_mean > SMALLEST_GAIN:
        return False, f"{change}: no rise by more than {SMALLEST_GAIN:g}"
    for label, (was, now) in enumerate(zip(old, new, strict=True), start=1):
        if was is not None and now is not None and now < was:
            return False, f"{change}, but label {label} falls from {was:.4f} to {now:.4f}"
    if lost is not None:
        case, label = lost
        return False, f"{change}, but case number {case + 1} loses label {label} that its reference has"
    return True, f"{change}, no label falls and no case loses a label"


def _first_loss(before: Sequence[Dice], after: Sequence[Dice]) -> tuple[int, int] | None:
    for case, (olds, news) in enumerate(zip(before, after, strict=True)):
        for label, (old, new) in enumerate(zip(olds, news, strict=True), start=1):
            if old is not None and old > 0 and new == 0:
                return case, label
    return None


def _means(cases: Sequence[Dice]) -> tuple[float | None, ...]:
    return tuple(_mean(values) for values in zip(*cases, strict=True))


def _mean(values: Iterable[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
