"""The GPU rows as a table: what was measured, and "not measured" where nothing was."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from table import README, newest

BEGIN, END = "<!-- table: begin (make bench-gpu) -->", "<!-- table: end (make bench-gpu) -->"
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


def with_table(text: str, rendered: str) -> str:
    """Return a text with the table between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{rendered}\n\n{END}{after}"


def main() -> None:
    """Put the table between the markers of the README."""
    from gpu_rows import rows

    README.write_text(with_table(README.read_text(), markdown(rows(), newest(on_cpu=False))))


if __name__ == "__main__":
    main()
