"""What a run finds out about its networks while they train, told once: the engine, the time of a step, the total."""

from __future__ import annotations

from dataclasses import dataclass, field

from nnbox.records.codec import encode
from nnbox.records.engine import Engine
from nnbox.stages.job import Job
from nnbox.stages.journal import Journal
from nnbox.stages.projection import Projection
from nnbox.stages.schedule import Place


@dataclass(slots=True)
class Findings:
    """What was found out so far.

    Attributes:
        journal: is told.
        job: the planned task.
        projection: of the time that all networks take.
        engines: what networks are trained with.
    """

    journal: Journal
    job: Job
    projection: Projection
    engines: list[Engine] = field(default_factory=list)

    def trained_with(self, engine: Engine) -> None:
        """Take in what a network is trained with."""
        if engine not in self.engines:
            self.engines.append(engine)
            self.journal.say("engine", engine.sentence, encode(engine))

    def measured(self, place: Place, seconds_per_step: float) -> None:
        """Take in the time of a network's step.

        Raises:
            ResourceError: see `Projection.require_sensible`.
        """
        facts = {"configuration": place[0], "fold": place[1], "seconds_per_step": seconds_per_step}
        self.journal.note("step_time", f"{place[0]} fold {place[1]}: {seconds_per_step:.3g} s per step", facts)
        if self.projection.measure(place[0], seconds_per_step):
            self.journal.say("projection", self.projection.sentence(), {"hours": self.projection.total_hours()})
            wanted = self.job.options.cpu_is_wanted
            self.projection.require_sensible(cpu=not self.job.device.is_cuda, wanted=wanted)
