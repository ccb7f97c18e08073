"""The part of a methods section that is the same for all data: training, inference and selection in words."""

from __future__ import annotations

from nnbox.recipes import ForcedSamples, PostprocessingRule, Recipe
from nnbox.records.plan import Plan
from nnbox.rules import augmentation as ranges
from nnbox.rules.folds import FOLD_COUNT, FOLD_SEED
from nnbox.rules.loss import DICE_SMOOTHING
from nnbox.rules.postprocessing import SMALLEST_GAIN
from nnbox.rules.rulebook import RULEBOOKS
from nnbox.rules.sampling import forced_samples
from nnbox.rules.schedule import TRAINING_MOMENTUM, VALIDATION_MOMENTUM


def describe_recipe(plan: Plan) -> str:
    """Describe loss, optimiser, schedule, sampling and augmentation of a trainable recipe.

    Source: own (the words); 2018 §2.3, 2019 §2.2
    """
    recipe = RULEBOOKS[plan.recipe].recipe
    return " ".join((_optimiser(recipe), _stopping(recipe), _sampling(plan, recipe), _augmentation(plan)))


def describe_inference(plan: Plan, cases: int) -> str:
    """Describe cross-validation, inference, choice of the model and post-processing.

    Source: own (the words); 2018 §2.4 to §2.6, 2019 §2.3
    """
    recipe = RULEBOOKS[plan.recipe].recipe
    folds = max(2, min(FOLD_COUNT, cases))
    allowed = plan.choices.mirror_axes
    axes = "along all axes" if allowed is None else f"along {', '.join(allowed) or 'no axis'} (chosen by the user; own)"
    if recipe.postprocessing is PostprocessingRule.SINGLE_COMPONENT_REFERENCES:
        after = (
            "a structure that is one connected component in every training reference that holds it keeps only its "
            "largest predicted component [single_component_labels; 2018 §2.5]"
        )
    else:
        after = (
            "keeping only the largest component, first of all foreground, then of each structure, was adopted "
            f"where it raised the cross-validated mean Dice by more than {SMALLEST_GAIN:g} while no structure's mean "
            "fell and no case lost a structure [accept_step; own]"
        )
    return (
        f"All configurations are trained in a {folds}-fold cross-validation, shuffled with seed {FOLD_SEED}, cases of "
        "one patient kept together [make_folds; 2018 §2.3, 2019 §3, release]. Images are predicted in half-overlapping "
        f"patches with Gaussian weights, mirrored {axes} (2018 §2.4, 2019 §2.3); softmax outputs of the folds' models "
        "are averaged. Among all configurations with full-resolution output and all pairs of them, the one with the "
        "highest cross-validated mean foreground Dice is used for test cases [choose_candidate; 2018 §2.6]. Finally, "
        f"{after}."
    )


def _optimiser(recipe: Recipe) -> str:
    decay = f"weight decay {recipe.weight_decay:g}" if recipe.weight_decay else "no weight decay"
    variant = "amsgrad" if recipe.amsgrad else "no amsgrad"
    return (
        f"The loss is the sum of cross-entropy and soft Dice over the foreground classes (smoothing "
        f"{DICE_SMOOTHING:g}; 2018 §2.3, release). Adam starts at a rate of {recipe.learning_rate:g}, {decay}, "
        f"{variant} (2018 §2.3, 2019 §2.2, release). An epoch has {recipe.iterations_per_epoch} "
        "iterations (2018 §2.3), followed by "
        f"{recipe.validation_iterations} validation iterations (release)."
    )


def _stopping(recipe: Recipe) -> str:
    text = (
        f"The rate is multiplied by {recipe.rate_factor:g} when the moving average (momentum {TRAINING_MOMENTUM:g}) of "
        f"the training loss has not improved by {recipe.rate_threshold:g} for {recipe.rate_patience_epochs} epochs "
        f"[next_state; 2018 §2.3, 2019 §2.2, release]. Training ends when the rate is below {recipe.stop_rate:g}, "
    )
    if recipe.stop_patience_epochs is not None:
        text += (
            f"when the moving average (momentum {VALIDATION_MOMENTUM:g}) of the validation loss has not improved by "
            f"{recipe.stop_threshold:g} for {recipe.stop_patience_epochs} epochs, "
        )
    return f"{text}or after {recipe.maximum_epochs} epochs [why_finished]; the final weights are used (own)."


def _sampling(plan: Plan, recipe: Recipe) -> str:
    rule = "floor(B/3) + 1" if recipe.forced_samples is ForcedSamples.MORE_THAN_A_THIRD else "B - round(0.67 B)"
    counts = ", ".join(
        f"{item.name}: {sum(forced_samples(item.batch_size, recipe.forced_samples))} of {item.batch_size}"
        for item in plan.configurations
    )
    return (
        f"Of a batch of B samples, {rule} are centred on a voxel of a randomly chosen structure ({counts}) "
        "[forced_samples; 2018 §2.3, release]."
    )


def _augmentation(plan: Plan) -> str:
    small, large = ranges.SCALE_SMALLER[0], ranges.SCALE_LARGER[1]
    dark, bright = ranges.GAMMA_SMALLER[0], ranges.GAMMA_LARGER[1]
    text = (
        f"Augmentation: elastic deformation (p {ranges.ELASTIC_P:g}), rotation (p {ranges.ROTATION_P:g}, up to "
        f"±{ranges.ANGLE_DEG:g}°, in 2D ±{ranges.ANGLE_2D_DEG:g}°), scaling (p {ranges.SCALE_P:g}, "
        f"{small:g}–{large:g}), gamma (p {ranges.GAMMA_P:g} per channel, {dark:g}–{bright:g}), mirroring (p "
        f"{ranges.MIRROR_P:g} per axis)"
    )
    if any(item.previous for item in plan.configurations):
        text += (
            f"; the previous stage's masks are changed morphologically (p {ranges.MASK_P:g}) and lose a small "
            f"component (p {ranges.REMOVAL_P:g})"
        )
    return f"{text} [draw_augmentation; release]."
