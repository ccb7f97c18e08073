"""What the user asked to be trained, held against the data set and its plan."""

from __future__ import annotations

from dataclasses import replace

from nnbox.errors import UsageError
from nnbox.recipes import RECIPES, Recipe
from nnbox.records.plan import Folds, Plan
from nnbox.rules.folds import make_folds
from nnbox.stages.context import TakenIn
from nnbox.stages.options import TrainOptions


def folds_of(taken: TakenIn) -> Folds:
    """Return the folds given with ``--splits``, or those that the cases' names and patients make."""
    dataset = taken.dataset
    if dataset.folds is not None:
        return Folds(validation=dataset.folds, origin=f"{len(dataset.folds)} folds as given with --splits")
    groups = {case.name: case.patient for case in dataset.cases if case.patient is not None}
    return make_folds([case.name for case in dataset.cases], groups=groups)


def chosen_configurations(options: TrainOptions, plan: Plan) -> tuple[str, ...] | None:
    """Return ``--configurations``.

    Raises:
        UsageError: the plan lacks one.
    """
    planned = [item.name for item in plan.configurations]
    unknown = [name for name in options.configurations or () if name not in planned]
    if unknown:
        raise UsageError(f"--configurations {','.join(unknown)}: this data set's plan has {', '.join(planned)}")
    return options.configurations


def chosen_folds(options: TrainOptions, folds: Folds) -> tuple[int, ...] | None:
    """Return ``--folds``.

    Raises:
        UsageError: the data set lacks one.
    """
    count = len(folds.validation)
    unknown = [fold for fold in options.folds or () if fold >= count]
    if unknown:
        raise UsageError(f"--folds {','.join(map(str, unknown))}: this data set has folds 0 to {count - 1}")
    return options.folds


def recipe_of(options: TrainOptions) -> Recipe:
    """Return the recipe with ``--epochs`` in it.

    Raises:
        UsageError: no such recipe.
    """
    recipe = RECIPES.get(options.recipe)
    if recipe is None:
        raise UsageError(f"--recipe {options.recipe}: expected one of {', '.join(RECIPES)}")
    return recipe if options.epochs is None else replace(recipe, maximum_epochs=options.epochs)
