"""Which networks answer for which case, checked against an explicit evaluation with the weights on disk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nnbox.imaging.components import largest_component
from nnbox.imaging.io import read_image
from nnbox.imaging.prepare import prepare
from nnbox.inference.export import (
    labels_on_prepared,
    labels_on_source,
    load_probabilities,
    original_values,
    probabilities_on_crop,
)
from nnbox.inference.model import load_network
from nnbox.inference.predict import open_window, predict_case
from nnbox.inference.volume import Volume
from nnbox.network.device import Device
from nnbox.records.codec import read_record
from nnbox.records.plan import Folds, Plan
from nnbox.records.precision import Precision
from nnbox.records.results import PostprocessingStep, Selection
from nnbox.stages.ensemble import Ensemble, PredictionSettings
from nnbox.stages.workspace import Workspace
from nnbox.submission.bundle import ModelBundle
from nnbox.training.store import load_image, load_prepared, load_previous

CPU = Device(name="cpu", description="", memory_bytes=None)


def _networks(workspace, plan, name, folds):
    return [load_network(workspace.weights(name, fold), plan.configuration(name).topology, "cpu") for fold in folds]


def _softmax(plan, name, networks, image, previous=None):
    """All mirror axes: 8 passes in 3D, 4 in 2D."""
    item = plan.configuration(name)
    axes = tuple(range(item.topology.dimension))
    window = open_window(networks, item.patch_size, axes, "cpu", Precision.AUTO)
    return predict_case(window, Volume(image, previous, len(plan.labels)))


@pytest.fixture(scope="module")
def run(finished):
    out = finished[0]
    return Workspace(out), read_record(out / "plan.json", Plan), read_record(out / "folds.json", Folds)


@pytest.mark.parametrize("name", ["2d", "3d_fullres", "3d_lowres", "3d_cascade"])
def test_a_validation_case_is_answered_by_the_network_of_its_own_fold_alone(run, name):
    workspace, plan, folds = run
    item = plan.configuration(name)
    for fold in (1, 4):
        (case,) = folds.validation[fold]
        image = np.array(load_image(workspace.store(item.store), case))
        previous = None if item.previous is None else load_previous(workspace.previous, case)
        placement = load_prepared(workspace.store(item.store), case).placement
        stored = load_probabilities(workspace.validation(name, case))
        off = []
        for other in range(5):
            softmax = _softmax(plan, name, _networks(workspace, plan, name, [other]), image, previous)
            off.append(np.abs(probabilities_on_crop(softmax, placement, item.resampling) - stored).max())
        # Stored in steps of 1/255; the background carries what is missing of two labels.
        assert off[fold] <= 2 / 510 + 1e-4
        assert min(off[:fold] + off[fold + 1 :]) > off[fold]


def test_the_first_stage_of_a_training_case_is_the_answer_of_the_fold_that_did_not_see_it(run):
    workspace, plan, folds = run
    low = plan.configuration("3d_lowres")
    for fold in (0, 3):
        (case,) = folds.validation[fold]
        placement = load_prepared(workspace.store("3d_lowres"), case).placement
        target = load_prepared(workspace.store("3d_fullres"), case).placement
        image = np.array(load_image(workspace.store("3d_lowres"), case))
        softmax = _softmax(plan, "3d_lowres", _networks(workspace, plan, "3d_lowres", [fold]), image)
        expected = labels_on_prepared(softmax, placement, target, low.resampling)
        np.testing.assert_array_equal(load_previous(workspace.previous, case), expected)


def _bundle(workspace, plan, members, steps):
    names = ("2d", "3d_fullres", "3d_lowres", "3d_cascade")
    selection = replace(
        read_record(workspace.selection, Selection),
        candidate="+".join(members),
        members=members,
        folds=dict.fromkeys(names, (0, 1, 2, 3, 4)),
        postprocessing=steps,
    )
    weights = {(name, fold): workspace.weights(name, fold) for name in names for fold in range(5)}
    return ModelBundle(folder=workspace.model, manifest=None, plan=plan, selection=selection, weights=weights)


@pytest.mark.parametrize("steps", [(), (0, 1, 2)])
def test_a_test_case_is_answered_by_all_networks_of_all_members_mirrored_and_post_processed(run, tiny_source, steps):
    workspace, plan, _ = run
    image, grid = read_image([sorted((tiny_source / "imagesTs").iterdir())[0]])
    every = range(5)
    full, low = plan.configuration("3d_fullres"), plan.configuration("3d_lowres")
    prepared = {item.name: prepare(image, None, grid, plan, item) for item in (plan.configuration("2d"), full, low)}
    coarse = _softmax(plan, "3d_lowres", _networks(workspace, plan, "3d_lowres", every), prepared["3d_lowres"].image)
    first = labels_on_prepared(
        coarse, prepared["3d_lowres"].placement, prepared["3d_fullres"].placement, low.resampling
    )
    maps = []
    for name, arrays in (("2d", prepared["2d"]), ("3d_cascade", prepared["3d_fullres"])):
        previous = first if name == "3d_cascade" else None
        softmax = _softmax(plan, name, _networks(workspace, plan, name, every), arrays.image, previous)
        maps.append(probabilities_on_crop(softmax, arrays.placement, plan.configuration(name).resampling))
    plain = expected = labels_on_source((maps[0] + maps[1]) / 2, prepared["3d_fullres"].placement)
    for label in steps:
        expected = largest_component(expected, label or None)
    assert (plain != expected).any() == bool(steps)
    chosen = tuple(PostprocessingStep(label=label) for label in steps)
    bundle = _bundle(workspace, plan, ("2d", "3d_cascade"), chosen)
    found = Ensemble(bundle, CPU, PredictionSettings()).predict(image, grid)
    # Adding in another order may turn a voxel whose two best classes are equal.
    assert np.mean(found != original_values(expected, plan.labels)) < 1e-3
    assert (found > 0).any()
