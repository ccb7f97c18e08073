"""Synthetic data sets are what a smoke test needs: readable, repeatable, learnable only from the images."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import ndimage

from nnbox.errors import UsageError
from nnbox.imaging.integrity import file_findings
from nnbox.imaging.io import read_image, read_labels
from nnbox.records.dataset import Channel, Choices, Label
from nnbox.records.fingerprint import CaseFingerprint, Fingerprint
from nnbox.rules.planning import make_plan
from nnbox.synthesize import PRESETS, synthesize
from nnbox.synthesize.dataset import draw_case


def small(name, **changes):
    return dataclasses.replace(PRESETS[name], **{"training_cases": 3, "test_cases": 2} | changes)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def drawn_labels(preset, seed=0):
    """Consecutive labels and spacing of every training case."""
    cases = [draw_case(preset, index, seed) for index in range(preset.training_cases)]
    return [(np.searchsorted([0, *preset.label_values], labels), spacing_mm) for _, labels, spacing_mm in cases]


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def fixed_shape_dice(maps, label):
    """Cross-validated Dice of the label's mean shape at the threshold that is best on the other cases."""

    def resized(volume, shape):
        factors = [new / old for new, old in zip(shape, volume.shape, strict=True)]
        return ndimage.zoom(volume, factors, order=1, grid_mode=True, mode="nearest")

    masks = [labels == label for labels in maps]
    found = []
    for fold in range(5):
        known = [mask for index, mask in enumerate(masks) if index % 5 != fold]
        mean = np.mean([resized(mask.astype(np.float32), known[0].shape) for mask in known], axis=0)

        def score(threshold, over, mean=mean):
            return np.mean([dice(resized(mean, mask.shape) >= threshold, mask) for mask in over])

        best = max(np.linspace(0.05, 0.95, 19) * mean.max(), key=lambda threshold: score(threshold, known))
        found.append(score(best, masks[fold::5]))
    return float(np.mean(found))


@pytest.mark.parametrize("name", PRESETS)
def test_a_data_set_is_laid_out_as_the_decathlon_is_and_reads_back(tmp_path, name):
    preset = small(name)
    made = synthesize(tmp_path / "Task99_Synthetic", preset)
    description = json.loads((made.folder / "dataset.json").read_text())
    assert description["name"] == "Task99_Synthetic"
    assert list(description["modality"].values()) == list(preset.modalities)
    assert description["labels"].keys() == {"0", "1", "3"}
    assert (description["numTraining"], description["numTest"]) == (3, 2)
    listed = {"dataset.json", *(path.removeprefix("./") for path in description["test"])}
    for entry in description["training"]:
        paths = [made.folder / entry["image"], made.folder / entry["label"]]
        listed |= {path.relative_to(made.folder).as_posix() for path in paths}
        (image, grid), (labels, label_grid) = read_image([paths[0]]), read_labels(paths[1])
        assert all(file_findings(path) == () for path in paths)
        assert grid == label_grid
        assert grid.dimension == preset.dimension
        assert len(image) == len(preset.modalities)
        assert set(np.unique(labels)) == {0, 1, 3}
    assert set(contents(made.folder)) == listed


def test_the_labels_of_test_images_lie_outside_the_data_set(tmp_path):
    made = synthesize(tmp_path / "data", small("smoke"))
    assert made.references == tmp_path / "data-references"
    references = {path.name for path in (made.references / "labelsTs").iterdir()}
    assert references == {path.name for path in (made.folder / "imagesTs").iterdir()}
    assert not references & {path.name for path in (made.folder / "labelsTr").iterdir()}


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path):
    preset = small("smoke", training_cases=1, test_cases=1)
    first, second, other = (tmp_path / name / "data" for name in "abc")
    for folder, seed in ((first, 4), (second, 4), (other, 5)):
        synthesize(folder, preset, seed)
    assert contents(first.parent) == contents(second.parent)
    assert contents(first.parent) != contents(other.parent)


def test_no_fixed_shape_gets_near_the_smoke_data():
    maps = [labels for labels, _ in drawn_labels(PRESETS["smoke"])]
    assert max(fixed_shape_dice(maps, label) for label in (1, 2)) < 0.3


def test_intensity_tells_the_structures_apart():
    preset = PRESETS["smoke"]
    image, labels, _ = draw_case(preset, 0, seed=0)
    means = [image[0][labels == value].mean() for value in (0, *preset.label_values)]
    spread = max(image[0][labels == value].std() for value in (0, *preset.label_values))
    assert means[2] + 3 * spread < means[0] < means[1] - 3 * spread


def test_a_stray_bright_spot_gives_post_processing_something_to_do():
    preset = PRESETS["smoke"]
    found = 0
    for index in range(preset.training_cases):
        image, labels, _ = draw_case(preset, index, seed=0)
        found += bool(((image[0] > 750) & (labels == 0)).sum() > 4)
    assert 5 <= found < preset.training_cases


def test_permuted_labels_are_those_of_other_cases_and_test_labels_are_true():
    true, permuted = PRESETS["smoke"], PRESETS["permuted"]
    overlaps = []
    for index in range(true.training_cases):
        image, labels, _ = draw_case(true, index, seed=0)
        same_image, others, _ = draw_case(permuted, index, seed=0)
        np.testing.assert_array_equal(image, same_image)
        overlaps.append(dice(labels == 1, others == 1))
    assert np.mean(overlaps) < 0.15
    last = true.training_cases
    np.testing.assert_array_equal(draw_case(true, last, 0)[1], draw_case(permuted, last, 0)[1])


@pytest.mark.parametrize("recipe", ["2018", "2019"])
def test_the_smoke_data_has_all_four_configurations_under_a_small_memory(recipe):
    cases = tuple(
        CaseFingerprint(
            name=f"case_{index}",
            source_shape_vox=labels.shape,
            shape_vox=labels.shape,
            spacing_mm=spacing_mm,
            crop_ratio=1.0,
            label_voxels=(1, 1),
            components=(1, 1),
        )
        for index, (labels, spacing_mm) in enumerate(drawn_labels(PRESETS["smoke"]))
    )
    fingerprint = Fingerprint(
        task="smoke",
        dimension=3,
        channels=(Channel(name="MRI", is_ct=False),),
        labels=(Label(value=1, name="bright"), Label(value=3, name="dark")),
        cases=cases,
        intensities=None,
    )
    plan = make_plan(fingerprint, recipe=recipe, planning_memory_gb=0.007, choices=Choices())
    assert {item.name for item in plan.configurations} == {"2d", "3d_fullres", "3d_lowres", "3d_cascade"}


def test_an_unknown_preset_or_a_folder_in_use_is_refused(tmp_path):
    with pytest.raises(UsageError, match="smoke, ct, 2d, permuted"):
        synthesize(tmp_path / "data", "huge")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").touch()
    with pytest.raises(UsageError, match="not empty"):
        synthesize(tmp_path / "data", small("smoke"))
    (tmp_path / "more-references").mkdir()
    (tmp_path / "more-references" / "file").touch()
    with pytest.raises(UsageError, match="more-references"):
        synthesize(tmp_path / "more", small("smoke"))
