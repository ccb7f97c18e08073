"""A trained network from its weights file; nothing in the file is run."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from nnbox.errors import DataError
from nnbox.network.unet import UNet
from nnbox.records.plan import Topology

_REMEDY = "What to do: get the model anew from where it was made, or train this fold again."


def load_network(weights: Path, topology: Topology, device: torch.device | str = "cpu") -> UNet:
    """Build the network of a topology and give it the stored weights, ready to predict.

    The names, shapes and types in the file's header are compared with the topology before any memory is taken, so that
    a foreign or damaged file cannot ask for more than the plan announces.

    Args:
        weights: a ``.safetensors`` file with one float32 tensor per parameter.
        topology: of the configuration.
        device: where the weights go.

    Raises:
        DataError: the file is missing, damaged, holds non-finite weights, or belongs to another network.
    """
    network = UNet(topology)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    try:
        with safe_open(weights, framework="pt", device="cpu") as stored:
            _check_header(weights, {name: stored.get_slice(name) for name in stored.keys()}, expected)  # noqa: SIM118
            state = {name: stored.get_tensor(name) for name in expected}
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{weights}: the weights cannot be read ({error}); expected a safetensors file. {_REMEDY}"
        ) from None
    if bad := [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]:
        raise DataError(f"{weights}: {bad[0]} holds values that are not finite. {_REMEDY}")
    network.load_state_dict({name: tensor.to(device) for name, tensor in state.items()}, strict=True, assign=True)
    network.requires_grad_(requires_grad=False)
    return network.eval()


def _check_header(weights: Path, found: dict[str, object], expected: dict[str, tuple[int, ...]]) -> None:
    shapes = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in found.items()}  # type: ignore[attr-defined]
    wanted = {name: (shape, "F32") for name, shape in expected.items()}
    if shapes == wanted:
        return
    for name in sorted(shapes.keys() | wanted.keys()):
        if shapes.get(name) != wanted.get(name):
            raise DataError(
                f"{weights}: tensor {name!r} is {shapes.get(name, 'missing')}, the plan expects "
                f"{wanted.get(name, 'no such tensor')}; the weights belong to another plan. {_REMEDY}"
            )
