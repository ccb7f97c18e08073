"""Results of `bench.py` in files, and the table in ``README.md`` that is made of them."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
README = HERE / "README.md"
BEGIN, END = "<!-- table: begin (make bench) -->", "<!-- table: end -->"
COMMANDS = ("make bench", "make bench-peer")
_LIBRARIES = ("numpy", "scipy", "torch", "SimpleITK", "scikit-image", "batchgenerators")


def record(entry: dict[str, Any], *, device: str, folder: Path = RESULTS) -> None:
    """Put a row's entry into today's results; an earlier one of the same name is replaced."""
    document = _todays(device, folder)
    entry = {**entry, "measured": time.strftime("%Y-%m-%dT%H:%M:%S"), "commit": commit()}
    others = [row for row in document["rows"] if row["name"] != entry["name"]]
    _keep(device, folder, {**document, "rows": sorted([*others, entry], key=lambda row: row["name"])})


def record_total(command: str, seconds: float, *, device: str) -> None:
    """Put into today's results how long a command took for all its rows."""
    document = _todays(device, RESULTS)
    total = {"seconds": round(seconds), "measured": time.strftime("%Y-%m-%dT%H:%M:%S")}
    _keep(device, RESULTS, {**document, "totals": {**document.get("totals", {}), command: total}})


def _path(device: str, folder: Path) -> Path:
    return folder / f"{time.strftime('%Y-%m-%d')}-{device}.json"


def _todays(device: str, folder: Path) -> dict[str, Any]:
    path = _path(device, folder)
    return json.loads(path.read_text()) if path.exists() else {"rows": []}


def _keep(device: str, folder: Path, document: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    document = {"device": device, **document, "machine": machine()}
    _path(device, folder).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "processor": model or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        **{name: found for name in _LIBRARIES if (found := _version(name)) is not None},
    }


def _version(library: str) -> str | None:
    """Return None where it is not installed: the machine of a GPU has few libraries."""
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def commit() -> str:
    """Return what git calls this checkout, or nothing."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def newest(*, on_cpu: bool = True) -> list[dict[str, Any]]:
    """Return the newest entry of each row and device over all results, in order of name: of the CPU, or of cards."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(RESULTS.glob("*.json")):
        document = json.loads(path.read_text())
        if (document["device"] == "cpu") is not on_cpu:
            continue
        for row in document["rows"]:
            key = f"{row['name']} {document['device']}"
            if key not in found or found[key]["measured"] <= row["measured"]:
                found[key] = {**row, "device": document["device"]}
    return [found[key] for key in sorted(found)]


def line(entry: dict[str, Any]) -> str:
    """Return a row for a terminal."""
    if entry["ratio"] is None:
        return f"{entry['name']:34}{entry['remark']}"
    slow, fast = _seconds(entry["reference_median"]), _seconds(entry["ours_median"])
    judged = "" if entry["target"] is None else f" (target {entry['target']:g}: {_met(entry)})"
    figures = "".join(f"; {name} {value:g}" for name, value in entry["figures"].items())
    return f"{entry['name']:34}{slow:>10} {fast:>10} {entry['ratio']:>7.1f}x{judged}; {entry['agreement']}{figures}"


def markdown(entries: list[dict[str, Any]]) -> str:
    """Return the table."""
    head = (
        "| row | job | reference | theirs | ours | ratio | target | agreement | further figures, remarks | measured |"
    )
    lines = [head, "|---|---|---|---|---|---|---|---|---|---|"]
    for entry in entries:
        figures = "; ".join(f"{name} {value:g}" for name, value in entry["figures"].items())
        target = "–" if entry["target"] is None else f"≥ {entry['target']:g}x ({_met(entry)})"
        cells = [
            f"`{entry['name']}`",
            entry["job"],
            entry["reference"],
            _seconds(entry["reference_median"]),
            _seconds(entry["ours_median"]),
            "–" if entry["ratio"] is None else f"**{entry['ratio']:.1f}x**",
            target,
            entry["agreement"],
            "; ".join(part for part in (figures, entry["remark"]) if part),
            entry["measured"][:10],
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def totals() -> str:
    """Return in words how long the two commands took last, each for all its rows."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(RESULTS.glob("*.json")):
        found |= json.loads(path.read_text()).get("totals", {})
    words = [
        f"`{command}`: {found[command]['seconds'] / 60:.1f} minutes ({found[command]['measured'][:10]})"
        if command in found
        else f"`{command}`: not measured"
        for command in COMMANDS
    ]
    return f"All rows at once took: {'; '.join(words)}."


def rendered() -> str:
    """Return what stands between the markers: the table, and how long it took."""
    return f"{markdown(newest())}\n\n{totals()}"


def write() -> None:
    """Put the table between the markers of the README."""
    README.write_text(with_table(README.read_text(), rendered()))


def with_table(text: str, table: str) -> str:
    """Return a text with the table between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def _met(entry: dict[str, Any]) -> str:
    if entry["ratio"] is None:
        return "not measured"
    return "met" if entry["ratio"] >= entry["target"] else "not met"


def _seconds(value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s" if value >= 1 else f"{value * 1000:.3g} ms"
