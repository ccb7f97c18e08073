"""Whether what was trained would come out the same again; if not, which option or file is the cause, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nnbox.errors import ChangedRunError
from nnbox.stages.context import Context
from nnbox.stages.job import Job
from nnbox.stages.receipts import Difference
from nnbox.stages.schedule import OPTION, begun, training_unit

_MOST_LINES = 20
_NOT_GIVEN = (None, "None", "")
_BY_DEVICE = ("precision", "augmentation")


def require_unchanged(context: Context, job: Job) -> None:
    """See that no trained unit, finished or begun, in this run's schedule or not, would have to be thrown away.

    Raises:
        ChangedRunError: inputs, options or version differ; the message lists each difference.
    """
    folds = range(len(job.folds.validation))
    places = [(item.name, fold) for item in job.plan.configurations for fold in folds]
    units = {unit.name: unit for unit in (training_unit(context, job, place) for place in places)}
    changed: dict[Difference, list[str]] = {}
    unknown = [name for name in context.receipts.names("training") if name not in units]
    for unit in units.values():
        for recorded in (unit, begun(unit)):
            for difference in context.receipts.differences(recorded) or ():
                changed.setdefault(difference, []).append(unit.name.removeprefix("training/"))
    if not changed and not unknown:
        return
    lines = [f"  - {_words(difference)} ({_few(names)})" for difference, names in changed.items()]
    if unknown:
        names = [name.removeprefix("training/") for name in unknown]
        lines.insert(0, f"  - units that this plan does not have ({_few(names)})")
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"  - … and {len(lines) - _MOST_LINES} more differences"]
    raise ChangedRunError(
        f"{context.workspace.root} holds networks, trained or begun, that this command would not give again. What "
        "changed:\n" + "\n".join(lines) + f"\nWhat to do: {_remedy(changed)}; or use another --output; or add "
        "--restart, which moves the old run aside."
    )


def _words(difference: Difference) -> str:
    """Return a difference as people know it: by its option, where there is one."""
    if (option := _option(difference)) is None:
        return difference.words
    before, now = ("not given" if value in _NOT_GIVEN else value for value in (difference.before, difference.now))
    by_device = option in _BY_DEVICE and "auto" in (before, now)
    return f"--{option}: {before} -> {now}" + (", where auto chooses by the device" if by_device else "")


def _remedy(changed: Iterable[Difference]) -> str:
    """Return how the command was, as far as its options are the cause."""
    options = {option: item.before for item in changed if (option := _option(item)) is not None}
    given = [f"--{option} {before}" for option, before in options.items() if before not in _NOT_GIVEN]
    dropped = [f"--{option}" for option, before in options.items() if before in _NOT_GIVEN]
    words = "repeat the command as it was"
    if given:
        words += f", with {' '.join(given)}"
    if dropped:
        words += f"{' and' if given else ','} without {' '.join(dropped)}"
    return words


def _option(difference: Difference) -> str | None:
    return difference.name.removeprefix(OPTION) if difference.name.startswith(OPTION) else None


def _few(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    return ", ".join(unique) if len(unique) <= 3 else f"{unique[0]} and {len(unique) - 1} other units"
