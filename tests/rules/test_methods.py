"""The plan in words: nothing is left out, every number has its rule."""

from __future__ import annotations

import re

import pytest

from nnbox.records.dataset import Channel, Choices, Label
from nnbox.records.fingerprint import CaseFingerprint, Fingerprint, Intensity
from nnbox.rules.methods import methods_text, plan_argument
from nnbox.rules.planning import make_plan

FIELDS = ("median_shape", "spacing_mm", "patch_size", "batch_size", "num_pool_per_axis", "dummy_2d_augmentation")


def _fingerprint(shape_vox=(60, 300, 280), spacing_mm=(2.5, 0.8, 0.8)):
    case = {"source_shape_vox": shape_vox, "shape_vox": shape_vox, "spacing_mm": spacing_mm, "crop_ratio": 1.0}
    return Fingerprint(
        task="Task77_Made_Up",
        dimension=3,
        channels=(Channel(name="CT", is_ct=True), Channel(name="PET 100%", is_ct=False)),
        labels=(Label(value=1, name="organ_a"), Label(value=2, name="organ & b")),
        cases=tuple(
            CaseFingerprint(name=f"case_{index}", label_voxels=(5, 5), components=(1, 1), **case) for index in range(8)
        ),
        intensities=(_intensity(), _intensity()),
    )


def _intensity():
    return Intensity(
        mean=99.5, sd=37.25, percentile_00_5=-17.0, percentile_99_5=201.0, minimum=-200.0, maximum=900.0, voxels=4321
    )


@pytest.mark.parametrize("recipe", ["2018", "2019", "2021"])
def test_the_argument_gives_every_decision_with_rule_source_and_numbers(recipe):
    plan = make_plan(_fingerprint(), recipe=recipe, choices=Choices())
    text = " ".join(plan_argument(plan).split())
    assert len({decision.subject for decision in plan.decisions}) == len(plan.decisions)
    for decision in plan.decisions:
        assert f"- {decision.subject} = " in text
        assert " ".join(decision.sentence.split()) in text
        assert f"[{decision.rule}; {decision.source}] saw " in text
        for name in decision.inputs:
            assert f"{name} = " in text
    for configuration in plan.configurations:
        for field in FIELDS:
            assert f"{field} = " in text, configuration.name
    assert (plan.why_not_trainable or "Training: possible") in text


@pytest.mark.parametrize("recipe", ["2018", "2019", "2021"])
def test_the_paragraph_names_each_number_and_its_rule(recipe):
    fingerprint = _fingerprint()
    plan = make_plan(fingerprint, recipe=recipe, choices=Choices())
    text = " ".join(methods_text(plan, fingerprint, latex=False).split())
    for word in ("Task77_Made_Up", "8 labelled training cases", "organ & b", "99.5", "37.25", "[-17, 201]"):
        assert word in text
    for configuration in plan.configurations:
        assert f"Configuration {configuration.name} at " in text
        assert " x ".join(str(size) for size in configuration.patch_size) in text or configuration.previous
    rules = {
        decision.rule
        for decision in plan.decisions
        if decision.subject.split(".")[-1] in {"patch_size", "batch_size", "num_pool_per_axis", "median_shape"}
    }
    assert all(f"[{rule}; " in text for rule in rules)


def test_the_paragraph_tells_the_recipes_apart():
    fingerprint = _fingerprint()
    texts = {
        recipe: methods_text(make_plan(fingerprint, recipe=recipe, choices=Choices()), fingerprint, latex=False)
        for recipe in ("2018", "2019", "2021")
    }
    flat = {recipe: " ".join(text.split()) for recipe, text in texts.items()}
    assert "no weight decay, no amsgrad" in flat["2018"]
    assert "weight decay 3e-05, amsgrad" in flat["2019"]
    assert "for 60 epochs" in flat["2018"]
    assert "for 60 epochs" not in flat["2019"]
    assert "Training." not in flat["2021"]
    assert "a plan only" in flat["2021"]


def test_the_latex_form_escapes_what_latex_would_trip_over():
    fingerprint = _fingerprint()
    text = methods_text(make_plan(fingerprint, recipe="2019", choices=Choices()), fingerprint, latex=True)
    assert r"Task77\_Made\_Up" in text
    assert r"organ \& b" in text
    assert r"PET 100\%" in text
    assert r"\paragraph{Networks.}" in text
    assert not re.search(r"(?<!\\)[_&%#]", text)
    assert text.isascii()


def test_a_user_who_forbids_mirroring_reads_so():
    fingerprint = _fingerprint()
    plan = make_plan(fingerprint, recipe="2019", choices=Choices(mirror_axes=("z",)))
    assert "along z (chosen by the user; own)" in " ".join(methods_text(plan, fingerprint, latex=False).split())
