"""The plan in words: nothing is left out, every number has its rule."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import nnbox.rules
from nnbox.recipes import RECIPES
from nnbox.records.dataset import Channel, Choices, Label
from nnbox.records.fingerprint import CaseFingerprint, Fingerprint, Intensity
from nnbox.rules.external import fingerprint_from_json
from nnbox.rules.methods import methods_text, plan_argument
from nnbox.rules.planning import make_plan
from nnbox.rules.time_budget import decide_layout

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


def _text(plan, fingerprint, *, latex=False):
    return " ".join(methods_text(plan, fingerprint, latex=latex).split())


@pytest.mark.parametrize("recipe", ["2018", "2019", "2021"])
def test_the_section_names_the_data_and_each_number_with_its_rule(recipe):
    fingerprint = _fingerprint()
    plan = make_plan(fingerprint, recipe=recipe, choices=Choices())
    text = _text(plan, fingerprint)
    for words in (
        "Task77_Made_Up has 8 labelled training cases: 3D images with the channels CT and PET 100% and the structures",
        "organ_a and organ & b",
        "measure 60 × 300 × 280 voxels (z, y, x) at spacings of 2.5 × 0.8 × 0.8 mm",
        "Channel CT was clipped to [-17, 201]",
        "reduced by its mean, 99.5, and divided by its standard deviation, 37.25 [choose_normalization; ",
        "Channel PET 100% was normalised to mean 0 and standard deviation 1 in every case [choose_normalization; ",
    ):
        assert words in text
    for item in plan.configurations:
        part = text.split(f" ({item.name}). ")[1]
        assert f"{'over the batch' if item.batch_dice else 'for each sample'}" in part
        if item.previous:
            assert f"with {item.topology.input_channels} input channels" in part
            continue
        sizes = " × ".join(str(size) for size in item.patch_size)
        assert f"A patch has {sizes} voxels" in part
        assert f"The batch size is {item.batch_size}: " in part
        assert f"{'/'.join(str(number) for number in item.topology.features)} features [choose_features; " in part
        decision = next(decision for decision in plan.decisions if decision.subject == f"{item.name}.patch_size")
        assert f"{decision.inputs['cost']:,} " in part
        assert f"[{decision.rule}; " in part


@pytest.mark.parametrize("recipe", ["2018", "2019", "2021"])
@pytest.mark.parametrize(
    "made",
    [
        {},
        {"shape_vox": (300, 300, 300), "spacing_mm": (1.0, 1.0, 1.0)},
        {"shape_vox": (20, 20, 4), "spacing_mm": (1.0, 1.0, 5.0)},
    ],
)
def test_every_rule_the_section_names_is_in_the_ledger(recipe, made):
    fingerprint = _fingerprint(**made)
    text = _text(make_plan(fingerprint, recipe=recipe, choices=Choices()), fingerprint)
    named = set(re.findall(r"\[(\w+); (?:2018|2019|release|own)", text))
    assert len(named) > 15
    ledger = (Path(nnbox.rules.__file__).parent / "README.md").read_text(encoding="utf-8")
    known = {function.split(".")[-1] for function in re.findall(r"`([\w.]+)`", ledger)}
    assert named - known == set()
    # No bracket is left without a rule and a source, other than an interval.
    assert all(
        re.match(r"\[(\w+; (2018|2019|release|own)|-?[\d.]+, )", found) for found in re.findall(r"\[[^]]*]", text)
    )


@pytest.mark.parametrize("recipe", ["2018", "2019", "2021"])
def test_no_sentence_is_said_twice_within_a_part(reference, recipe):
    document = json.loads((reference / "msd_fingerprints.json").read_text())
    for task in document:
        fingerprint = fingerprint_from_json(document, task=task, where="reference")
        plan = make_plan(fingerprint, recipe=recipe, choices=Choices())
        for part in methods_text(plan, fingerprint, latex=False).split("\n\n"):
            sentences = " ".join(part.split()).split(". ")
            assert len(sentences) == len(set(sentences)), task


def test_the_section_of_prostate_reads_as_the_published_table(reference):
    document = json.loads((reference / "msd_fingerprints.json").read_text())
    fingerprint = fingerprint_from_json(document, task="Task05_Prostate", where="reference")
    text = _text(make_plan(fingerprint, recipe="2018", choices=Choices()), fingerprint)
    published = json.loads((reference / "plans_2018_table1.json").read_text())["Task05_Prostate"]
    for name, row in published.items():
        part = text.split(f" ({name}). ")[1]
        for field, words in (
            ("median_shape", "where the median case has {} voxels"),
            ("patch_size", "A patch has {} voxels"),
            ("batch_size", "The batch size is {}: "),
        ):
            if field in row:
                value = row[field] if isinstance(row[field], list) else [row[field]]
                assert words.format(" × ".join(str(size) for size in value)) in part
    assert "Cropping kept 99.7 % of the voxels (mean over the cases) and the mask rule asks for at most 75 %" in text


def test_the_section_tells_the_recipes_apart():
    fingerprint = _fingerprint()
    flat = {
        recipe: _text(make_plan(fingerprint, recipe=recipe, choices=Choices()), fingerprint)
        for recipe in ("2018", "2019", "2021")
    }
    assert "without weight decay and amsgrad [first_state; 2018 §2.3]" in flat["2018"]
    assert "with a weight decay of 3e-5 and amsgrad [first_state; 2019 §2.2, release]" in flat["2019"]
    assert "had not improved by 5e-3 for 60 epochs" in flat["2018"]
    assert "for 60 epochs" not in flat["2019"]
    assert "label maps by nearest neighbour [choose_resampling; 2018 §2.2]" in flat["2018"]
    assert "label maps linearly, each label by itself [choose_resampling; 2019 §2.1]" in flat["2019"]
    assert "by more than a factor of 3" not in flat["2018"]
    assert "every training reference" in flat["2018"]
    assert "cross-validated mean Dice by more than 1e-4" in flat["2019"]
    assert " Training. " not in flat["2021"]
    assert "This is a plan, and nothing was trained from it: the 2021 rules" in flat["2021"]


def test_a_section_from_geometry_alone_says_so():
    fingerprint = replace(_fingerprint(), intensities=None)
    text = _text(make_plan(fingerprint, recipe="2019", choices=Choices()), fingerprint)
    assert "nothing was trained from it: geometry only" in text
    assert "which are not known from geometry alone" in text
    assert "None" not in text


def test_a_plane_is_described_by_its_two_axes():
    made = _fingerprint(shape_vox=(1, 300, 280), spacing_mm=(1.0, 0.5, 0.8))
    fingerprint = replace(made, dimension=2)
    text = _text(make_plan(fingerprint, recipe="2019", choices=Choices()), fingerprint)
    assert "measure 300 × 280 voxels (y, x) at spacings of 0.5 × 0.8 mm" in text
    assert "Images were resampled to 0.5 × 0.8 mm" in text
    assert "The only configuration was used for test cases" in text
    assert "in plane" not in text.split("Training. ")[0]


def test_the_latex_form_escapes_what_latex_would_trip_over():
    fingerprint = _fingerprint()
    text = methods_text(make_plan(fingerprint, recipe="2019", choices=Choices()), fingerprint, latex=True)
    assert r"Task77\_Made\_Up" in text
    assert r"organ \& b" in text
    assert r"PET 100\%" in text
    assert r"\paragraph{3D network at full resolution (3d\_fullres).}" in text
    assert r"60 $\times$ 300 $\times$ 280 voxels" in text
    assert r"$3\cdot 10^{-4}$" in text
    assert not re.search(r"(?<!\\)[_&%#]", re.sub(r"\$[^$]*\$", "", text))
    assert text.count("$") % 2 == 0
    assert text.isascii()


def test_a_user_who_forbids_mirroring_reads_so():
    fingerprint = _fingerprint()
    plan = make_plan(fingerprint, recipe="2019", choices=Choices(mirror_axes=("z",)))
    assert "along z (chosen by the user)" in _text(plan, fingerprint)


@pytest.mark.parametrize("recipe", ["2018", "2019"])
def test_a_time_budget_is_described_instead_of_the_recipes_schedule(recipe):
    fingerprint = _fingerprint()
    plan = make_plan(fingerprint, recipe=recipe, choices=Choices())
    layout = decide_layout(RECIPES[recipe], 36 * 3600.0)
    text = _text(replace(plan, decisions=(*plan.decisions, layout)), fingerprint)
    assert "laid out for a time budget of 1d12h for the whole run" in text
    assert "from 3e-4 to 1e-6 at the last step [laid_out_rate; own]" in text
    assert "An epoch had at most 250 training (2018 §2.3) and 50 validation iterations" in text
    for words in ("had not improved", "after 1000 epochs", "was multiplied by"):
        assert words in _text(plan, fingerprint)
        assert words not in text
    assert "- schedule = laid out for a time budget" in plan_argument(replace(plan, decisions=(layout,)))
