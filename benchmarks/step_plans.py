"""The plans that steps are measured on, in numbers, and made-up batches and cases for them. Needs numpy and torch only.

`tests/benchmarks/test_step_plans.py` compares the numbers with the published plans and with the project's own rules.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nnbox.geometry import Box, Grid, Placement
from nnbox.recipes import RECIPE_2019
from nnbox.records.dataset import Channel, Choices, Label
from nnbox.records.engine import EngineWishes
from nnbox.records.plan import (
    ConfigurationPlan,
    Normalization,
    NormalizationScheme,
    Plan,
    Resampling,
    Topology,
)
from nnbox.training.job import TrainingJob
from nnbox.training.sample import Batch

_AUTO = EngineWishes()
Shape = tuple[int, int, int]
SEED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """A configuration that steps are measured on.

    Attributes:
        name: in row names.
        task: whose plan it is.
        patch, batch, pools, classes: as planned; every axis is pooled alike, one image channel.
        case: shape of a made-up case to cut patches from.
        batch_dice: the kind of Dice loss.
        features: of the first level; doubled per pooling up to 320.
    """

    name: str
    task: str
    patch: Shape
    batch: int
    pools: int
    classes: int
    case: Shape
    batch_dice: bool
    features: int = 30

    @property
    def words(self) -> str:
        """Patch and batch for people."""
        return f"{self.batch} x {'x'.join(map(str, self.patch))}, {self.classes} classes"


# Source: the 2019 plans of the Decathlon's tasks 3 and 4.
LARGE = StepPlan(
    name="128-cubed",
    task="Task03_Liver",
    patch=(128, 128, 128),
    batch=2,
    pools=5,
    classes=3,
    case=(200, 256, 256),
    batch_dice=True,
)
HIPPOCAMPUS = StepPlan(
    name="hippocampus",
    task="Task04_Hippocampus",
    patch=(40, 56, 40),
    batch=9,
    pools=3,
    classes=3,
    case=(36, 50, 35),
    batch_dice=False,
)


def tiny(plan: StepPlan) -> StepPlan:
    """Return a plan that takes every path of another in a blink."""
    return replace(plan, patch=(16, 16, 16), batch=2, pools=2, features=4, case=(24, 20, 18))


def topology(plan: StepPlan) -> Topology:
    levels = plan.pools + 1
    return Topology(
        dimension=3,
        input_channels=1,
        classes=plan.classes,
        features=tuple(min(320, plan.features * 2**level) for level in range(levels)),
        strides=((1, 1, 1), *((2, 2, 2),) * plan.pools),
        kernels=((3, 3, 3),) * levels,
    )


def configuration(plan: StepPlan) -> ConfigurationPlan:
    return ConfigurationPlan(
        name="3d_fullres",
        store="3d_fullres",
        previous=None,
        spacing_mm=(1.0, 1.0, 1.0),
        median_shape=plan.case,
        patch_size=plan.patch,
        batch_size=plan.batch,
        num_pool_per_axis=(plan.pools,) * 3,
        dummy_2d_augmentation=False,
        dummy_2d_axis=None,
        batch_dice=plan.batch_dice,
        full_resolution=True,
        resampling=Resampling(target_spacing_mm=(1.0, 1.0, 1.0), separate_axis_threshold=3.0, label_order=1),
        topology=topology(plan),
    )


def job(
    plan: StepPlan, folder: Path, *, device: str, cases: int = 4, workers: int = 0, engine: EngineWishes = _AUTO
) -> TrainingJob:
    """Return a training unit on made-up cases named ``case_0``, …; `write_cases` writes them to ``folder/store``."""
    own = configuration(plan)
    names = tuple(f"case_{index}" for index in range(cases))
    document = Plan(
        task=plan.task,
        recipe="2019",
        trainable=True,
        why_not_trainable=None,
        planning_memory_gb=12.0,
        dimension=3,
        axis_order=(0, 1, 2),
        channels=(Channel(name="image", is_ct=False),),
        labels=tuple(Label(value=value, name=f"label {value}") for value in range(1, plan.classes)),
        normalizations=(Normalization(scheme=NormalizationScheme.ZSCORE, use_nonzero_mask=False),),
        configurations=(own,),
        choices=Choices(),
        decisions=(),
    )
    return TrainingJob(
        plan=document,
        configuration=own,
        recipe=RECIPE_2019,
        fold=0,
        training_cases=names,
        validation_cases=names[-1:],
        store=folder / "store",
        previous_store=None,
        folder=folder / "fold_0",
        seed=SEED,
        device=device,
        workers=workers,
        engine=engine,
    )


def made_up(shape: Shape, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a float32 image (1, *shape) and its int16 labels: balls in noise, brighter the higher the label."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, dtype=np.int16)
    axes = np.ogrid[tuple(slice(0, size) for size in shape)]
    for _ in range(3):
        for label in range(1, classes):
            radius = rng.uniform(0.1, 0.2) * min(shape)
            centre = [rng.uniform(0.2, 0.8) * size for size in shape]
            inside = sum((axis - at) ** 2 for axis, at in zip(axes, centre, strict=True)) <= radius**2
            labels[inside] = label
    image = rng.standard_normal((1, *shape), dtype=np.float32)
    image += labels
    return image, labels


def batches(plan: StepPlan, count: int) -> list[Batch]:
    """Return made-up batches of patches, as a loader gives them."""
    found = []
    for index in range(count):
        pairs = [made_up(plan.patch, plan.classes, 100 * index + sample) for sample in range(plan.batch)]
        found.append(Batch(image=np.stack([image for image, _ in pairs]), labels=np.stack([one for _, one in pairs])))
    return found


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What `nnbox.imaging.prepare.PreparedArrays` holds, without the libraries that importing that one needs."""

    image: np.ndarray
    labels: np.ndarray
    placement: Placement


def write_cases(plan: StepPlan, folder: Path, cases: int) -> None:
    """Write made-up prepared cases to ``folder/store``, as preprocessing leaves them."""
    from nnbox.training.store import write_prepared

    shape = plan.case
    grid = Grid(
        shape_vox=shape,
        spacing_mm=(1.0, 1.0, 1.0),
        origin_xyz_mm=(0.0, 0.0, 0.0),
        direction_xyz=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    )
    placement = Placement(
        source_shape_vox=shape,
        axis_order=(0, 1, 2),
        crop=Box(start=(0, 0, 0), stop=shape),
        crop_spacing_mm=(1.0, 1.0, 1.0),
        prepared_shape_vox=shape,
        prepared_spacing_mm=(1.0, 1.0, 1.0),
    )
    for index in range(cases):
        image, labels = made_up(shape, plan.classes, index)
        write_prepared(folder / "store", f"case_{index}", _Prepared(image, labels, placement), grid)
