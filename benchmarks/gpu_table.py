"""The GPU rows as a table: what was measured, and "not measured" where nothing was."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from table import README, RESULTS, newest

BEGIN, END = "<!-- table: begin (make bench-gpu) -->", "<!-- table: end (make bench-gpu) -->"
QUALITY_BEGIN, QUALITY_END = "<!-- table: begin (gpu_quality.py) -->", "<!-- table: end (gpu_quality.py) -->"
_HEAD = ("row", "job", "reference", "theirs", "ours", "ratio", "target", "further figures, remarks", "card, measured")
_MISSING = "not measured"


def line(entry: dict[str, Any]) -> str:
    """Return a row for a terminal."""
    if entry["not_measured"]:
        return f"{entry['name']:28} {_MISSING}: {entry['not_measured']}"
    figures = "".join(f"; {name} {value:g}" for name, value in entry["figures"].items())
    theirs = "–" if entry["reference"] == "–" else _seconds(entry["reference_median"])
    ours = _seconds(entry["ours_median"])
    return f"{entry['name']:28} {theirs:>10} {ours:>10} {_ratio(entry):>8}  {_target(entry)}{figures}"


def markdown(rows: Iterable[Any], entries: Sequence[dict[str, Any]]) -> str:
    """Return the table of all rows: an entry for each card it was measured on, or a line without figures."""
    lines = [_joined(_HEAD), _joined(["---"] * len(_HEAD))]
    for row in rows:
        found = [entry for entry in entries if entry["name"] == row.name]
        lines += [_entry_line(entry) for entry in found] or [_empty_line(row)]
    return "\n".join(lines)


def _entry_line(entry: dict[str, Any]) -> str:
    missing = entry["not_measured"]
    figures = "; ".join(f"{name} {value:g}" for name, value in entry["figures"].items())
    theirs = "–" if entry["reference"] == "–" else _seconds(entry["reference_median"])
    remark = f"{_MISSING}: {missing}" if missing else entry["remark"]
    where = f"{entry.get('device', '')} {entry.get('measured', '')[:10]}".strip()
    return _joined(
        (
            f"`{entry['name']}`",
            entry["job"],
            entry["reference"],
            theirs,
            _seconds(entry["ours_median"]),
            _ratio(entry),
            _target(entry),
            "; ".join(part for part in (figures, remark) if part),
            where,
        )
    )


def _empty_line(row: Any) -> str:
    theirs = "–" if row.reference == "–" else _MISSING
    cells = (f"`{row.name}`", row.job, row.reference, theirs, _MISSING, "–", _wanted(row.target, row.limit_seconds))
    return _joined((*cells, "", ""))


def _joined(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _ratio(entry: dict[str, Any]) -> str:
    return "–" if entry["ratio"] is None else f"{entry['ratio']:.2f}x"


def _target(entry: dict[str, Any]) -> str:
    wanted = _wanted(entry["target"], entry["limit_seconds"])
    if entry["quick"]:
        return f"{wanted} (tiny sizes, not judged)"
    if entry["ours_median"] is None or wanted == "–":
        return wanted
    met = entry["limit_seconds"] is None or entry["ours_median"] <= entry["limit_seconds"]
    if entry["target"] is not None:
        if entry["ratio"] is None:
            return f"{wanted} (ratio {_MISSING})"
        met = met and entry["ratio"] >= entry["target"]
    return f"{wanted} ({'met' if met else 'not met'})"


def _wanted(target: float | None, limit_seconds: float | None) -> str:
    parts = [] if target is None else [f"≥ {target:g}x"]
    parts += [] if limit_seconds is None else [f"≤ {limit_seconds:g} s"]
    return " and ".join(parts) or "–"


def _seconds(value: float | None) -> str:
    if value is None:
        return _MISSING
    return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s" if value >= 1 else f"{value * 1000:.3g} ms"


def quality_markdown(documents: Sequence[dict[str, Any]]) -> str:
    """Return the table of `gpu_quality.py`: the documents' summaries, and lines without figures for missing systems."""
    head = ("system", "trainings", "Dice anterior, mean ± sd", "Dice posterior, mean ± sd", "card, measured")
    lines = [_joined(head), _joined(["---"] * len(head))]
    for system in ("ours", "peer"):
        found = [document for document in documents if document["system"] == system]
        for kind in ("seeds of fold 0", "folds with seed 0"):
            lines += [_quality_line(document, kind) for document in found]
            lines += [] if found else [_joined((system, kind, _MISSING, _MISSING, ""))]
    return "\n".join(lines)


def _quality_line(document: dict[str, Any], kind: str) -> str:
    summary = document["summary"][kind]
    cells = [
        f"{mean:.4f}" + ("" if sd is None else f" ± {sd:.4f}")
        for mean, sd in zip(summary["mean"], summary["sd"], strict=True)
    ]
    where = f"{document['device']} {document['measured'][:10]}"
    return _joined((document["system"], f"{kind} ({summary['count']})", *cells, where))


def quality_documents(folder: Path = RESULTS / "quality") -> list[dict[str, Any]]:
    """Return what was measured, the newest of each system and card."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        document = json.loads(path.read_text())
        found[document["system"], document["device"]] = document
    return list(found.values())


def with_tables(text: str, rows: Iterable[Any]) -> str:
    """Return a text with both tables between their markers."""
    text = _between(text, BEGIN, END, markdown(rows, newest(on_cpu=False)))
    return _between(text, QUALITY_BEGIN, QUALITY_END, quality_markdown(quality_documents()))


def _between(text: str, begin: str, end: str, rendered: str) -> str:
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{rendered}\n\n{end}{after}"


def main() -> None:
    """Put the tables between the markers of the README."""
    from gpu_rows import rows

    README.write_text(with_tables(README.read_text(), rows()))


if __name__ == "__main__":
    main()
