"""Pack a run's prepared cases with its plan and folds into one small archive, to be carried to the machine of a card.

``export_prepared.py RUN ARCHIVE`` takes what ``nnbox train --until preprocess`` left in RUN; `unpacked` undoes it.
Lossless: the arrays are stored as they are, deflated. The drawn voxels of each label are left out and drawn again.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnbox.records.codec import read_record
from nnbox.records.plan import Folds, Plan
from nnbox.training.store import draw_voxels, load_labels, store_paths

MOST_BYTES = 64 * 2**20
_RECORDS = ("plan.json", "folds.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What an archive held.

    Attributes:
        plan, folds: of the run.
        store: folder of the configuration's prepared cases.
        configuration: its name.
    """

    plan: Plan
    folds: Folds
    store: Path
    configuration: str


def export(run: Path, archive: Path, configuration: str) -> int:
    """Write the archive; return its bytes.

    Raises:
        ValueError: the run has no prepared cases of that configuration, or they do not fit.
    """
    store = run / "prepared" / configuration
    cases = sorted(path.name.removesuffix(".image.npy") for path in store.glob("*.image.npy"))
    if not cases:
        raise ValueError(f"{store} holds no prepared cases. What to do: nnbox train --until preprocess first.")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as stream:
        for name in _RECORDS:
            stream.write(run / name, name)
        for case in cases:
            image, labels, _, record = store_paths(store, case)
            for path in (image, labels, record):
                stream.write(path, f"{configuration}/{path.name}")
    size = archive.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{archive} takes {size / 2**20:.0f} MiB, more than {MOST_BYTES / 2**20:.0f}")
    return size


def unpacked(archive: Path, folder: Path) -> Prepared:
    """Unpack an archive into a folder, as a prepared store that training reads."""
    with zipfile.ZipFile(archive) as stream:
        stream.extractall(folder)
    (store,) = (path for path in folder.iterdir() if path.is_dir())
    for path in sorted(store.glob("*.labels.npy")):
        case = path.name.removesuffix(".labels.npy")
        np.save(store_paths(store, case)[2], draw_voxels(case, load_labels(store, case)))
    plan, folds = read_record(folder / "plan.json", Plan), read_record(folder / "folds.json", Folds)
    return Prepared(plan=plan, folds=folds, store=store, configuration=store.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="output folder of nnbox train --until preprocess")
    parser.add_argument("archive", type=Path, help="zip to write")
    parser.add_argument("--configuration", default="3d_fullres")
    arguments = parser.parse_args()
    try:
        size = export(arguments.run, arguments.archive, arguments.configuration)
    except (ValueError, OSError) as error:
        sys.exit(f"export_prepared: {error}")
    print(f"{arguments.archive}: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
