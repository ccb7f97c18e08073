"""The data set: what there is of it, as plots and tables, with its warnings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from nnbox.errors import Problem, Severity
from nnbox.records.fingerprint import CaseFingerprint, Intensity
from nnbox.report.charts import Axis, Group, Range, distribution, ranges
from nnbox.report.document import (
    Block,
    Details,
    Drawing,
    Drawings,
    Flag,
    Flags,
    Level,
    Paragraph,
    Parts,
    Section,
    Statistic,
    Table,
)
from nnbox.report.facts import DataFacts
from nnbox.report.numbers import about, by, exact, whole
from nnbox.report.statistics import median_of

_AXES = ("z", "y", "x")


def data_section(data: DataFacts) -> Section:
    """Describe a data set."""
    blocks: list[Block] = [_introduction(data)]
    if data.problems:
        blocks.append(Flags(items=tuple(_flag(problem) for problem in data.problems)))
    if data.cases:
        blocks.append(_overview(data))
        blocks.append(Drawings(items=tuple(_drawings(data))))
        blocks.append(_label_table(data))
        if data.intensities:
            blocks.append(_intensity_table(data))
        blocks.append(Details(summary=f"All {len(data.cases)} training cases", blocks=(_case_table(data),)))
    return Section(key="data", title="The data set", blocks=tuple(blocks))


def _at(data: DataFacts, place: str) -> str:
    """Return an origin in the fingerprint; where it is not kept the origin names no file."""
    return f"{'fingerprint.json' if data.kept else ''}#{place}"


def _introduction(data: DataFacts) -> Paragraph:
    channels = ", ".join(f"{item.name}{' (CT)' if item.is_ct else ''}" for item in data.channels) or "unknown"
    labels = ", ".join(f"{item.name} ({item.value})" for item in data.labels) or "unknown"
    patients = f", of {data.patients} known patients" if data.patients else ""
    tests = f"{'dataset.json' if data.kept else ''}#/test_cases/*"
    return Paragraph(
        parts=(
            f"{data.task} lies in the layout “{data.layout}” and is {data.dimension}D: ",
            whole(len(data.cases), _at(data, "/cases/*"), Statistic.COUNT),
            f" training cases{patients}; images without labels: ",
            whole(data.test_cases, tests, Statistic.COUNT),
            f". Channels: {channels}. Labels: {labels}.",
        )
    )


def _flag(problem: Problem) -> Flag:
    where = ", ".join(part for part in (problem.case and f"case {problem.case}", problem.file) if part)
    level = Level.PROBLEM if problem.severity is Severity.ERROR else Level.ATTENTION
    title = f"{where}: {problem.what}" if where else problem.what[:1].upper() + problem.what[1:]
    parts = (f"Expected {problem.expected}. What to do: {problem.remedy}.",)
    return Flag(level=level, title=title, parts=parts, section="data")


def _overview(data: DataFacts) -> Table:
    """Tabulate the ranges of shapes, spacings and what cropping kept."""
    rows: list[tuple[Parts, ...]] = []
    for name, field, pick in (
        ("shape of the file, voxels", "source_shape_vox", lambda case: case.source_shape_vox),
        ("shape after cropping, voxels", "shape_vox", lambda case: case.shape_vox),
        ("spacing, mm", "spacing_mm", lambda case: case.spacing_mm),
    ):
        rows.append((((name),), *(_three(data, field, pick, kind) for kind in _KINDS)))
    place = _at(data, "/cases/*/crop_ratio")
    ratios = [case.crop_ratio for case in data.cases]
    cropped = tuple((about(pick(ratios), place, 3, kind),) for kind, pick in _KINDS.items())
    rows.append((("share kept by cropping",), *cropped))
    columns = ("per axis z × y × x", "smallest", "median", "largest")
    return Table(caption="Shapes and spacings", columns=columns, rows=tuple(rows))


_KINDS: dict[Statistic, Callable[[Sequence[float]], float | None]] = {
    Statistic.MIN: min,
    Statistic.MEDIAN: median_of,
    Statistic.MAX: max,
}


def _three(data: DataFacts, field: str, pick: Callable[[CaseFingerprint], Sequence[float]], kind: Statistic) -> Parts:
    values = [pick(case) for case in data.cases]
    places = range(3 - data.dimension, 3)
    return by(
        [
            about(_KINDS[kind]([row[axis] for row in values]), _at(data, f"/cases/*/{field}/{axis}"), 4, kind)
            for axis in places
        ]
    )


def _drawings(data: DataFacts) -> list[Drawing]:
    axes = range(3 - data.dimension, 3)
    count = len(data.cases)
    found = [
        distribution(
            "data-shapes",
            "Shapes after cropping",
            f"Sizes of {count} cases in voxels along each axis, one dot per case.",
            [Group(name=_AXES[a], values=tuple(float(case.shape_vox[a]) for case in data.cases)) for a in axes],
            Axis(label="voxels"),
        ),
        distribution(
            "data-spacings",
            "Spacings",
            f"Spacings of {count} cases in mm along each axis, one dot per case.",
            [Group(name=_AXES[a], values=tuple(case.spacing_mm[a] for case in data.cases), color=2) for a in axes],
            Axis(label="mm"),
        ),
    ]
    volumes = [_volumes(data, index) for index in range(len(data.labels))]
    if any(volumes):
        found.append(
            distribution(
                "data-volumes",
                "Label volumes",
                f"Volume of each label in the cases that hold it, in {_unit(data)}, on a logarithmic axis.",
                [
                    Group(name=label.name, values=volume, color=1)
                    for label, volume in zip(data.labels, volumes, strict=True)
                ],
                Axis(label=f"{_unit(data)}, logarithmic", logarithmic=True),
            )
        )
    if data.intensities:
        found.append(_intensity_drawing(data, data.intensities))
    return found


def _intensity_drawing(data: DataFacts, intensities: Sequence[Intensity]) -> Drawing:
    rows = [
        Range(
            name=channel.name,
            least=item.minimum,
            low=item.percentile_00_5,
            middle=item.mean,
            high=item.percentile_99_5,
            most=item.maximum,
        )
        for channel, item in zip(data.channels, intensities, strict=True)
    ]
    alt = (
        "For each channel: the range of all foreground voxels as a line, the 0.5 to 99.5 percentiles as a bar and the "
        "mean as a diamond."
    )
    return ranges("data-intensities", "Intensities of the foreground", alt, rows, "stored value")


def _volumes(data: DataFacts, index: int) -> tuple[float, ...]:
    """Return the volume of a label in each case that holds it: ml, in 2D mm²."""
    scale = 1.0 if data.dimension == 2 else 1e-3
    volumes = (case.label_voxels[index] * math.prod(case.spacing_mm) * scale for case in data.cases)
    return tuple(volume for volume in volumes if volume > 0)


def _unit(data: DataFacts) -> str:
    return "mm²" if data.dimension == 2 else "ml"


def _label_table(data: DataFacts) -> Table:
    rows = []
    for index, label in enumerate(data.labels):
        place = _at(data, f"/cases/*/label_voxels/{index}")
        voxels = [case.label_voxels[index] for case in data.cases]
        components = [case.components[index] for case in data.cases]
        rows.append(
            (
                (f"{label.name} ({label.value})",),
                (whole(sum(count > 0 for count in voxels), place, Statistic.POSITIVE), f" of {len(voxels)}"),
                (whole(min(voxels), place, Statistic.MIN),),
                (about(median_of(voxels), place, 4, Statistic.MEDIAN),),
                (whole(max(voxels), place, Statistic.MAX),),
                (whole(max(components), _at(data, f"/cases/*/components/{index}"), Statistic.MAX),),
            )
        )
    columns = ("label", "present in", "fewest voxels", "median voxels", "most voxels", "most components")
    return Table(caption="Labels over the training cases", columns=columns, rows=tuple(rows))


def _intensity_table(data: DataFacts) -> Table:
    fields = ("mean", "sd", "percentile_00_5", "percentile_99_5", "minimum", "maximum")
    rows: list[tuple[Parts, ...]] = []
    for index, (channel, item) in enumerate(zip(data.channels, data.intensities or (), strict=True)):
        cells = ((about(getattr(item, name), _at(data, f"/intensities/{index}/{name}"), 4),) for name in fields)
        voxels = whole(item.voxels, _at(data, f"/intensities/{index}/voxels"))
        rows.append(((channel.name,), *cells, (voxels,)))
    columns = ("channel", "mean", "sd", "0.5 %", "99.5 %", "smallest", "largest", "voxels used")
    return Table(caption="Intensities of foreground voxels at original resolution", columns=columns, rows=tuple(rows))


def _case_table(data: DataFacts) -> Table:
    axes = range(3 - data.dimension, 3)
    rows: list[tuple[Parts, ...]] = []
    for number, case in enumerate(data.cases):
        place = f"/cases/{number}"
        shape = by([whole(case.source_shape_vox[a], _at(data, f"{place}/source_shape_vox/{a}")) for a in axes])
        spacing = by([about(case.spacing_mm[a], _at(data, f"{place}/spacing_mm/{a}"), 4) for a in axes])
        kept = exact(case.crop_ratio, _at(data, f"{place}/crop_ratio"), 3)
        labels = (
            (whole(count, _at(data, f"{place}/label_voxels/{index}")),) for index, count in enumerate(case.label_voxels)
        )
        rows.append(((case.name,), shape, spacing, (kept,), *labels))
    columns = (
        *("case", "shape", "spacing, mm", "share kept by cropping"),
        *(f"{label.name}, voxels" for label in data.labels),
    )
    return Table(caption="Training cases", columns=columns, rows=tuple(rows))
