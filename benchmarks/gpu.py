"""`make bench-gpu`: the training step, its epoch, the loader, folds side by side and prediction on one GPU.

Needs Python with torch and numpy, and what `--wheels` brings (safetensors and scipy; for the rows of batchgenerators
that and its needs; nnunetv2 where the peer's own trainer is to be timed); no image library. All is made up here,
nothing is fetched. It ends within ``--minutes`` (9): rows that no longer fit are left out, one that takes too long is
cut off, and both say so. Prints one table and writes ``results/<date>-<card>.json``; ``--device cpu --quick`` proves
every path with tiny sizes, and writes only where ``--out`` says.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_RESERVE_SECONDS = 15.0
_LOADER_CORES = 4


def main() -> None:
    """Run the rows in the order of their importance for as long as there is time."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("gpu: told to end"))  # and take the measuring process along
    began = time.monotonic()
    find_libraries(arguments.wheels)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    cores = use_few_cores()  # before a library counts them

    import gpu_rows
    import gpu_table
    import gpu_watch
    import table
    import torch
    from gpu_run import run
    from gpu_worker import Settings

    on_card = torch.device(arguments.device).type == "cuda"
    if on_card and not torch.cuda.is_available():
        sys.exit("gpu: no CUDA device here. What to do: run it on a machine with one, or with --device cpu --quick.")
    quick = arguments.quick or not on_card
    rows = [row for row in gpu_rows.rows() if arguments.only is None or arguments.only in row.name]
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings(
            device=arguments.device,
            folder=Path(scratch),
            quick=quick,
            ends_at=began + 60 * arguments.minutes - (0 if quick else _RESERVE_SECONDS),
            cores=cores,
        )
        keep = arguments.out or (None if quick else table.RESULTS)
        entries = run(rows, settings, keep)
    print(gpu_table.markdown(gpu_rows.rows(), entries))
    gpu_watch.end()


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


def use_few_cores() -> int:
    """Keep this process and its children on four cores where there are more; return how many it has.

    To be called before a library is imported that counts them.
    """
    cores = sorted(os.sched_getaffinity(0))[:_LOADER_CORES]
    os.sched_setaffinity(0, cores)
    return len(cores)


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
