"""Every row of the table of bad input, in the order of the page."""

from __future__ import annotations

import rows_bundles
import rows_headers
import rows_maps
import rows_names
import rows_voxels
from defect_row import Row

SECTIONS: dict[str, tuple[Row, ...]] = {
    "Headers": rows_headers.ROWS,
    "Damaged files": rows_voxels.DAMAGED,
    "Voxels": rows_voxels.VOXELS,
    "Labels": rows_voxels.LABELS,
    "Names, links and layouts": rows_names.LAYOUTS,
    "dataset.json": rows_names.JSON,
    "Label maps to score": rows_maps.EVALUATED,
    "Result archives": rows_maps.CHECKED,
    "Model bundles of strangers": rows_bundles.ROWS,
}
ROWS = tuple(row for rows in SECTIONS.values() for row in rows)
