"""How the networks learned: curves of every configuration and fold, and what each training took."""

from __future__ import annotations

from collections.abc import Sequence

from nnbox.report.charts import Axis, Curve, curves
from nnbox.report.document import (
    Block,
    Details,
    Drawing,
    Drawings,
    Heading,
    Paragraph,
    Parts,
    Section,
    Statistic,
    Table,
)
from nnbox.report.facts import Progress, RunFacts
from nnbox.report.numbers import exact, lasting, whole
from nnbox.report.statistics import median_of

_MOST_POINTS = 300


def training_section(run: RunFacts) -> Section | None:
    """Describe the trainings; None where none was begun."""
    if not run.progress:
        return None
    units = len(run.progress)
    blocks: list[Block] = [
        Paragraph(
            parts=(
                whole(units, "training/*/*/progress.csv#/0/epoch", Statistic.COUNT),
                " networks begun, ",
                whole(len(run.results), "training/*/*/result.json#/fold", Statistic.COUNT),
                " finished. The final weights count: nothing "
                "is chosen on validation data during training. Dice here is over random validation patches, a rough "
                "guide only; the cross-validation below is on whole images.",
            )
        )
    ]
    planned = [item.name for item in run.plan.configurations] if run.plan is not None else []
    names = dict.fromkeys(item.configuration for item in run.progress)
    names = dict.fromkeys((*(name for name in planned if name in names), *names))
    for name in names:
        begun = [item for item in run.progress if item.configuration == name]
        blocks.append(Heading(text=name))
        blocks.append(Drawings(items=_drawings(name, begun)))
    blocks.append(Details(summary=f"All {units} trainings as a table", blocks=(_table(run),)))
    return Section(key="training", title="Training", blocks=tuple(blocks))


def _drawings(name: str, begun: Sequence[Progress]) -> tuple[Drawing, ...]:
    folds = [(f"fold {item.fold}", item.fold, False) for item in begun]
    kinds = [("training", begun[0].fold, False), ("validation", begun[0].fold, True)]
    told = f"{name}, {len(begun)} fold{'' if len(begun) == 1 else 's'}"
    losses = [
        _curve(item, item.columns[column], broken=broken)
        for item in begun
        for column, broken in (("training_loss", False), ("validation_loss", True))
    ]
    key = f"curve-{name}"
    return (
        curves(
            f"{key}-loss", "Loss", f"Loss of {told} over epochs: training as a line, validation dotted; lower is "
            f"better. {_ends(begun, 'training_loss')}", losses, Axis(label="loss"), kinds,
        ),
        curves(
            f"{key}-dice", "Dice on validation patches", f"Mean Dice of {told} over epochs; higher is better.",
            [_curve(item, item.dice()) for item in begun], Axis(label="Dice", low=0, high=1), folds,
        ),
        curves(
            f"{key}-rate", "Learning rate", f"Learning rate of {told} over epochs, on a logarithmic axis.",
            [_curve(item, item.columns["rate"]) for item in begun], Axis(label="rate", logarithmic=True),
        ),
        curves(
            f"{key}-time", "Seconds per epoch", f"Seconds that each epoch of {told} took.",
            [_curve(item, item.columns["seconds"]) for item in begun], Axis(label="s", low=0),
        ),
    )  # fmt: skip


def _ends(begun: Sequence[Progress], column: str) -> str:
    ends = [(item.columns[column][0], item.columns[column][-1]) for item in begun if item.columns[column]]
    first = median_of([end[0] for end in ends])
    last = median_of([end[1] for end in ends])
    return "" if first is None or last is None else f"It went from {first:.3f} to {last:.3f} (median over folds)."


def _curve(item: Progress, values: Sequence[float | None], *, broken: bool = False) -> Curve:
    """Return a line of at most 300 points: longer ones keep every n-th epoch and the last."""
    step = -(-len(values) // _MOST_POINTS) if values else 1
    places = [*range(0, len(values), step)]
    if values and places[-1] != len(values) - 1:
        places.append(len(values) - 1)
    return Curve(
        x=tuple(float(place + 1) for place in places),
        y=tuple(values[place] for place in places),
        color=item.fold,
        broken=broken,
    )


def _table(run: RunFacts) -> Table:
    results = {(item.configuration, item.fold): item for item in run.results}
    rows: list[tuple[Parts, ...]] = []
    for item in run.progress:
        result = results.get((item.configuration, item.fold))
        seconds = item.columns["seconds"]
        loss = item.columns["training_loss"]
        rows.append(
            (
                (f"{item.configuration}, fold {item.fold}",),
                (whole(len(seconds), f"{item.path}#/*/epoch", Statistic.COUNT),),
                (exact(loss[0] if loss else None, f"{item.path}#/0/training_loss", 3),),
                (exact(loss[-1] if loss else None, f"{item.path}#/-1/training_loss", 3),),
                (lasting(median_of(seconds) or 0.0, f"{item.path}#/*/seconds", Statistic.MEDIAN),),
                (lasting(sum(value or 0.0 for value in seconds), f"{item.path}#/*/seconds", Statistic.SUM),),
                (result.stopped_by if result else "not finished",),
            )
        )
    columns = ("network", "epochs", "first loss", "last loss", "median epoch", "all epochs", "ended because")
    return Table(caption="Trainings", columns=columns, rows=tuple(rows))
