"""Memory of `nnbox predict`, looked at from outside: it states its peak, keeps to it, and says when it cannot."""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from course import Course, watch
from random_model import ModelSize, write_images, write_model

from nnbox.errors import UsageError
from nnbox.imaging.io import read_image, read_labels
from nnbox.inference.export import most_probable, probabilities_on_crop
from nnbox.inference.manner import Manner, less_on_card, manners
from nnbox.network.device import choose_device
from nnbox.stages.ensemble import Ensemble, PredictionSettings
from nnbox.stages.memory import limit_bytes
from nnbox.submission.bundle import open_bundle

# Wide along y, so that much waits for the next row of tiles and resting in 16 bits saves more than the margin.
MANY = ModelSize(labels=99, patch=(32, 48, 48), features=(4, 8))
SHAPE = (48, 288, 48)


@dataclass(frozen=True)
class Run:
    """A prediction as its user and its watcher see it."""

    watched: Course
    output: Path
    again: Callable[[Path], Run]

    def peak_bytes(self, least):
        """What was measured; where that is less, once more: on a busy machine looks from outside miss short peaks."""
        found = self.watched.peak_bytes
        if found >= least:
            return found
        return max(found, self.again(self.output.with_name(f"{self.output.name}-again")).watched.peak_bytes)

    @property
    def announced(self):
        lines = [json.loads(line) for line in (self.output / "log.jsonl").read_text().splitlines()]
        return next(line["facts"] for line in lines if line["event"] == "memory")

    def labels(self, number=0):
        return read_labels(self.output / "predictions" / f"case_{number}.nii.gz")[0]


def predict(model, images, output, *options):
    command = [sys.executable, "-m", "nnbox", "predict", "--input", str(images), "--output", str(output)]
    command += ["--model", str(model), "--device", "cpu", "--no-mirroring", "--workers", "0", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    watched = watch(command, output.with_suffix(".txt"), environment, every_seconds=0.02)
    return Run(watched, output, lambda other: predict(model, images, other, *options))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory")
    write_model(folder / "many", MANY)
    write_images(folder / "images", SHAPE)
    return folder


@pytest.fixture(scope="module")
def free(place):
    """A prediction that holds nothing back."""
    return predict(place / "many" / "model", place / "images", place / "free")


@pytest.fixture(scope="module")
def needed_gb(place):
    """What a refusal says is needed."""
    refused = predict(place / "many" / "model", place / "images", place / "refused", "--memory-limit", "0.1")
    assert refused.watched.exit_code == 5, refused.watched.output
    assert "Traceback" not in refused.watched.output
    assert not list((place / "refused").glob("predictions/*"))
    return re.search(r"allow --memory-limit ([\d.]+)", " ".join(refused.watched.output.split()))[1]


@pytest.fixture(scope="module")
def tight(place, needed_gb):
    """A prediction with exactly the memory that the refusal asked for."""
    return predict(place / "many" / "model", place / "images", place / "tight", "--memory-limit", needed_gb)


@pytest.mark.parametrize("name", ["free", "tight"])
def test_the_announced_peak_is_within_a_quarter_of_the_measured_one(name, request):
    run = request.getfixturevalue(name)
    assert run.watched.exit_code == 0, run.watched.output
    announced = run.announced["peak_bytes"]
    assert 0.75 <= announced / run.peak_bytes(least=announced / 1.25) <= 1.25


def test_a_wide_network_is_announced_as_well(place):
    write_model(place / "wide", ModelSize(labels=2, patch=(48, 64, 64), features=(24, 48, 96)))
    write_images(place / "one", (48, 64, 64))
    run = predict(place / "wide" / "model", place / "one", place / "wide-out")
    assert run.watched.exit_code == 0, run.watched.output
    announced = run.announced["peak_bytes"]
    assert 0.75 <= announced / run.peak_bytes(least=announced / 1.25) <= 1.25


def test_the_number_a_refusal_names_suffices(tight, needed_gb):
    assert tight.watched.exit_code == 0, tight.watched.output
    assert tight.announced["peak_bytes"] <= float(needed_gb) * 1e9
    assert tight.announced["held_back"][-1] == "waiting sums in 16 bits"
    assert tight.announced["limit_bytes"] == int(float(needed_gb) * 1e9)


def test_a_limit_is_kept_to(tight, needed_gb):
    assert tight.watched.peak_bytes <= float(needed_gb) * 1e9


def test_less_memory_means_the_same_labels_but_for_a_hair(free, tight):
    assert free.announced["held_back"] == []
    assert len(np.unique(free.labels())) > 5
    # At most one voxel of a million may differ: of these 663,552, none.
    assert (free.labels() != tight.labels()).sum() == 0


def test_the_labels_are_those_of_the_dense_path(place, free, tmp_path):
    ensemble = Ensemble(
        open_bundle(place / "many" / "model", tmp_path), choose_device("cpu"), PredictionSettings(mirroring=False)
    )
    prepared = ensemble.prepare(*read_image([place / "images" / "case_0.nii.gz"]))
    (member,) = ensemble.members
    arrays = prepared.arrays[member.configuration.name]
    dense = probabilities_on_crop(member.predict(arrays.image, None), arrays.placement, member.configuration.resampling)
    np.testing.assert_array_equal(free.labels(), most_probable(dense))


def test_memory_does_not_depend_on_the_number_of_cases(place, tight, needed_gb):
    write_images(place / "cases", SHAPE, count=5)
    cases = predict(place / "many" / "model", place / "cases", place / "cases-out", "--memory-limit", needed_gb)
    assert cases.watched.exit_code == 0, cases.watched.output
    assert cases.watched.peak_bytes == pytest.approx(tight.watched.peak_bytes, rel=0.05)


def test_memory_does_not_depend_on_the_number_of_folds_beyond_the_second(place, needed_gb):
    """A second fold's answer lies beside the sum of those before it; a fifth lies in the place of the second."""
    peaks = []
    for folds in (2, 5):
        size = ModelSize(labels=MANY.labels, patch=MANY.patch, features=MANY.features, folds=folds)
        write_model(place / f"folds-{folds}", size)
        limit = f"{float(needed_gb) + 0.1:.2f}"
        out = place / f"folds-{folds}-out"
        run = predict(place / f"folds-{folds}" / "model", place / "images", out, "--memory-limit", limit)
        assert run.watched.exit_code == 0, run.watched.output
        peaks.append(run.watched.peak_bytes)
    assert peaks[1] == pytest.approx(peaks[0], rel=0.05)


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf")])
def test_a_limit_is_a_positive_number(limit):
    with pytest.raises(UsageError, match="--memory-limit"):
        limit_bytes(limit)


@pytest.mark.parametrize("on_card", [True, False])
def test_each_manner_holds_one_thing_more_back_and_16_bits_come_last(on_card):
    words = [manner.held_back() for manner in manners(on_card=on_card)]
    assert [len(item) for item in words] == list(range(len(words)))
    assert all(set(before) < set(after) for before, after in itertools.pairwise(words))
    assert words[-1][-1] == "waiting sums in 16 bits"


def test_a_full_card_is_asked_for_less_until_nothing_is_left():
    found, manner = [], Manner()
    while (manner := less_on_card(manner)) is not None:
        found.append(manner.held_back()[-1])
    assert found == ["one tile to a pass", "no answer remembered", "waiting sums in 16 bits"]
