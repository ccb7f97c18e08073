"""A network in training with its optimiser: one step, one validation step, and their state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from nnbox.network.precision import autocast, half_type
from nnbox.network.unet import build_network, choose_norm_kind
from nnbox.network.widened import Widening
from nnbox.randomness import generator
from nnbox.records.engine import Engine, NormKind
from nnbox.records.precision import Precision
from nnbox.training.checkpoint import LossScaling
from nnbox.training.engine import settle_engine
from nnbox.training.feed import DeviceBatch, carried
from nnbox.training.job import TrainingJob
from nnbox.training.loss import segmentation_loss
from nnbox.training.recorded import Recorded, recorded_or_none
from nnbox.training.sample import Batch
from nnbox.training.scaling import LossScale
from nnbox.training.steadiness import is_sound, mark, total_size

_CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


class Learner:
    """The network of a job and its Adam optimiser, computing as an engine says.

    Attributes:
        engine: what it computes with.
        device: where.
        classes: of the network.
        network: in training; widened where the engine says so, while `weights` and `state` are of the planned one.
    """

    def __init__(self, job: TrainingJob, engine: Engine | None = None) -> None:
        """Build the network with the job's seed; ``engine`` None settles it here, see `settle_engine`."""
        topology, recipe = job.configuration.topology, job.recipe
        seed = int(generator(job.seed, f"{job.unit}/weights").integers(2**63))
        self.engine = settle_engine(job) if engine is None else engine
        self.device = torch.device(job.device)
        self.classes = topology.classes
        self._batch_dice = job.configuration.batch_dice
        # The same memory order is rebuilt on resuming, since sums depend on it.
        last = self.engine.channels_last
        self._layout = _CHANNELS_LAST[topology.dimension] if last else torch.contiguous_format
        network = build_network(topology, seed).to(self.device)
        self._widening = Widening(topology) if self.engine.wide else None
        if self._widening is not None:
            network = self._widening.network(network.state_dict()).requires_grad_()
        choose_norm_kind(network, self.engine.norm)
        network.kernels = self.engine.kernels
        self.network = network.to(memory_format=self._layout)  # type: ignore[call-overload]
        self._optimizer = torch.optim.Adam(
            self.network.parameters(),
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            amsgrad=recipe.amsgrad,
            fused=self.engine.fused_adam,
        )
        self._scale = LossScale(self.device) if self.engine.precision is Precision.FP16 else None
        self._size = torch.zeros((), device=self.device)
        self._sound: Tensor | None = None
        self._recorded = self._record(job) if self.engine.graphs else None
        if self.engine.graphs and self._recorded is None:
            reasons = (*self.engine.reasons, "recording the CUDA graph failed: launched anew every time")
            self.engine = replace(self.engine, graphs=False, reasons=reasons)

    def gradients(self, batch: Batch | DeviceBatch) -> Tensor:
        """Compute a batch's gradients; return the loss as a detached scalar on the device, without waiting for it."""
        image, labels = self._place(batch)
        if self._recorded is not None:
            return self._recorded(image, labels)
        return self._differentiate(image, labels).detach()

    def judge(self, loss: Tensor) -> Tensor:
        """Have the next step left out if loss or gradients are not finite; return the loss, then not a number.

        Nothing is waited for here: a fused optimiser reads the verdict on its device (for another `step` waits). The
        loss of a step that overflowed in fp16 stays a number while a smaller scale may help, since that is ordinary.
        """
        sound = is_sound(loss, self._size)
        if self.engine.fused_adam:
            self._optimizer.found_inf = (~sound).float()  # type: ignore[attr-defined] # as torch's loss scaling does
        self._sound = sound
        return mark(loss, sound if self._scale is None else sound | self._scale.excuses())

    def step(self, rate: float) -> None:
        """Let the optimiser use the gradients; until then the state is that of the step before."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        if self._sound is None or self.engine.fused_adam or bool(self._sound):
            self._optimizer.step()
        if self._sound is not None and self._scale is not None:
            self._scale.follow(self._sound)

    def validate(self, batch: Batch | DeviceBatch) -> tuple[Tensor, Tensor]:
        """Return the loss and int64 (classes - 1, 3): voxels of reference, of prediction and of both, per label."""
        image, labels = self._place(batch)
        with torch.no_grad():
            with autocast(self.device, self.engine.precision):
                logits = self.network(image)
            loss = segmentation_loss(logits, labels, batch_dice=self._batch_dice, kernels=self.engine.kernels)
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
        return None if self._scale is None else self._scale.state()

    def weights(self) -> dict[str, Tensor]:
        """Return the network's parameters by name."""
        return {name: self._planned(name, tensor) for name, tensor in self.network.state_dict().items()}

    def state(self) -> dict[str, Tensor]:
        """Return everything a resumed training needs: parameters, and the optimiser's sums and step counts."""
        tensors = {f"network/{name}": tensor for name, tensor in self.weights().items()}
        for name, parameter in self.network.named_parameters():
            for key, value in self._optimizer.state[parameter].items():
                tensors[f"optimizer/{name}/{key}"] = self._planned(name, value)
        return tensors

    def load(self, tensors: Mapping[str, Tensor], loss_scaling: LossScaling | None) -> None:
        """Take up a saved state, in the memory layout of a training that was never interrupted."""
        names = self.network.state_dict()
        self.network.load_state_dict({name: self._as_computed(name, tensors[f"network/{name}"]) for name in names})
        for name, parameter in self.network.named_parameters():
            prefix = f"optimizer/{name}/"
            for key, value in tensors.items():
                if key.startswith(prefix):
                    own = _like(self._as_computed(name, value), parameter)
                    self._optimizer.state[parameter][key.removeprefix(prefix)] = own
        if self._scale is not None and loss_scaling is not None:
            self._scale.load(loss_scaling)

    def _planned(self, name: str, values: Tensor) -> Tensor:
        """Return the planned part of a parameter's array; step counts have no parts."""
        return values if self._widening is None or not values.ndim else self._widening.narrowed(name, values)

    def _as_computed(self, name: str, values: Tensor) -> Tensor:
        return values if self._widening is None or not values.ndim else self._widening.widened(name, values)

    def _differentiate(self, image: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of a batch on the device, and its gradients."""
        # A recorded step makes its gradients anew, in memory of its own that every replay writes again.
        self._optimizer.zero_grad(set_to_none=True)
        with autocast(self.device, self.engine.precision, weights_kept=not self.engine.graphs):
            logits = self.network(image)
        loss = segmentation_loss(logits, labels, batch_dice=self._batch_dice, kernels=self.engine.kernels)
        if self._scale is None:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            self._scale.backward(loss, self.network.parameters())
        # Here, so that a recorded step has it in its recording.
        self._size = total_size([item.grad for item in self.network.parameters() if item.grad is not None])
        return loss

    def _record(self, job: TrainingJob) -> Recorded | None:
        configuration = job.configuration
        samples, patch = configuration.batch_size, configuration.patch_size
        image = self._laid_out(
            torch.zeros((samples, configuration.topology.input_channels, *patch), device=self.device)
        )
        labels = torch.zeros((samples, *patch), dtype=torch.int16, device=self.device)
        return recorded_or_none(self._differentiate, image, labels)

    def _place(self, batch: Batch | DeviceBatch) -> tuple[Tensor, Tensor]:
        found = carried(batch, self.device) if isinstance(batch, Batch) else batch
        return self._laid_out(found.image), found.labels

    def _laid_out(self, image: Tensor) -> Tensor:
        """Return an image in the memory order of the network's maps, and in 16 bits where its kernels read it."""
        half = half_type(self.engine.precision) if self.engine.norm is NormKind.TRITON else None
        return image.to(half or image.dtype, memory_format=self._layout)


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    if value.shape != parameter.shape:
        return value.to(parameter.device)  # a step count
    return torch.empty_like(parameter, requires_grad=False).copy_(value)
