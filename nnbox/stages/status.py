"""Where a run is, read from its files alone: by the process that runs, or by any other. No torch, no figures."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from nnbox.records.events import Event, parse_event
from nnbox.stages.pace import Pace
from nnbox.stages.sessions import Sessions
from nnbox.stages.standing import ENDINGS, is_alive, presences_near
from nnbox.stages.workspace import Workspace


class UnitState(StrEnum):
    """Where one network is."""

    WAITING = "waiting"
    TRAINING = "training"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitStatus:
    """One network of the run.

    Attributes:
        configuration, fold: which one.
        state: waiting, training or done.
        epoch: epochs done.
        training_loss, validation_loss: of the last epoch, None before the first.
        dice: per label on validation patches of the last epoch.
        seconds_per_epoch: of the last epoch.
    """

    configuration: str
    fold: int
    state: UnitState
    epoch: int
    training_loss: float | None
    validation_loss: float | None
    dice: tuple[float | None, ...]
    seconds_per_epoch: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where one task's run is.

    Attributes:
        task: name of the output folder's task.
        output: the folder.
        state: ``running``, ``finished``, ``failed`` or ``unfinished`` (interrupted or killed).
        remark: how it ended, where it did not come to its end.
        stage: the stage it is in, or was in last; None before the first.
        began: when it was started last, ISO 8601.
        heard: when it last left word, ISO 8601.
        sentence: the last event in words.
        maximum_epochs: of each network; None while that is not known.
        units: every network in the order of training.
        done, total: cases prepared or predicted, in the stages that count them; else None.
        remaining_seconds: what the run still takes, at most (see `nnbox.stages.pace`); None while nothing was measured.
        device: what computes, in words.
        memory_bytes: held by the run and its workers at the last epoch.
        card_bytes, card_total_bytes: held on the card since the stage began, and what it has; None on a CPU.
    """

    RECORD: ClassVar[str] = "status"
    VERSION: ClassVar[int] = 1

    task: str
    output: str
    state: str
    remark: str | None
    stage: str | None
    began: str | None
    heard: str | None
    sentence: str
    maximum_epochs: int | None
    units: tuple[UnitStatus, ...]
    done: int | None
    total: int | None
    remaining_seconds: float | None
    device: str | None
    memory_bytes: int | None
    card_bytes: int | None
    card_total_bytes: int | None


class Follower:
    """Follows the log of one task; each `read` looks at what was added since."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._offset = 0
        self._inode: int | None = None
        self._rest = b""
        self._forget()

    def read(self) -> Status:
        """Return where the run is now."""
        self._take_in_news()
        found = presences_near(self._workspace)
        living = {item.run for item in found if is_alive(item)}
        units = self._units(living)
        state, remark = ("running", None) if self._sessions.goes_on(living) else self._ending or ("unfinished", None)
        start = self._start.facts if self._start is not None else {}
        device = start.get("device") or {}
        done, total = self._counted()
        return Status(
            task=str(self._task),
            output=str(self._workspace.root),
            state=state,
            remark=remark,
            stage=self._stage,
            began=None if self._start is None else self._start.time.isoformat(timespec="seconds"),
            heard=self._heard([item.beat for item in found]),
            sentence=self._last.sentence if self._last is not None else "",
            maximum_epochs=self._maximum_epochs,
            units=units,
            done=done,
            total=total,
            remaining_seconds=self._remaining(units) if state == "running" else None,
            device=f"{device['name']} ({device['description']})" if device else None,
            memory_bytes=self._memory.get("memory_bytes"),
            card_bytes=self._memory.get("card_bytes"),
            card_total_bytes=device.get("memory_bytes"),
        )

    def _forget(self) -> None:
        self._start: Event | None = None
        self._last: Event | None = None
        self._task: str = self._workspace.root.resolve().name
        self._ending: tuple[str, str | None] | None = None
        self._stage: str | None = None
        self._sessions = Sessions()
        self._maximum_epochs: int | None = None
        self._end: datetime | None = None
        self._pace = Pace()
        self._epochs: dict[tuple[str, int], dict[str, Any]] = {}
        self._validated: set[tuple[str, int]] = set()
        self._prepared: set[str] = set()
        self._predicted: set[str] = set()
        self._scheduled_here = False
        self._worked: tuple[Event | None, tuple[str, str | None] | None, str | None] | None = None
        self._totals: dict[str, int] = {}
        self._memory: dict[str, int | None] = {}

    def _take_in_news(self) -> None:
        try:
            with self._workspace.log.open("rb") as stream:
                found = os.fstat(stream.fileno())
                if found.st_ino != self._inode or found.st_size < self._offset:
                    # --restart moved the log aside: what follows is another run.
                    self._inode, self._offset, self._rest = found.st_ino, 0, b""
                    self._forget()
                stream.seek(self._offset)
                news = stream.read()
        except FileNotFoundError:
            return
        self._offset += len(news)
        *lines, self._rest = (self._rest + news).split(b"\n")
        for line in lines:
            if (event := parse_event(line.decode(errors="replace"))) is not None:
                self._hear(event)

    def _hear(self, event: Event) -> None:
        self._last = event
        self._pace.hear(event)
        self._sessions.hear(event)
        facts = event.facts
        if event.event == "start":
            if self._scheduled_here:
                self._worked = (self._start, self._ending, self._stage)
            self._start, self._ending, self._stage = event, None, None
            self._scheduled_here, self._end = False, None
            self._predicted = set()
            self._task = Path(str(facts["root"])).name if "root" in facts else self._task
        elif event.event in ENDINGS:
            self._hear_ending(event)
        elif event.event == "stage_begins":
            self._stage = str(facts["stage"])
        elif event.event == "units":
            self._scheduled_here = True
            self._maximum_epochs = facts["epochs"]
            self._totals = dict(facts.get("cases", {}))
        elif event.event == "layout":
            self._maximum_epochs = int(facts["epochs"])
            self._end = datetime.fromisoformat(str(facts["end"]))
        elif event.event == "epoch":
            self._hear_epoch(facts)
        elif event.event == "validated":
            self._validated.add((str(facts["configuration"]), int(facts["fold"])))
        elif event.event == "prepared":
            self._prepared.add(str(facts["case"]))
        elif event.event in {"predicted", "skipped"} and "case" in facts:
            self._predicted.add(str(facts["case"]))

    def _hear_ending(self, event: Event) -> None:
        """Take in how a session ended; one that was refused before any work leaves the run what it was."""
        if event.event == "failed" and not self._scheduled_here and self._worked is not None:
            self._start, self._ending, self._stage = self._worked
            return
        self._ending = (ENDINGS[event.event].value, None if event.event == "finished" else event.sentence)

    def _hear_epoch(self, facts: Any) -> None:
        self._epochs[str(facts["configuration"]), int(facts["fold"])] = dict(facts)
        self._memory = {key: facts.get(key) for key in ("memory_bytes", "card_bytes")}

    def _units(self, living: set[str]) -> tuple[UnitStatus, ...]:
        found = []
        scheduled = self._sessions.scheduled(living)
        finished = {place for place in scheduled if self._workspace.fold_result(*place).exists()}
        training = self._sessions.training(living)
        if training is None:  # a log that does not tell, or a run that is gone: the first that is not done
            waiting = [place for place in scheduled if place not in finished]
            training = set(waiting[:1]) if self._stage == "train" else set()
        for place in scheduled:
            facts = self._epochs.get(place, {})
            state = UnitState.TRAINING if place in training else UnitState.WAITING
            state = UnitState.DONE if place in finished else state
            found.append(
                UnitStatus(
                    configuration=place[0],
                    fold=place[1],
                    state=state,
                    epoch=int(facts.get("epoch", 0)),
                    training_loss=facts.get("training_loss"),
                    validation_loss=facts.get("validation_loss"),
                    dice=tuple(facts.get("dice", ())),
                    seconds_per_epoch=facts.get("seconds"),
                )
            )
        return tuple(found)

    def _counted(self) -> tuple[int | None, int | None]:
        """Return how many cases the present stage has done, and of how many."""
        kinds = {"preprocess": ("prepared", self._prepared), "predict": ("predicted", self._predicted)}
        name, found = kinds.get(self._stage or "", ("", set()))
        total = self._totals.get(name)
        return (None, None) if total is None else (min(len(found), total), total)

    def _remaining(self, units: tuple[UnitStatus, ...]) -> float | None:
        """Return the seconds that the run will take at most, from what was measured so far."""
        if self._end is not None:
            return max(0.0, (self._end - datetime.now().astimezone()).total_seconds())
        if self._maximum_epochs is None:
            return None
        epochs: dict[str, int] = {}
        cases: dict[str, float] = {}
        folds = 1 + max((unit.fold for unit in units), default=0)
        for unit in units:
            name = unit.configuration
            left = 0 if unit.state is UnitState.DONE else max(0, self._maximum_epochs - unit.epoch)
            epochs[name] = epochs.get(name, 0) + left
            if (name, unit.fold) not in self._validated:
                cases[name] = cases.get(name, 0) + self._totals.get("prepared", 0) / folds
        training = self._pace.training_seconds(epochs)
        if training is None:
            return None
        at_once = max(1, sum(unit.state is UnitState.TRAINING for unit in units))
        waiting = max(0, self._totals.get("predicted", 0) - len(self._predicted))
        networks = [unit.configuration for unit in units]
        validation = self._pace.validation_seconds(cases)
        return (training + validation) / at_once + self._pace.prediction_seconds(waiting, networks)

    def _heard(self, beats: Sequence[str]) -> str | None:
        times = [datetime.fromisoformat(beat) for beat in beats]
        times += [self._last.time] if self._last is not None else []
        return max(times).isoformat(timespec="seconds") if times else None


def follow(output: Path) -> Callable[[], tuple[Status, ...]]:
    """Return what reads, again and again, where each task's run below an output folder is."""
    followers: dict[Path, Follower] = {}

    def read() -> tuple[Status, ...]:
        folders = [output, *sorted(path.parent for path in output.glob("*/log.jsonl"))]
        for folder in folders:
            if folder not in followers and Workspace(folder).log.is_file():
                followers[folder] = Follower(Workspace(folder))
        return tuple(status for follower in followers.values() if (status := follower.read()).began is not None)

    return read


def read_status(workspace: Workspace) -> Status:
    """Return where a run is now."""
    return Follower(workspace).read()
