"""Run by the other tool's Python: its own list of training transforms on made-up patches, with one thread.

``peer_augmentation.py COUNT Z Y X`` makes up a patch as large as its loader reads, transforms it with its trainer's
list, so often, and prints the seconds of its processor as one line of JSON. The list is another one than nnbox's: no
elastic deformation, other probabilities, a simulated low resolution, and label maps of several levels.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time

import numpy as np
import torch
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

_SEED = 5
_ANGLE_RAD = (-np.pi / 6, np.pi / 6)  # as its trainer sets them for patches that are about as long in every direction
_SCALES = (0.85, 1.25)
_LEVELS = [[1 / factor] * 3 for factor in (1, 2, 4)]


def main() -> None:
    count, *patch = map(int, sys.argv[1:])
    torch.set_num_threads(1)
    np.random.seed(_SEED)  # noqa: NPY002 - the one that it draws from
    torch.manual_seed(_SEED)
    with contextlib.redirect_stdout(io.StringIO()):
        transforms = nnUNetTrainer.get_training_transforms(
            np.array(patch), _ANGLE_RAD, _LEVELS, (0, 1, 2), do_dummy_2d_data_aug=False, use_mask_for_norm=[False]
        )
    large = get_patch_size(patch, _ANGLE_RAD, _ANGLE_RAD, _ANGLE_RAD, _SCALES)
    image = torch.from_numpy(np.random.default_rng(_SEED).normal(size=(1, *large)).astype(np.float32))
    labels = ((image > 0).to(torch.int16) + (image > 1).to(torch.int16)).contiguous()
    transforms(image=image.clone(), segmentation=labels.clone())
    began = time.process_time()
    for _ in range(count):
        transforms(image=image.clone(), segmentation=labels.clone())
    print(json.dumps({"seconds": time.process_time() - began}))


if __name__ == "__main__":
    main()
