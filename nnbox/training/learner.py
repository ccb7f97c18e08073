"""A network in training with its optimiser: one step, one validation step, and their state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from nnbox.network.unet import build_network
from nnbox.randomness import generator
from nnbox.training.checkpoint import LossScaling
from nnbox.training.job import TrainingJob
from nnbox.training.loss import segmentation_loss
from nnbox.training.sample import Batch

_CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


class Learner:
    """The network of a job, its Adam optimiser, and its arithmetic: float32 on a CPU, mixed precision on a GPU."""

    def __init__(self, job: TrainingJob) -> None:
        topology, recipe = job.configuration.topology, job.recipe
        seed = int(generator(job.seed, f"{job.unit}/weights").integers(2**63))
        self.device = torch.device(job.device)
        self.classes = topology.classes
        self._batch_dice = job.configuration.batch_dice
        # Channels-last suits the CPU's convolutions; the same layout is rebuilt on resuming, since sums depend on it.
        on_cpu = self.device.type == "cpu"
        self._layout = _CHANNELS_LAST[topology.dimension] if on_cpu else torch.contiguous_format
        network = build_network(topology, seed).to(self.device)
        self.network = network.to(memory_format=self._layout)  # type: ignore[call-overload]
        self._optimizer = torch.optim.Adam(
            self.network.parameters(),
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            amsgrad=recipe.amsgrad,
            fused=True,
        )
        self._half = _half_precision(self.device)
        self._scaler = torch.amp.GradScaler("cuda", enabled=self._half == torch.float16)

    def gradients(self, batch: Batch) -> Tensor:
        """Compute a batch's gradients; return the loss as a detached scalar on the device, without waiting for it."""
        image, labels = self._place(batch)
        with self._autocast():
            logits = self.network(image)
        loss = segmentation_loss(logits, labels, batch_dice=self._batch_dice)
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def step(self, rate: float) -> None:
        """Let the optimiser use the gradients; until then the state is that of the step before."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._scaler.step(self._optimizer)
        self._scaler.update()

    def validate(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss and int64 (classes - 1, 3): voxels of reference, of prediction and of both, per label."""
        image, labels = self._place(batch)
        with torch.no_grad(), self._autocast():
            logits = self.network(image)
            loss = segmentation_loss(logits, labels, batch_dice=self._batch_dice)
            predicted = logits.argmax(dim=1)
            counts = []
            for label in range(1, self.classes):
                reference, found = labels == label, predicted == label
                counts.append(torch.stack((reference.sum(), found.sum(), (reference & found).sum())))
        return loss, torch.stack(counts)

    def synchronize(self) -> None:
        """Wait until the device has done everything asked of it, so that time can be measured."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @property
    def loss_scaling(self) -> LossScaling | None:
        """The state of fp16's loss scaling; None where there is none."""
        if not self._scaler.is_enabled():
            return None
        state = self._scaler.state_dict()
        return LossScaling(scale=float(state["scale"]), growth_steps=int(state["_growth_tracker"]))

    def weights(self) -> dict[str, Tensor]:
        """Return the network's parameters by name."""
        return dict(self.network.state_dict())

    def state(self) -> dict[str, Tensor]:
        """Return everything a resumed training needs: parameters, and the optimiser's sums and step counts."""
        tensors = {f"network/{name}": tensor for name, tensor in self.weights().items()}
        for name, parameter in self.network.named_parameters():
            for key, value in self._optimizer.state[parameter].items():
                tensors[f"optimizer/{name}/{key}"] = value
        return tensors

    def load(self, tensors: Mapping[str, Tensor], loss_scaling: LossScaling | None) -> None:
        """Take up a saved state, in the memory layout of a training that was never interrupted."""
        self.network.load_state_dict({name: tensors[f"network/{name}"] for name in self.weights()})
        for name, parameter in self.network.named_parameters():
            prefix = f"optimizer/{name}/"
            for key, value in tensors.items():
                if key.startswith(prefix):
                    self._optimizer.state[parameter][key.removeprefix(prefix)] = _like(value, parameter)
        if self._scaler.is_enabled() and loss_scaling is not None:
            restored = {"scale": loss_scaling.scale, "_growth_tracker": loss_scaling.growth_steps}
            self._scaler.load_state_dict({**self._scaler.state_dict(), **restored})

    def _place(self, batch: Batch) -> tuple[Tensor, Tensor]:
        image = torch.from_numpy(batch.image).to(self.device, memory_format=self._layout, non_blocking=True)
        labels = torch.from_numpy(batch.labels.astype(np.int64)).to(self.device, non_blocking=True)
        return image, labels

    def _autocast(self) -> AbstractContextManager[object]:
        return nullcontext() if self._half is None else torch.autocast(self.device.type, dtype=self._half)


def _half_precision(device: torch.device) -> torch.dtype | None:
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    if value.shape != parameter.shape:
        return value.to(parameter.device)  # a step count
    return torch.empty_like(parameter, requires_grad=False).copy_(value)
