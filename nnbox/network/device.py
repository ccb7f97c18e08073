"""Which device computes, chosen once and said aloud. Torch takes a second to import: only who asks it waits."""

# ruff: noqa: PLC0415
from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from nnbox.errors import ResourceError, UsageError


class CardFullError(ResourceError):
    """The memory of a card did not suffice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device in words.

    Attributes:
        name: ``cpu`` or ``cuda:N``, as torch spells it.
        description: for people, e.g. ``"NVIDIA H200, 139.8 GB"``.
        memory_bytes: the card's memory; None for the CPU.
    """

    name: str
    description: str
    memory_bytes: int | None

    @property
    def is_cuda(self) -> bool:
        """Whether it is a CUDA device."""
        return self.memory_bytes is not None


def forget_card_peak(device: Device) -> None:
    """Begin to count the card's peak memory anew."""
    if device.is_cuda:
        import torch

        torch.cuda.reset_peak_memory_stats(device.name)


def peak_card_bytes(device: Device) -> int | None:
    """Return the most memory torch has held on the card since it was last asked to forget; None for the CPU."""
    if not device.is_cuda:
        return None
    import torch

    return int(torch.cuda.max_memory_reserved(device.name))


def free_card_bytes(device: Device) -> int:
    """Return the card's memory that nobody uses, what torch keeps for itself included; 0 for the CPU."""
    if not device.is_cuda:
        return 0
    import torch

    free, _ = torch.cuda.mem_get_info(device.name)
    kept = torch.cuda.memory_reserved(device.name) - torch.cuda.memory_allocated(device.name)
    return int(free + kept)


@contextlib.contextmanager
def card_errors(device: Device) -> Iterator[None]:
    """Let a card that is full be told from a bug: torch's error leaves the block as `CardFullError`.

    What torch kept of the memory is given back first, so that the next attempt finds it.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        message = str(error).splitlines()[0]
    else:
        return
    # Outside of the handler: the error's traceback keeps every array of the failed attempt alive.
    if device.is_cuda:
        from nnbox.network.replayed import let_go

        let_go()
        torch.cuda.empty_cache()
    raise CardFullError(f"{device.name} ({device.description}) is full: {message}")


def no_device(wanted: str) -> Device:
    """Return what stands for the device of a run that computes no network; ``wanted`` is checked for its form only.

    Raises:
        UsageError: see `choose_device`.
    """
    for word in wanted.split(","):
        _card_number(word)
    return Device(name="none", description="no network is computed", memory_bytes=None)


def choose_device(wanted: str) -> Device:
    """Find the device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; ``auto`` takes the first card, else the CPU.

    Raises:
        UsageError: ``wanted`` is none of these.
        ResourceError: a card was asked for and is not there.
    """
    number = _card_number(wanted)
    import torch

    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return Device(name="cpu", description=f"CPU, {torch.get_num_threads()} threads", memory_bytes=None)
    index = int(number or 0)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        raise ResourceError(
            f"--device {wanted}: {count} CUDA devices are visible. What to do: start the container with --gpus all "
            "(and the NVIDIA container toolkit installed), or use --device cpu."
        )
    properties = torch.cuda.get_device_properties(index)
    description = f"{properties.name}, {properties.total_memory / 1e9:.1f} GB"
    return Device(name=f"cuda:{index}", description=description, memory_bytes=int(properties.total_memory))


def choose_devices(wanted: str) -> tuple[Device, ...]:
    """Find the devices to train on: ``auto`` and ``cuda`` take every visible card; a list takes those it names.

    Raises:
        UsageError: no such device, or a list of others than cards.
        ResourceError: a card was asked for and is not there.
    """
    words = wanted.split(",")
    if len(words) > 1:
        if any(not word.startswith("cuda:") for word in words) or len(set(words)) < len(words):
            raise UsageError(f"--device {wanted}: a list names different cards, e.g. cuda:0,cuda:1")
        return tuple(choose_device(word) for word in words)
    first = choose_device(wanted)
    if wanted not in {"auto", "cuda"} or not first.is_cuda:
        return (first,)
    import torch

    return tuple(choose_device(f"cuda:{index}") for index in range(torch.cuda.device_count()))


def _card_number(wanted: str) -> str:
    kind, _, number = wanted.partition(":")
    if wanted not in {"auto", "cpu", "cuda"} and not (kind == "cuda" and number.isdecimal()):
        raise UsageError(f"--device {wanted}: expected auto, cpu, cuda or cuda:N")
    return number
