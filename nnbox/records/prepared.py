"""A case after preprocessing: what lies beside its arrays in the prepared store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nnbox.geometry import Grid, Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedCase:
    """Side record of one prepared case; the arrays are ``<case>.image.npy`` and ``<case>.labels.npy``.

    Attributes:
        name: the case.
        grid: the source image's grid, to write predictions on.
        placement: how the prepared arrays lie in the source.
        class_voxels: prepared voxels of each foreground label 1..K.
    """

    RECORD: ClassVar[str] = "prepared_case"
    VERSION: ClassVar[int] = 1

    name: str
    grid: Grid
    placement: Placement
    class_voxels: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousPrediction:
    """Side record of a previous stage's label map for one training case; the array is ``<case>.npy``.

    Attributes:
        case: whose label map it is.
        configuration: the stage that predicted it.
        model_folds: the folds of the models that predicted it.
        trained_on: every case that one of these models was trained on; must not hold ``case``.
        labels_sha256: digest of the array file; filled in when it is written.
    """

    RECORD: ClassVar[str] = "previous_prediction"
    VERSION: ClassVar[int] = 1

    case: str
    configuration: str
    model_folds: tuple[int, ...]
    trained_on: tuple[str, ...]
    labels_sha256: str = ""
