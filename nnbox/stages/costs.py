"""What the parts of a run cost here, in measured seconds; what a time budget is laid out from."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class EndingCosts:
    """Measured seconds of what follows training.

    Attributes:
        asked: of asking one network for a test case of middling size, by configuration.
        beside: of reading, preparing and writing such a case, by configuration.
        loaded: of reading a case's stored probabilities, of two members, and making a label map of them.
        scored: of scoring a label map.
        tried: of trying a post-processing step on a label map.
        receipt: of recording that a piece of work is done, and of looking it up.
        processes: of starting worker processes.
        weight_byte: of bundling, packing and opening a model, per byte of its weights.
        archived: of a test case in the result archive: written, read back, checked.
        report: of writing the report before anything was trained, and
        drawings: how many drawings it had.
        test_cases: how many there are, counted in cases of middling size; a smaller one counts as one.
    """

    asked: dict[str, float] = field(default_factory=dict)
    beside: dict[str, float] = field(default_factory=dict)
    loaded: float = 0.0
    scored: float = 0.0
    tried: float = 0.0
    receipt: float = 0.0
    processes: float = 0.0
    weight_byte: float = 0.0
    archived: float = 0.0
    report: float = 0.0
    drawings: int = 1
    test_cases: float = 0.0


@dataclass(slots=True)
class Costs:
    """Measured seconds, by configuration; those of trainings are replaced by those of real ones as these end.

    Attributes:
        step: of a training step with its share of validation and book-keeping.
        start: of what begins and ends a training.
        opening: of loading a network to predict with.
        case: of the out-of-fold prediction of a case; never set below what was measured first.
        ending: of what follows training.
        slowdown: how much longer out-of-fold predictions last took than was measured first, at least 1.
    """

    step: dict[str, float] = field(default_factory=dict)
    start: dict[str, float] = field(default_factory=dict)
    opening: dict[str, float] = field(default_factory=dict)
    case: dict[str, float] = field(default_factory=dict)
    ending: EndingCosts = field(default_factory=EndingCosts)
    slowdown: float = 1.0
