"""Run by the other tool's Python: random patches from its compressed store and from ours, in turn, on one thread.

``peer_patches.py OURS THEIRS`` copies the cases of our store OURS into a store THEIRS as the other tool writes it, then
prints one line of JSON. Each patch is copied out of the store, image and labels; files are in the page cache.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2

from nnbox.training.store import load_image, load_labels, store_paths

_PATCH, _DRAWS = 128, 60


def main() -> None:
    ours, theirs = Path(sys.argv[1]), Path(sys.argv[2])
    shutil.rmtree(theirs, ignore_errors=True)  # it does not overwrite
    theirs.mkdir(parents=True)
    cases = sorted(path.name.removesuffix(".image.npy") for path in ours.glob("*.image.npy"))
    bytes_of = {"ours": 0, "theirs": 0}
    voxels = 0
    for case in cases:
        image = np.array(load_image(ours, case))
        labels = np.array(load_labels(ours, case)).astype(np.int8)[None]
        blocks, chunks = _blocks(image.shape, image.itemsize)
        label_blocks, label_chunks = _blocks(labels.shape, labels.itemsize)
        layout = {"chunks": chunks, "blocks": blocks, "chunks_seg": label_chunks, "blocks_seg": label_blocks}
        nnUNetDatasetBlosc2.save_case(image, labels, {}, str(theirs / case), **layout)
        bytes_of["ours"] += sum(_on_disk(path) for path in store_paths(ours, case)[:2])
        bytes_of["theirs"] += sum(_on_disk(theirs / f"{case}{end}") for end in (".b2nd", "_seg.b2nd"))
        voxels += image[0].size
    print(
        json.dumps(
            {**_timed(ours, theirs, cases), **{f"{who}_bytes": n for who, n in bytes_of.items()}, "voxels": voxels}
        )
    )


def _blocks(shape: tuple[int, ...], itemsize: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return comp_blosc2_params(shape, (_PATCH,) * 3, itemsize)


def _on_disk(path: Path) -> int:
    return path.stat().st_blocks * 512


def _timed(ours: Path, theirs: Path, cases: list[str]) -> dict[str, float]:
    rng = np.random.default_rng(0)
    dataset = nnUNetDatasetBlosc2(str(theirs))
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    equal = True
    opened = {case: (load_image(ours, case), load_labels(ours, case)) for case in cases}
    for draw in range(_DRAWS):
        case = cases[draw % len(cases)]
        start = [int(rng.integers(0, max(1, size - _PATCH + 1))) for size in opened[case][1].shape]
        place = tuple(slice(at, at + _PATCH) for at in start)
        began = time.perf_counter()
        data, segmentation, _, _ = dataset.load_case(case)
        their_image, their_labels = data[(slice(None), *place)], segmentation[(slice(None), *place)]
        between = time.perf_counter()
        image, labels = (array[(..., *place)].copy() for array in opened[case])
        seconds["theirs"].append(between - began)
        seconds["ours"].append(time.perf_counter() - between)
        equal = equal and np.array_equal(their_image, image) and np.array_equal(their_labels[0], labels)
    return {**{f"{who}_seconds": median(found) for who, found in seconds.items()}, "equal": equal}


if __name__ == "__main__":
    main()
