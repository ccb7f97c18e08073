"""What the members say about a tile: every mirrored pass of every member, averaged; several passes at once."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

_CPU = torch.device("cpu")
Answer = Callable[[Tensor], Tensor]
"""Maps (batch, channels, *patch) to class probabilities, float32 (batch, classes, *patch)."""


def seen(answer: Answer, see: Callable[[], None]) -> Answer:
    """Return the same answer, after each of which ``see`` is called."""

    def answer_seen(batch: Tensor) -> Tensor:
        found = answer(batch)
        see()
        return found

    return answer_seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is done at once; nothing of it changes a result.

    Attributes:
        streams: passes that run at the same time, each in its own thread. On a GPU 1.
        threads: threads of one pass.
        samples: mirrored passes and tiles that one call of a network takes together.
        remember: keep the answer to the last constant tile (air, padding), which is the answer to all like it.
    """

    streams: int = 1
    threads: int = 1
    samples: int = 1
    remember: bool = True


def mirror_passes(axes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Return every subset of the axes, the empty one first: 8 passes for three axes, 4 for two."""
    return tuple(itertools.chain.from_iterable(itertools.combinations(sorted(axes), n) for n in range(len(axes) + 1)))


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """One call of one member's network.

    Attributes:
        answer: the network, or None where the answer is known already.
        tiles: (n, channels, *patch).
        flips: what the tiles are flipped by before; more than one make a longer batch.
        returns: what parts of the output are flipped by after; as many as ``flips``, or any number for one part.
        completes: it is the last call for these tiles.
        count: how many tiles it speaks of, if not as many as it holds.
        constant: the value of each channel, where all tiles are constant.
    """

    answer: Answer | None
    tiles: Tensor
    flips: tuple[tuple[int, ...], ...]
    returns: tuple[tuple[int, ...], ...]
    completes: bool
    count: int
    constant: tuple[float, ...] | None = None

    def run(self) -> Tensor | None:
        if self.answer is None:
            return None
        with torch.no_grad():
            flipped = [_flipped(self.tiles, flip) for flip in self.flips]
            return self.answer(flipped[0] if len(flipped) == 1 else torch.cat(flipped))

    def parts(self, output: Tensor) -> Iterator[Tensor]:
        """Yield the passes of an output, each the right way round."""
        pieces = torch.chunk(output, len(self.flips))
        if len(pieces) < len(self.returns):
            yield from (_flipped(output, flip) if flip else output.clone() for flip in self.returns)
            return
        yield from map(_flipped, pieces, self.returns)


class Passes:
    """The members with their mirrored passes."""

    def __init__(
        self, answers: Sequence[Answer], mirror_axes: Sequence[int], effort: Effort, device: torch.device = _CPU
    ) -> None:
        """Take what answers, and how.

        Args:
            answers: one per member.
            mirror_axes: patch axes (0-based) that may be flipped; every combination is one pass.
            effort: what is done at once.
            device: where the networks lie, and the means.
        """
        self._device = device
        self._answers = tuple(answers)
        self._flips = mirror_passes(mirror_axes)
        self._effort = effort

    @property
    def tiles_at_once(self) -> int:
        """How many tiles a batch should hold: more than one where tiles are small."""
        return max(1, self._effort.samples // len(self._flips))

    def means(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield for each batch of tiles (n, channels, *patch) the mean of all passes, float32 (n, classes, *patch).

        Batches come on the host, where it is seen whether they are constant: a card would have to be waited for.
        Passes are added in a fixed order, members outermost, whatever was finished first.
        """
        total: Tensor | None = None
        remembered: Tensor | None = None
        for call, output in self._answered(self._calls(batches)):
            if output is not None:
                for part in call.parts(output):
                    total = part if total is None else total.add_(part)
                del part
            del output  # or it would live until the next is there
            if not call.completes:
                continue
            if call.answer is None:
                total = remembered
            elif total is not None:
                total /= len(self._answers) * len(self._flips)
                remembered = total if call.constant is not None else remembered
            if total is None:
                raise ValueError("a batch was completed without an answer")
            if call.constant is None:
                yield total
            else:
                # What is remembered must not be changed by whoever takes it.
                yield total.expand(call.count, *total.shape[1:]).clone()
            total = None

    def _calls(self, batches: Iterable[Tensor]) -> Iterator[_Call]:
        last: tuple[float, ...] | None = None
        for batch in batches:
            constant = _constant(batch) if self._effort.remember else None
            tiles = _carried(batch, self._device)
            if constant is not None:
                yield from self._constant_calls(tiles, constant, is_known=constant == last)
                last = constant
                continue
            groups = list(_chunks(self._flips, max(1, self._effort.samples // len(tiles))))
            for member, answer in enumerate(self._answers):
                for index, flips in enumerate(groups):
                    completes = member + 1 == len(self._answers) and index + 1 == len(groups)
                    yield _Call(answer, tiles, flips, flips, completes, len(tiles))

    def _constant_calls(self, tiles: Tensor, constant: tuple[float, ...], *, is_known: bool) -> Iterator[_Call]:
        """One pass of one tile stands for all: flipped, a constant is itself."""
        straight: tuple[tuple[int, ...], ...] = ((),)
        if is_known:
            yield _Call(None, tiles[:1], straight, (), completes=True, count=len(tiles), constant=constant)
            return
        for member, answer in enumerate(self._answers):
            completes = member + 1 == len(self._answers)
            yield _Call(answer, tiles[:1], straight, self._flips, completes, len(tiles), constant)

    def _answered(self, calls: Iterator[_Call]) -> Iterator[tuple[_Call, Tensor | None]]:
        """Yield every call with its output, in order; at most one more is held than runs at the same time."""
        if self._effort.streams <= 1:
            for call in calls:
                yield call, call.run()
            return
        threads = torch.get_num_threads()
        pool = ThreadPoolExecutor(
            self._effort.streams,
            thread_name_prefix="nnbox-pass",
            initializer=torch.set_num_threads,
            initargs=(self._effort.threads,),
        )
        running: deque[tuple[_Call, Future[Tensor | None]]] = deque()
        try:
            for call in calls:
                running.append((call, pool.submit(call.run)))
                if len(running) > self._effort.streams:
                    yield _taken(running)
            while running:
                yield _taken(running)
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)  # a thread's own number, and the one that later threads begin with


def _taken(running: deque[tuple[_Call, Future[Tensor | None]]]) -> tuple[_Call, Tensor | None]:
    """Take the oldest call with its output, which nothing here keeps."""
    call, output = running.popleft()
    return call, output.result()


def _carried(batch: Tensor, device: torch.device) -> Tensor:
    """Bring a batch to where the networks lie; a card fetches it by itself, and the host goes on."""
    return batch if device.type == "cpu" else batch.pin_memory().to(device, non_blocking=True)


def _flipped(tiles: Tensor, flip: tuple[int, ...]) -> Tensor:
    return tiles.flip([axis + 2 for axis in flip]) if flip else tiles


def _constant(tiles: Tensor) -> tuple[float, ...] | None:
    """Return the value of each channel where every tile is constant, and all are the same."""
    by_channel = tiles.transpose(0, 1).flatten(1)
    values = by_channel[:, 0]
    if not torch.equal(by_channel[:, -1], values) or not bool((by_channel == values[:, None]).all()):
        return None
    return tuple(values.tolist())


def _chunks(items: tuple[tuple[int, ...], ...], count: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    for start in range(0, len(items), count):
        yield items[start : start + count]
