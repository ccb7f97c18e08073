"""What a user may decide about the data on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeOptions:
    """Decisions about the data; those that change what is trained are recorded in `nnbox.records.dataset.Choices`.

    Attributes:
        channels: names of the channels in file order (``--channels``), or None to take the data set's own.
        exclude: names of the cases to leave out (``--exclude``).
        patients: JSON file {case: patient} (``--patients``), or None for ``patients.json`` beside ``dataset.json``.
        splits: JSON file of ready folds (``--splits``), or None.
        mirror_axes: source axes that may be mirrored, of "z", "y", "x" (``--mirror-axes``); None: all.
        trust_image_grid: take the image's grid where the label's differs (``--trust-image-grid``).
        replace_nonfinite: put 0 for NaN and infinite voxels (``--replace-nonfinite``).
    """

    channels: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    patients: Path | None = None
    splits: Path | None = None
    mirror_axes: tuple[str, ...] | None = None
    trust_image_grid: bool = False
    replace_nonfinite: bool = False
