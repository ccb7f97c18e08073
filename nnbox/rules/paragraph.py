"""The part of a methods section that is the same for all data: training, inference and selection in words."""

from __future__ import annotations

from nnbox.recipes import ForcedSamples, PostprocessingRule, Recipe
from nnbox.records.plan import Decision, Plan
from nnbox.rules import augmentation as ranges
from nnbox.rules.folds import FOLD_COUNT, FOLD_SEED
from nnbox.rules.loss import DICE_SMOOTHING
from nnbox.rules.postprocessing import SMALLEST_GAIN
from nnbox.rules.rulebook import RULEBOOKS
from nnbox.rules.sampling import forced_samples
from nnbox.rules.schedule import TRAINING_MOMENTUM, VALIDATION_MOMENTUM, continue_for
from nnbox.rules.sections import joined, reference
from nnbox.rules.time_budget import (
    DECAY_POWER,
    LAYOUT,
    LEAST_EPOCHS,
    divide_into_epochs,
    duration_words,
    steps_that_fit,
)

_SECTIONS = {"2018": "2018 §2.3", "2019": "2019 §2.2, release"}


def describe_recipe(plan: Plan) -> str:
    """Describe loss, optimiser, schedule, sampling and augmentation of a trainable recipe.

    Source: own (the words); 2018 §2.3, 2019 §2.2
    """
    recipe = RULEBOOKS[plan.recipe].recipe
    layout = next((item for item in plan.decisions if item.subject == LAYOUT), None)
    ending = _stopping(recipe) if layout is None else _layout(recipe, layout)
    return " ".join((_optimiser(recipe, exact=layout is None), ending, _sampling(plan, recipe), _augmentation(plan)))


def describe_inference(plan: Plan, cases: int) -> str:
    """Describe cross-validation, inference, choice of the model and post-processing.

    Source: own (the words); 2018 §2.4 to §2.6, 2019 §2.3
    """
    folds = max(2, min(FOLD_COUNT, cases))
    allowed = plan.choices.mirror_axes
    axes = "all axes" if allowed is None else f"{', '.join(allowed) or 'no axis'} (chosen by the user)"
    full = [item.name for item in plan.configurations if item.full_resolution]
    chosen = "The only configuration was used for test cases"
    if len(full) > 1:
        chosen = (
            f"Among {joined(full)} and the mean of every two of them, the one with the highest mean foreground Dice in "
            "the cross-validation was used for test cases"
        )
    text = (
        f"All configurations were trained in a {folds}-fold cross-validation, shuffled with seed {FOLD_SEED}, with all "
        "cases of a patient in one fold [make_folds; 2018 §2.3, 2019 §3, release]. Images were predicted in patches "
        "that overlap by half [tile_starts; 2018 §2.4], weighted by a Gaussian with a sigma of an eighth of the patch "
        f"[gaussian_weights; 2019 §2.3, release]; softmax outputs were averaged over mirroring along {axes} and over "
        "the networks of all folds [predict_case; 2018 §2.4], interpolated linearly back to the image's own grid "
        "[probabilities_on_crop; own], and each voxel was given its most probable class. "
    )
    if any(item.previous for item in plan.configurations):
        text += (
            "The second stage of the cascade was trained on first-stage predictions by the network whose fold had left "
            "the case out [check_previous; 2018 §2.1]. "
        )
    return f"{text}{chosen} [choose_candidate; 2018 §2.6, 2019 §2.3]. {_postprocessing(plan)}"


def _postprocessing(plan: Plan) -> str:
    if RULEBOOKS[plan.recipe].recipe.postprocessing is PostprocessingRule.SINGLE_COMPONENT_REFERENCES:
        return (
            "Of a structure that is one connected component in every training reference that holds it, only the "
            "largest predicted component was kept [single_component_labels; 2018 §2.5]."
        )
    return (
        "Keeping only the largest connected component, first of all foreground, then of each structure, was adopted "
        f"where it raised the cross-validated mean Dice by more than {_power(SMALLEST_GAIN)} while no structure's mean "
        "fell and no case lost a structure [accept_step; own]."
    )


def _optimiser(recipe: Recipe, *, exact: bool) -> str:
    extras = "without weight decay and amsgrad"
    if recipe.weight_decay and recipe.amsgrad:
        extras = f"with a weight decay of {_power(recipe.weight_decay)} and amsgrad"
    most = "" if exact else "at most "
    return (
        "Networks were trained from random weights on the sum of cross-entropy and soft Dice of the foreground classes "
        f"(smoothing {_power(DICE_SMOOTHING)}) [segmentation_loss; 2018 §2.3, release] with Adam, at an initial rate "
        f"of {_power(recipe.learning_rate)} {extras} [first_state; {_SECTIONS[recipe.name]}]. An epoch had "
        f"{most}{recipe.iterations_per_epoch} training (2018 §2.3) and {recipe.validation_iterations} validation "
        "iterations (release)."
    )


def _stopping(recipe: Recipe) -> str:
    section = _SECTIONS[recipe.name]
    reasons = [f"the rate fell below {_power(recipe.stop_rate)}"]
    if recipe.stop_patience_epochs is not None and recipe.stop_threshold is not None:
        reasons.append(
            f"the moving average of the validation loss (momentum {VALIDATION_MOMENTUM:g}, release) had not improved "
            f"by {_power(recipe.stop_threshold)} for {recipe.stop_patience_epochs} epochs"
        )
    own = ", own" if recipe.stop_patience_epochs is not None else ""
    return (
        f"The rate was multiplied by {recipe.rate_factor:g} whenever the moving average of the training loss (momentum "
        f"{TRAINING_MOMENTUM:g}, release) had not improved by {_power(recipe.rate_threshold)} for "
        f"{recipe.rate_patience_epochs} epochs [next_state; {section}]. Training ended when {', when '.join(reasons)}, "
        f"or after {recipe.maximum_epochs} epochs [why_finished; {section}{own}]; the final weights were used "
        "[train_fold; own]."
    )


def _layout(recipe: Recipe, layout: Decision) -> str:
    budget = duration_words(layout.inputs["time_budget_seconds"])
    return (
        f"Training was laid out for a time budget of {budget} for the whole run, from measured step times, with the "
        f"same number of steps for every network [{steps_that_fit.__name__}; own] in {LEAST_EPOCHS} epochs or more "
        f"[{divide_into_epochs.__name__}; own]. Instead of the recipe's own rule the rate fell with every step, in "
        f"proportion to (1 - progress)^{DECAY_POWER:g}, from {_power(recipe.learning_rate)} to "
        f"{_power(recipe.stop_rate)} at the last step {reference(layout)}; what was left was laid out anew after each "
        f"epoch [{continue_for.__name__}; own], and the final weights were used [train_fold; own]."
    )


def _sampling(plan: Plan, recipe: Recipe) -> str:
    rule, source = "B - round(0.67 B)", "release"
    if recipe.forced_samples is ForcedSamples.MORE_THAN_A_THIRD:
        rule, source = "floor(B / 3) + 1", "2018 §2.3"
    counts = ", ".join(
        f"{sum(forced_samples(item.batch_size, recipe.forced_samples))} of {item.batch_size} ({item.name})"
        for item in plan.configurations
    )
    return (
        f"Of the B patches of a batch, {rule} were centred on a voxel of a random structure of their case: {counts} "
        f"[forced_samples; {source}]."
    )


def _augmentation(plan: Plan) -> str:
    text = (
        "Each patch was augmented at random: elastic deformation (probability "
        f"{ranges.ELASTIC_P:g}; strength up to {ranges.ALPHA_3D[1]:g}, in 2D {ranges.ALPHA_2D[1]:g}; smoothed over "
        f"{ranges.SIGMA_VOX[0]:g}–{ranges.SIGMA_VOX[1]:g} voxels), rotation ({ranges.ROTATION_P:g}; up to "
        f"{ranges.ANGLE_DEG:g}° either way about each axis, in 2D {ranges.ANGLE_2D_DEG:g}°, or {ranges.ANGLE_DEG:g}° "
        f"where one edge exceeds {ranges.NARROW_ASPECT:g} times the other), scaling ({ranges.SCALE_P:g}; "
        f"{ranges.SCALE_SMALLER[0]:g}–{ranges.SCALE_LARGER[1]:g}), gamma ({ranges.GAMMA_P:g} for each channel; "
        f"{ranges.GAMMA_SMALLER[0]:g}–{ranges.GAMMA_LARGER[1]:g}) and mirroring ({ranges.MIRROR_P:g} for each axis)"
    )
    text += " [draw_augmentation; 2018 §2.3, numbers: release]."
    if any(item.previous for item in plan.configurations):
        low, high = ranges.MASK_RADII_VOX
        text += (
            f" What the second stage sees of the first was dilated, eroded, opened or closed by balls of {low}–{high} "
            f"voxels (probability {ranges.MASK_P:g}) and lost a component of less than "
            f"{100 * ranges.REMOVAL_LARGEST_SHARE:g} % of the patch ({ranges.REMOVAL_P:g}) [change_previous; "
            "2018 §2.3, numbers: release]."
        )
    return text


def _power(value: float) -> str:
    """Write a small number as ``3e-4``."""
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"
