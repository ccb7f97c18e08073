"""A process that trains one network for a crew: what it wrote, whether it lives, and what its end means."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass, field

from nnbox.errors import ResourceError
from nnbox.interruption import INTERRUPTED, TERMINATED
from nnbox.network.device import Device
from nnbox.stages.agenda import Turn
from nnbox.stages.order import Failed, News, Refused, failure, read_news
from nnbox.supervision import VARIABLE, Silence

# The second: told before it could listen.
TOLD_TO_END = frozenset({TERMINATED, -signal.SIGTERM})


@dataclass(slots=True, eq=False)
class Hand:
    """A process at work.

    Attributes:
        process: that trains.
        turn: what it trains.
        device: where.
        rest: of a line that it has not written to its end yet.
        silence: since its last word.
        failed: how its work failed, by its own words.
        stopped: whether it was told to end because there are too many.
        crowded: whether one beside it was lost, so that it may be lost for the same reason.
        hung: whether it was killed because nothing was heard of it.
        dying: the time since it was killed.
    """

    process: subprocess.Popen[bytes]
    turn: Turn
    device: Device
    rest: bytes = b""
    silence: Silence = field(default_factory=Silence)
    failed: Failed | Refused | None = None
    stopped: bool = False
    crowded: bool = False
    hung: bool = False
    dying: Silence = field(default_factory=Silence)

    @property
    def output(self) -> int:
        """The descriptor of what it writes."""
        if self.process.stdout is None:
            raise ValueError("a process was started without its standard output")
        return self.process.stdout.fileno()

    def read(self) -> list[News | None] | None:
        """Return the news of the lines that it has written since; None at the end of its output."""
        written = os.read(self.output, 1 << 16)
        *lines, self.rest = (self.rest + written).split(b"\n")
        if not written:
            return None
        self.silence.end()
        return [read_news(line.decode(errors="replace")) for line in lines]

    def close(self) -> None:
        """Hear no more of it."""
        if self.process.stdout is not None:
            self.process.stdout.close()

    def kill_as_hung(self) -> str:
        """Kill it for its silence; return what it did, in words."""
        name, fold = self.turn.place
        self.hung = True
        self.process.kill()
        return (
            f"nothing was heard of the process that trains {name} fold {fold} for {self.silence.seconds:.0f} s "
            f"({VARIABLE}); it counts as hung and is killed"
        )

    def require_ended(self) -> None:
        """See that it is gone, long after it was killed.

        Raises:
            ResourceError: it is not: it waits for a disk or a card, which a kill does not interrupt.
        """
        if self.process.poll() is not None:
            return
        name, fold = self.turn.place
        raise ResourceError(
            f"the process that trains {name} fold {fold} (number {self.process.pid}) hung and cannot be killed: "
            f"{self.dying.seconds:.0f} s later it still waits, for a disk or a card that does not answer. What to do: "
            "see whether they answer, and start the machine anew if the process stays; then run the same command "
            "again, it continues from the last checkpoint."
        )

    def error(self, code: int) -> BaseException:
        """Return what its end means for the run: its own error, a kill, the end of all, or a bug."""
        name, fold = self.turn.place
        if self.failed is not None:
            return failure(self.failed)
        if self.hung:
            return ResourceError(
                f"the process that trained {name} fold {fold} hung, and so did the one before it. What to do: see "
                "whether the disk and the card answer, then run the same command again; it continues from the last "
                f"checkpoint. Where a single step takes longer, give {VARIABLE} more seconds."
            )
        if code in TOLD_TO_END:  # a scheduler tells every process of a job at once
            return SystemExit(TERMINATED)
        if code == INTERRUPTED:
            return KeyboardInterrupt()
        if code < 0:
            return ResourceError(
                f"the process that trained {name} fold {fold} was killed by {signal.Signals(-code).name}; most often "
                "memory ran out. What to do: run the same command again with a smaller --parallel or fewer --workers; "
                "it continues from the last checkpoint."
            )
        return RuntimeError(f"the process that trained {name} fold {fold} ended with exit code {code}")
