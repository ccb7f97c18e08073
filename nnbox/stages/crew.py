"""Networks trained side by side, each by a process of its own, on one or several devices.

The parent claims a network, starts a process for it and hears its news; it takes no part in the arithmetic. When it is
told to end, or one network fails, it has the others save where they stand. Source: own.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from nnbox.errors import ResourceError
from nnbox.interruption import INTERRUPTED, TERMINATED, whole
from nnbox.limits import available_cpus, thread_settings
from nnbox.network.device import Device
from nnbox.records.codec import dumps
from nnbox.records.engine import Engine
from nnbox.stages.agenda import Agenda, Turn
from nnbox.stages.child import child_environment
from nnbox.stages.claims import POLL_SECONDS
from nnbox.stages.context import Context
from nnbox.stages.findings import Findings
from nnbox.stages.job import Job
from nnbox.stages.order import Failed, Measured, Refused, Said, TrainingOrder, failure, read_news
from nnbox.stages.side_by_side import SideBySide

_STOP_SECONDS = 20.0
_MOST_ON_A_CARD = 16
# The second: told before it could listen.
_TOLD_TO_END = frozenset({TERMINATED, -signal.SIGTERM})


@dataclass(slots=True, eq=False)
class _Hand:
    """A process at work.

    Attributes:
        process: that trains.
        turn: what it trains.
        device: where.
        rest: of a line that it has not written to its end yet.
        failed: how its work failed, by its own words.
        stopped: whether it was told to end because there are too many.
        crowded: whether one beside it was lost, so that it may be lost for the same reason.
    """

    process: subprocess.Popen[bytes]
    turn: Turn
    device: Device
    rest: bytes = b""
    failed: Failed | Refused | None = None
    stopped: bool = False
    crowded: bool = False


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
    """

    context: Context
    job: Job
    agenda: Agenda
    findings: Findings
    hands: list[_Hand] = field(default_factory=list)
    rooms: dict[tuple[str, str], SideBySide] = field(default_factory=dict)

    @property
    def _devices(self) -> tuple[Device, ...]:
        return self.job.devices or (self.job.device,)

    def work(self) -> None:
        """Train until the agenda has nothing more for this run.

        Raises:
            NnboxError: a network failed; the others were told to save where they stand.
        """
        selector = selectors.DefaultSelector()
        try:
            while True:
                self._begin_what_fits(selector)
                if self.hands:
                    self._listen(selector)
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

    def _begin_what_fits(self, selector: selectors.BaseSelector) -> None:
        """Begin networks while a device has room for the next one, and end those of a try that was not worth it."""
        for device in self._devices:
            while (turn := self.agenda.take(partial(self._has_room, device))) is not None:
                with whole():  # a process that is half started would not be known to be ended
                    hand = self._start(turn, device)
                    self.hands.append(hand)
                selector.register(_stdout(hand), selectors.EVENT_READ, hand)

    def _has_room(self, device: Device, configuration: str) -> bool:
        here = sum(hand.device == device for hand in self.hands)
        return here < self._room(device, configuration).wanted

    def _room(self, device: Device, configuration: str) -> SideBySide:
        key = (device.name, configuration)
        if key not in self.rooms:
            count = self.job.options.parallel or (None if device.is_cuda else 1)
            self.rooms[key] = SideBySide(most=_MOST_ON_A_CARD) if count is None else SideBySide.fixed(count)
        return self.rooms[key]

    def _start(self, turn: Turn, device: Device) -> _Hand:
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
            env=child_environment(_threads(at_once)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(turn.claim.descriptor,),
            start_new_session=True,  # Ctrl-C is for the parent, which then tells all
        )
        if process.stdin is None:
            raise ValueError("a process was started without its standard input")
        with process.stdin as stream:
            stream.write(dumps(order).encode())
        return _Hand(process, turn, device)

    def _hear(self, hand: _Hand, selector: selectors.BaseSelector) -> None:
        """Take in what a process wrote; when it has closed its output, see how it ended."""
        news = os.read(_stdout(hand), 1 << 16)
        *lines, hand.rest = (hand.rest + news).split(b"\n")
        for line in lines:
            self._heed(hand, line.decode(errors="replace"))
        if news:
            return
        selector.unregister(_stdout(hand))
        code = hand.process.wait()
        with whole():
            self.hands.remove(hand)
            _close(hand)
            self.agenda.end(hand.turn, done=code == 0)
        if code and not (hand.stopped and code in _TOLD_TO_END) and not self._make_room(hand, code):
            raise _error(hand, code)

    def _make_room(self, lost: _Hand, code: int) -> bool:
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
            f"{_error(lost, code)} {device.name} trained {len(here) + 1} networks at once; it is begun anew, with at "
            f"most {room.wanted} of {name} at once.",
            {"configuration": name, "fold": fold, "side_by_side": room.wanted},
        )
        return True

    def _heed(self, hand: _Hand, line: str) -> None:
        news = read_news(line)
        if isinstance(news, Said):
            self.context.journal.listener(news.severity, news.sentence)
        elif isinstance(news, (Failed, Refused)):
            hand.failed = news
        elif isinstance(news, Engine):
            self.findings.trained_with(news)
        elif isinstance(news, Measured):
            self.findings.measured(hand.turn.place, news.seconds_per_step)
            self._try_out(hand, news)

    def _try_out(self, hand: _Hand, news: Measured) -> None:
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
                hand.process.wait()
            _close(hand)
            self.agenda.end(hand.turn, done=False)
        self.hands.clear()


def _threads(at_once: int) -> Mapping[str, str]:
    """Return the variables that share the CPUs out; what the user set is left alone."""
    return thread_settings(os.environ, max(1, available_cpus() // at_once))


def _stdout(hand: _Hand) -> int:
    if hand.process.stdout is None:
        raise ValueError("a process was started without its standard output")
    return hand.process.stdout.fileno()


def _close(hand: _Hand) -> None:
    if hand.process.stdout is not None:
        hand.process.stdout.close()


def _error(hand: _Hand, code: int) -> BaseException:
    """Return what a process's end means for the run: its own error, a kill, the end of all, or a bug."""
    name, fold = hand.turn.place
    if hand.failed is not None:
        return failure(hand.failed)
    if code in _TOLD_TO_END:  # a scheduler tells every process of a job at once
        return SystemExit(TERMINATED)
    if code == INTERRUPTED:
        return KeyboardInterrupt()
    if code < 0:
        return ResourceError(
            f"the process that trained {name} fold {fold} was killed by {signal.Signals(-code).name}; most often "
            "memory ran out. What to do: run the same command again with a smaller --parallel or fewer --workers; it "
            "continues from the last checkpoint."
        )
    return RuntimeError(f"the process that trained {name} fold {fold} ended with exit code {code}")
