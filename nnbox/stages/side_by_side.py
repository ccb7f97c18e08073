"""How many networks of one kind a device trains side by side: tried out, since a small network leaves a card idle.

1, 2, 4, … are tried while their steps per second together rise; the best number is kept. Source: own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

LEAST_GAIN = 1.1
"""Twice as many networks must do so much more together, or the fewer are kept: they are done sooner."""
_USED_SHARE = 0.9
_CONTEXT_BYTES = 700_000_000


@dataclass(slots=True)
class SideBySide:
    """How many networks of one configuration one device shall train at once.

    Attributes:
        most: never more.
        wanted: what to run now.
        settled: whether that is the last word.
        is_fixed: whether the number was asked for.
        rates: steps per second of all together, by how many they were.
    """

    most: int
    wanted: int = 1
    settled: bool = False
    is_fixed: bool = False
    rates: dict[int, float] = field(default_factory=dict)
    _seconds: list[float] = field(default_factory=list)

    @staticmethod
    def fixed(count: int) -> SideBySide:
        """Return what tries nothing out."""
        return SideBySide(most=count, wanted=count, settled=True, is_fixed=True)

    def halve(self, running: int) -> None:
        """Settle for half of so many: one of them was lost for want of memory."""
        self.wanted, self.settled = max(1, min(self.wanted, running) // 2), True

    def measure(self, seconds_per_step: float, running: int, peak_bytes: int | None, memory_bytes: int | None) -> None:
        """Take the step time of a network that was begun last.

        Args:
            seconds_per_step: of its first steps.
            running: how many the device trained meanwhile; a time taken beside more or fewer than wanted tells nothing.
            peak_bytes: what the network held at most; None where that is not known.
            memory_bytes: what the device has; None for a CPU.
        """
        if peak_bytes is not None and memory_bytes is not None:
            fitting = int(_USED_SHARE * memory_bytes / (peak_bytes + _CONTEXT_BYTES))
            self.most = max(1, min(self.most, fitting))
        if self.settled or running != self.wanted:
            return
        self._seconds.append(seconds_per_step)
        if len(self._seconds) < self.wanted - self.wanted // 2:  # all that were begun for this try
            return
        self.rates[self.wanted] = self.wanted * len(self._seconds) / sum(self._seconds)
        self._seconds.clear()
        half = self.wanted // 2
        if half and self.rates[self.wanted] < LEAST_GAIN * self.rates[half]:
            self.wanted, self.settled = half, True
        elif self.wanted * 2 > self.most:
            self.settled = True
        else:
            self.wanted *= 2

    def sentence(self) -> str:
        """Say what was measured."""
        measured = ", ".join(f"{count}: {rate:.3g} steps/s" for count, rate in self.rates.items())
        return f"{self.wanted} side by side (together, of {measured})"
