"""What the rules of one stage see, and what they give: the records between the planning modules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nnbox.geometry import Shape3, Spacing3
from nnbox.records.plan import Decision
from nnbox.rules.topology import Pooling


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One resolution of a data set, in working order.

    Attributes:
        name: the configuration's name.
        spacing_mm: target spacing.
        median_vox: rounded median shape at that spacing.
        cases: number of training cases.
        channels: image channels.
        classes: background included.
        planning_memory_gb: the memory the budgets are scaled to.
    """

    name: str
    spacing_mm: Spacing3
    median_vox: Shape3
    cases: int
    channels: int
    classes: int
    planning_memory_gb: float

    @property
    def voxels(self) -> int:
        """Voxels of the median shape."""
        return math.prod(self.median_vox)

    def decide(
        self,
        subject: str,
        rule: Callable[..., object],
        source: str,
        inputs: Mapping[str, Any],
        outcome: Any,
        sentence: str,
    ) -> Decision:
        """Return a decision about this configuration; ``subject`` is the field it decides."""
        return Decision(
            subject=f"{self.name}.{subject}",
            rule=rule.__name__,
            source=source,
            inputs=inputs,
            outcome=outcome,
            sentence=sentence,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The network of one stage as numbers (2 or 3 axes), each with its decision."""

    patch_vox: tuple[int, ...]
    pooling: Pooling
    kernels: tuple[tuple[int, ...], ...]
    features: tuple[int, ...]
    batch: int
    decisions: tuple[Decision, ...]
