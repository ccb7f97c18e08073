"""Fingerprints made on the spot."""

from __future__ import annotations

import pytest

from nnbox.records.dataset import Channel, Label
from nnbox.records.fingerprint import CaseFingerprint, Fingerprint


@pytest.fixture(scope="session")
def make_fingerprint():
    """Call with one shape and spacing (or lists of them) per case, in source order."""

    def make(shapes_vox, spacings_mm, *, cases=1, channels=("MR",), labels=2, dimension=3, crop_ratios=(1.0,)):
        shapes_vox = [shapes_vox] * cases if isinstance(shapes_vox, tuple) else shapes_vox
        spacings_mm = [spacings_mm] * len(shapes_vox) if isinstance(spacings_mm, tuple) else spacings_mm
        ratios = list(crop_ratios) * len(shapes_vox) if len(crop_ratios) == 1 else crop_ratios
        return Fingerprint(
            task="Task99_Made",
            dimension=dimension,
            channels=tuple(Channel(name=name, is_ct=name == "CT") for name in channels),
            labels=tuple(Label(value=value, name=f"label {value}") for value in range(1, labels + 1)),
            cases=tuple(
                CaseFingerprint(
                    name=f"case_{index:03d}",
                    source_shape_vox=shape,
                    shape_vox=shape,
                    spacing_mm=spacing,
                    crop_ratio=ratio,
                    label_voxels=(1,) * labels,
                    components=(1,) * labels,
                )
                for index, (shape, spacing, ratio) in enumerate(zip(shapes_vox, spacings_mm, ratios, strict=True))
            ),
            intensities=None,
        )

    return make
