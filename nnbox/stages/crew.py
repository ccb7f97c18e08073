"""Networks trained side by side, each by a process of its own, on one or several devices.

The parent claims a network, starts a process for it and hears its news; it takes no part in the arithmetic. When it is
told to end, or one network fails, it has the others save where they stand. Source: own.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import partial

from nnbox.errors import ResourceError
from nnbox.interruption import whole
from nnbox.limits import available_cpus
from nnbox.network.device import Device
from nnbox.records.codec import dumps
from nnbox.records.engine import Engine
from nnbox.stages.agenda import Agenda, Turn
from nnbox.stages.child import child_environment
from nnbox.stages.claims import POLL_SECONDS
from nnbox.stages.context import Context
from nnbox.stages.findings import Findings
from nnbox.stages.hand import TOLD_TO_END, Hand
from nnbox.stages.job import Job
from nnbox.stages.order import Failed, Measured, News, Refused, Said, TrainingOrder
from nnbox.stages.schedule import Place
from nnbox.stages.side_by_side import SideBySide
from nnbox.supervision import patience_seconds
from nnbox.threads import shared_out

_STOP_SECONDS = 20.0
_KILL_SECONDS = 5.0
_MOST_ON_A_CARD = 16
# A network whose own workers hang finds that by itself, and says so: it is given the time for that.
_MORE_PATIENCE = 1.5


@dataclass(slots=True)
class Crew:
    """The processes of one run.

    Attributes:
        context: of the run.
        job: the planned task.
        agenda: what is to be trained.
        findings: are told of what networks are trained with, and of the time of a step.
        hands: at work.
        rooms: how many networks of a configuration a device trains at once.
        hung: networks whose process hung once; the next time ends the run.
    """

    context: Context
    job: Job
    agenda: Agenda
    findings: Findings
    hands: list[Hand] = field(default_factory=list)
    rooms: dict[tuple[str, str], SideBySide] = field(default_factory=dict)
    hung: set[Place] = field(default_factory=set)

    @property
    def _devices(self) -> tuple[Device, ...]:
        return self.job.devices or (self.job.device,)

    def work(self) -> None:
        """Train until the agenda has nothing more for this run.

        Raises:
            NnboxError: a network failed; the others were told to save where they stand.
        """
        selector = selectors.DefaultSelector()
        looked = time.monotonic()
        patience = _MORE_PATIENCE * patience_seconds()
        try:
            while True:
                self._begin_what_fits(selector)
                if self.hands:
                    self._listen(selector)
                    before, looked = looked, time.monotonic()
                    self._end_hung(looked - before, patience, selector)
                elif (place := self.agenda.awaited()) is None:
                    return
                else:
                    self.agenda.tell_wait(place, self.context.journal)
                    time.sleep(POLL_SECONDS)
        except BaseException:
            with whole():
                self._stop()
            raise
        finally:
            selector.close()

    def _listen(self, selector: selectors.BaseSelector) -> None:
        for key, _ in selector.select(POLL_SECONDS):
            self._hear(key.data, selector)
        for hand in self.hands:
            hand.turn.claim.require_held()
        self.context.refresher.refresh()

    def _end_hung(self, seconds: float, patience: float, selector: selectors.BaseSelector) -> None:
        """Kill processes of which nothing was heard for too long; ``seconds`` have passed since the last look.

        A killed one most often closes its output, but not where what it started holds that and is stuck, too.
        """
        for hand in tuple(self.hands):
            (hand.dying if hand.hung else hand.silence).last(seconds)
            if hand.dying.seconds > _STOP_SECONDS:
                hand.require_ended()
                self._end(hand, selector)
            if hand.hung or not hand.silence.is_too_long(patience):
                continue
            (name, fold), sentence = hand.turn.place, hand.kill_as_hung()
            follows = (
                "the one before hung, too"
                if hand.turn.place in self.hung
                else "it is begun anew from its last checkpoint"
            )
            facts = {"configuration": name, "fold": fold, "seconds": round(hand.silence.seconds, 1)}
            self.context.journal.warn("hung", f"{sentence}; {follows}", facts)

    def _begin_what_fits(self, selector: selectors.BaseSelector) -> None:
        """Begin networks while a device has room for the next one, and end those of a try that was not worth it."""
        for device in self._devices:
            while (turn := self.agenda.take(partial(self._has_room, device))) is not None:
                with whole():  # a process that is half started would not be known to be ended
                    hand = self._start(turn, device)
                    self.hands.append(hand)
                selector.register(hand.output, selectors.EVENT_READ, hand)

    def _has_room(self, device: Device, configuration: str) -> bool:
        here = sum(hand.device == device for hand in self.hands)
        return here < self._room(device, configuration).wanted

    def _room(self, device: Device, configuration: str) -> SideBySide:
        key = (device.name, configuration)
        if key not in self.rooms:
            count = self.job.options.parallel or (None if device.is_cuda else 1)
            self.rooms[key] = SideBySide(most=_MOST_ON_A_CARD) if count is None else SideBySide.fixed(count)
        return self.rooms[key]

    def _start(self, turn: Turn, device: Device) -> Hand:
        name, fold = turn.place
        on_device = self._room(device, name).wanted
        at_once = on_device * len(self._devices)
        order = TrainingOrder(
            parent=os.getpid(),
            run=self.context.journal.run,
            steps_told=self.context.journal.steps_told,
            root=self.context.root,
            output=self.context.workspace.root,
            options=self.job.options,
            configurations=self.job.configurations,
            configuration=name,
            fold=fold,
            device=device,
            workers=max(min(1, self.context.workers), self.context.workers // at_once),
            at_once=on_device,
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "nnbox.stages.unit_worker"],
            env=child_environment(shared_out(available_cpus(), at_once)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(turn.claim.descriptor,),
            start_new_session=True,  # Ctrl-C is for the parent, which then tells all
        )
        if process.stdin is None:
            raise ValueError("a process was started without its standard input")
        with process.stdin as stream:
            stream.write(dumps(order).encode())
        return Hand(process, turn, device)

    def _hear(self, hand: Hand, selector: selectors.BaseSelector) -> None:
        """Take in what a process wrote; when it has closed its output, see how it ended."""
        if (read := hand.read()) is None:
            self._end(hand, selector)
            return
        for news in read:
            self._heed(hand, news)

    def _end(self, hand: Hand, selector: selectors.BaseSelector) -> None:
        """Let go of a process that has ended, or is about to, and see how."""
        selector.unregister(hand.output)
        code = hand.process.wait()
        with whole():
            self.hands.remove(hand)
            hand.close()
            self.agenda.end(hand.turn, done=code == 0)
        if code and not (hand.stopped and code in TOLD_TO_END) and not self._goes_on(hand, code):
            raise hand.error(code)

    def _goes_on(self, lost: Hand, code: int) -> bool:
        """Whether the run goes on though a process was lost; its network is on the agenda again."""
        if not lost.hung:
            return self._make_room(lost, code)
        before = len(self.hung)
        self.hung.add(lost.turn.place)
        return len(self.hung) > before

    def _make_room(self, lost: Hand, code: int) -> bool:
        """Train fewer at once where one of several that were only tried out was lost, most often for want of memory.

        Returns whether that is so; the network is on the agenda again.
        """
        (name, fold), device = lost.turn.place, lost.device
        here = [hand for hand in self.hands if hand.device == device]
        room = self._room(device, name)
        ran_out = isinstance(lost.failed, Failed) and code == ResourceError.exit_code
        if room.is_fixed or not (here or lost.crowded) or not (ran_out or code == -signal.SIGKILL):
            return False
        room.halve(len(here) + 1)
        for hand in here:
            hand.crowded = True
        self.context.journal.warn(
            "fewer_side_by_side",
            f"{lost.error(code)} {device.name} trained {len(here) + 1} networks at once; it is begun anew, with at "
            f"most {room.wanted} of {name} at once.",
            {"configuration": name, "fold": fold, "side_by_side": room.wanted},
        )
        return True

    def _heed(self, hand: Hand, news: News | None) -> None:
        if isinstance(news, Said):
            self.context.journal.listener(news.severity, news.sentence)
        elif isinstance(news, (Failed, Refused)):
            hand.failed = news
        elif isinstance(news, Engine):
            self.findings.trained_with(news)
        elif isinstance(news, Measured):
            self.findings.measured(hand.turn.place, news.seconds_per_step)
            self._try_out(hand, news)

    def _try_out(self, hand: Hand, news: Measured) -> None:
        """Let a measured step decide how many networks of its kind the device trains at once."""
        name, device = hand.turn.place[0], hand.device
        room = self._room(device, name)
        here = [other for other in self.hands if other.device == device]
        alike = all(other.turn.place[0] == name for other in here)
        before = room.settled
        room.measure(news.seconds_per_step, len(here) if alike else 0, news.peak_bytes, device.memory_bytes)
        if room.settled and not before:
            self.context.journal.say("side_by_side", f"{device.name}, {name}: {room.sentence()}")
        for extra in here[room.wanted :] if alike and room.settled else ():
            extra.stopped = True
            extra.process.send_signal(signal.SIGTERM)  # it saves its state, and is taken up again later

    def _stop(self) -> None:
        """Have every process save its state and end, within seconds."""
        for hand in self.hands:
            # What another run has taken over must not be saved.
            hand.process.send_signal(signal.SIGKILL if hand.turn.claim.is_lost() else signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        for hand in self.hands:
            try:
                hand.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                hand.process.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):  # one that a kill does not end is left behind
                    hand.process.wait(_KILL_SECONDS)
            hand.close()
            self.agenda.end(hand.turn, done=False)
        self.hands.clear()
