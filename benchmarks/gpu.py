"""`make bench-gpu`: the training step, its epoch, the loader, folds side by side and prediction on one GPU.

Needs Python with torch and numpy, and what `--wheels` brings (safetensors and scipy; for the rows of batchgenerators
that and its needs; nnunetv2 where the peer's own trainer is to be timed); no image library. All is made up here,
nothing is fetched. It ends within ``--minutes`` (9): rows that no longer fit are left out and said to
be. Prints one table and writes ``results/<date>-<card>.json``; ``--device cpu --quick`` proves every path with tiny
sizes, and writes only where ``--out`` says.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
import traceback
from pathlib import Path
from statistics import median
from typing import Any

_HERE = Path(__file__).resolve().parent
_RESERVE_SECONDS = 15.0


def main() -> None:
    """Run the rows in the order of their importance for as long as there is time."""
    arguments = _arguments()
    began = time.monotonic()
    find_libraries(arguments.wheels)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    import gpu_place
    import gpu_rows
    import gpu_table
    import table
    import torch
    from roofline import measure_rates

    on_card = torch.device(arguments.device).type == "cuda"
    if on_card and not torch.cuda.is_available():
        sys.exit("gpu: no CUDA device here. What to do: run it on a machine with one, or with --device cpu --quick.")
    cores = gpu_place.use_few_cores()
    with tempfile.TemporaryDirectory() as scratch:
        place = gpu_place.GpuPlace(
            device=arguments.device,
            folder=Path(scratch),
            quick=arguments.quick or not on_card,
            amounts=gpu_place.QUICK if arguments.quick or not on_card else gpu_place.Amounts(),
            ends_at=began + 60 * arguments.minutes - (0 if arguments.quick else _RESERVE_SECONDS),
        )
        kind = torch.bfloat16 if place.on_card else torch.float32
        place.rates = measure_rates(
            place.device, kind, size=place.amounts.matrix, copied_bytes=place.amounts.copied_bytes
        )
        card = {
            **place.card(),
            "cpu_cores": cores,
            "measured_tflop_per_second": _number(place.rates.operations_per_second / 1e12),
            "measured_gb_per_second": _number(place.rates.bytes_per_second / 1e9),
        }
        print(", ".join(f"{name} {value}" for name, value in card.items()), flush=True)
        entries = []
        for row in gpu_rows.rows():
            if arguments.only and arguments.only not in row.name:
                continue
            entries.append(entry := measure(row, place))
            print(gpu_table.line(entry), flush=True)
            if arguments.out is not None or (place.on_card and not place.quick):
                folder = arguments.out or table.RESULTS
                table.record({**entry, "card": card}, device=_slug(card["card"]), folder=folder)
    print(gpu_table.markdown(gpu_rows.rows(), entries))


def measure(row: Any, place: Any) -> dict[str, Any]:
    """Run a row and return its entry; what cannot be measured says why, and does not end the others."""
    from gpu_rows import Measured, NotMeasured

    needs = 1.0 if place.quick else row.needs_seconds
    reason, found = "", Measured(ours=[])
    if place.left_seconds < needs:
        reason = f"{place.left_seconds:.0f} s were left, it may need {needs:.0f}"
    else:
        try:
            found = row.work(place)
        except NotMeasured as error:
            reason = str(error)
        except Exception as error:
            traceback.print_exc()
            reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        finally:
            place.forget_peak()
    theirs = median(found.theirs) if found.theirs else None
    ours = median(found.ours) if found.ours else None
    return {
        "name": row.name,
        "job": row.job,
        "reference": found.reference or row.reference,
        "threads": None,
        "reference_seconds": [_number(value) for value in found.theirs or ()],
        "ours_seconds": [_number(value) for value in found.ours],
        "reference_median": _number(theirs),
        "ours_median": _number(ours),
        "ratio": None if theirs is None or ours is None else _number(theirs / ours),
        "target": row.target,
        "limit_seconds": row.limit_seconds,
        "agreement": "–",
        "agrees": True,
        "figures": {name: _number(value) for name, value in found.figures.items()},
        "remark": found.remark,
        "not_measured": reason,
        "quick": place.quick,
    }


def _number(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _slug(card: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")


def find_libraries(folder: Path | None) -> None:
    """Let wheels (they are zips; those with compiled parts are unpacked) and this project be imported."""
    sys.path.insert(0, str(_HERE.parent))
    if folder is None:
        return
    import zipfile

    unpacked = Path(tempfile.mkdtemp(prefix="wheels-"))
    for wheel in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)
    sys.path.append(str(unpacked))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(unpacked))))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=9.0, help="all of it, compilation included")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to import from")
    parser.add_argument("--only", metavar="PART", help="rows whose name contains this")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, as always on a CPU: proves the paths")
    parser.add_argument("--out", type=Path, help="folder of the results instead of benchmarks/results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
