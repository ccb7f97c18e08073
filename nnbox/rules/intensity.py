"""How intensities are brought to a common scale, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnbox.recipes import Recipe
from nnbox.records.dataset import Channel
from nnbox.records.fingerprint import Fingerprint, Intensity
from nnbox.records.plan import Decision, Normalization, NormalizationScheme


def typical_crop_ratio(crop_ratios: Sequence[float], recipe: Recipe) -> float:
    """Return the mean (2018) or median (2019) over cases of voxels after / before cropping.

    Source: 2018 §2.2 (average), release (median)
    """
    return float(np.median(crop_ratios) if recipe.mask_ratio_median else np.mean(crop_ratios))


def uses_nonzero_mask(crop_ratio: float, channel: Channel, recipe: Recipe) -> bool:
    """Apply the mask rule: cropping shrinks the data by a quarter or more.

    2018: ratio <= 3/4, every channel. 2019: ratio < 3/4, CT channels left out.

    Source: 2018 §2.2; release for 2019 (strictness, not for CT)
    """
    if channel.is_ct and not recipe.mask_rule_for_ct:
        return False
    return crop_ratio < recipe.mask_ratio or (recipe.mask_ratio_inclusive and crop_ratio == recipe.mask_ratio)


def choose_normalization(channel: Channel, intensity: Intensity | None, *, nonzero_mask: bool) -> Normalization:
    """Choose global clipping and scaling for CT, and a z-score per case for any other channel.

    Args:
        channel: its name decides.
        intensity: foreground statistics of the training set; None for a geometry-only fingerprint.
        nonzero_mask: outcome of the mask rule.

    Source: 2018 §2.2, 2019 §2.1
    """
    if not channel.is_ct:
        return Normalization(scheme=NormalizationScheme.ZSCORE, use_nonzero_mask=nonzero_mask)
    if intensity is None:
        return Normalization(scheme=NormalizationScheme.CT, use_nonzero_mask=nonzero_mask)
    return Normalization(
        scheme=NormalizationScheme.CT,
        use_nonzero_mask=nonzero_mask,
        mean=intensity.mean,
        sd=intensity.sd,
        lower=intensity.percentile_00_5,
        upper=intensity.percentile_99_5,
    )


def decide_normalizations(
    fingerprint: Fingerprint, recipe: Recipe
) -> tuple[tuple[Normalization, ...], tuple[Decision, ...]]:
    """Choose the normalisation of every channel and state why.

    Source: 2018 §2.2, 2019 §2.1
    """
    ratio = typical_crop_ratio([case.crop_ratio for case in fingerprint.cases], recipe)
    normalizations, decisions = [], []
    for index, channel in enumerate(fingerprint.channels):
        masked = uses_nonzero_mask(ratio, channel, recipe)
        intensity = fingerprint.intensities[index] if fingerprint.intensities is not None else None
        chosen = choose_normalization(channel, intensity, nonzero_mask=masked)
        normalizations.append(chosen)
        decisions.append(_decide_mask(channel, recipe, ratio, masked=masked))
        decisions.append(_decide_scheme(channel, chosen))
    return tuple(normalizations), tuple(decisions)


def _decide_mask(channel: Channel, recipe: Recipe, ratio: float, *, masked: bool) -> Decision:
    statistic = "median" if recipe.mask_ratio_median else "mean"
    relation = "at most" if recipe.mask_ratio_inclusive else "below"
    verdict = "inside the non-zero mask" if masked else "over the whole crop"
    exempt = channel.is_ct and not recipe.mask_rule_for_ct
    aside = " (CT channels are exempt)" if exempt else ""
    return Decision(
        subject=f"normalization.{channel.name}.use_nonzero_mask",
        rule=uses_nonzero_mask.__name__,
        source="2018 §2.2, release" if recipe.mask_ratio_median else "2018 §2.2",
        inputs={
            "crop_ratio": ratio,
            "statistic": statistic,
            "limit": recipe.mask_ratio,
            "inclusive": recipe.mask_ratio_inclusive,
            "exempt": exempt,
        },
        outcome=masked,
        sentence=(
            f"Cropping keeps {ratio:.3f} of the voxels ({statistic} over the cases); the mask rule asks for {relation} "
            f"{recipe.mask_ratio:g}{aside}: statistics {verdict}."
        ),
    )


def _decide_scheme(channel: Channel, chosen: Normalization) -> Decision:
    if chosen.scheme is NormalizationScheme.ZSCORE:
        sentence = f"Channel {channel.name} is not CT: brought to mean 0 and sd 1 in every case."
    elif chosen.mean is None:
        sentence = f"Channel {channel.name} is CT, but the fingerprint holds no intensities to scale it by."
    else:
        sentence = (
            f"Channel {channel.name} is CT: clipped to [{chosen.lower:g}, {chosen.upper:g}], then "
            f"(x - {chosen.mean:g}) / {chosen.sd:g}, from the foreground of all training cases."
        )
    return Decision(
        subject=f"normalization.{channel.name}.scheme",
        rule=choose_normalization.__name__,
        source="2018 §2.2, 2019 §2.1",
        inputs={"channel": channel.name, "is_ct": channel.is_ct},
        outcome=chosen.scheme.value,
        sentence=sentence,
    )
