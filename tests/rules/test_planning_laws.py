"""What holds for every plan, on fingerprints that are in no table."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnbox.errors import PlanError, UsageError
from nnbox.records.codec import encode, parse_record
from nnbox.records.dataset import Choices
from nnbox.records.plan import Plan
from nnbox.rules import budget
from nnbox.rules.planning import make_plan

RECIPES = ("2018", "2019", "2021")
NAMES = ("2d", "3d_fullres", "3d_lowres", "3d_cascade")


@pytest.fixture(scope="module")
def random_fingerprints(make_fingerprint):
    rng = np.random.default_rng(1809)
    return [_draw(rng, make_fingerprint) for _ in range(250)]


def _draw(rng, make_fingerprint):
    cases = int(rng.integers(1, 30))
    edges = np.exp(rng.uniform(np.log(2), np.log(600), 3))
    lengths = np.exp(rng.uniform(np.log(0.2), np.log(10), 3))
    if rng.uniform() < 0.2:
        edges[rng.integers(3)] = 1
    shapes = [tuple(int(max(1, round(edge))) for edge in edges * rng.uniform(0.7, 1.3, 3)) for _ in range(cases)]
    spacings = [tuple(float(length) for length in lengths * rng.uniform(0.9, 1.1, 3)) for _ in range(cases)]
    channels = tuple(f"MR {index}" for index in range(int(rng.integers(1, 5))))
    return make_fingerprint(shapes, spacings, channels=channels, labels=int(rng.integers(1, 16)))


def _plan(fingerprint, recipe, memory_gb=12.0):
    return make_plan(fingerprint, recipe=recipe, planning_memory_gb=memory_gb, choices=Choices())


def _check(plan, memory_gb):
    names = tuple(configuration.name for configuration in plan.configurations)
    assert names in {NAMES[:1], NAMES[:2], NAMES}
    for configuration in plan.configurations:
        for size, pools in zip(configuration.patch_size, configuration.num_pool_per_axis, strict=True):
            assert size >= 1
            assert size % 2**pools == 0
            assert pools == 0 or size // 2**pools >= 4
        assert configuration.batch_size >= 2
        assert len(configuration.topology.strides) == len(configuration.topology.kernels)
        assert len(configuration.topology.strides) == len(configuration.topology.features)
        total = np.prod(configuration.topology.strides, axis=0)
        assert tuple(total) == tuple(2**pools for pools in configuration.num_pool_per_axis)
        assert configuration.batch_size == 2 or _cost(plan, configuration) * configuration.batch_size <= _budget(
            plan.recipe, configuration, memory_gb
        )


def _cost(plan, configuration):
    """What one sample costs in the recipe's count; the cascade's further channels do not count."""
    if plan.recipe == "2018":
        return math.prod(configuration.patch_size)
    volume = configuration.topology.dimension == 3
    return budget.memory_proxy(
        configuration.patch_size,
        configuration.topology.strides[1:],
        first=32 if plan.recipe == "2021" and volume else 30,
        cap=320 if volume else 480,
        channels=len(plan.channels),
        classes=len(plan.labels) + 1,
    )


def _budget(recipe, configuration, memory_gb):
    """What a whole batch may cost."""
    volume = configuration.topology.dimension == 3
    whole = {
        ("2018", True): 2 * 128**3,
        ("2018", False): 42 * 256**2,
        ("2019", True): 2 * 520e6,
        ("2019", False): 50 * 19_739_648,
        ("2021", True): 2 * 520e6 * 32 / 30,
        ("2021", False): 50 * 19_739_648,
    }
    return whole[recipe, volume] * memory_gb / 12 * (1 + 1e-9)


@pytest.mark.parametrize("recipe", RECIPES)
def test_any_fingerprint_gets_a_feasible_plan(random_fingerprints, recipe):
    cascades = 0
    for fingerprint in random_fingerprints:
        plan = _plan(fingerprint, recipe)
        _check(plan, 12.0)
        cascades += len(plan.configurations) == 4
    assert cascades > 0


@pytest.mark.parametrize("recipe", RECIPES)
def test_more_memory_never_gives_a_smaller_patch(random_fingerprints, recipe):
    # 2021 plans its low resolution at each step of 1 %, which takes long where memory is small.
    for index, fingerprint in enumerate(random_fingerprints):
        before = {"2d": 0, "3d_fullres": 0}
        for memory_gb in (6.0, 12.0, 30.0) if recipe == "2021" and index >= 10 else (0.5, 3.0, 8.0, 12.0, 30.0):
            plan = _plan(fingerprint, recipe, memory_gb)
            _check(plan, memory_gb)
            now = {name: math.prod(plan.configuration(name).patch_size) for name in before}
            assert all(now[name] >= before[name] for name in before)
            before = now


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_plan_survives_being_written_and_read(make_fingerprint, recipe):
    plan = _plan(make_fingerprint((230, 240, 250), (2.0, 1.0, 1.0), cases=3), recipe)
    document = {"record": Plan.RECORD, "version": Plan.VERSION, **encode(plan)}
    again = parse_record(document, Plan, where="test")
    assert encode(again) == encode(plan)


@pytest.mark.parametrize("recipe", RECIPES)
def test_only_the_order_of_axes_tells_where_the_coarse_axis_was(make_fingerprint, recipe):
    upright = _plan(make_fingerprint((30, 200, 240), (5.0, 1.0, 0.9), cases=4), recipe)
    middle = _plan(make_fingerprint((200, 30, 240), (1.0, 5.0, 0.9), cases=4), recipe)
    last = _plan(make_fingerprint((200, 240, 30), (1.0, 0.9, 5.0), cases=4), recipe)
    assert (upright.axis_order, middle.axis_order, last.axis_order) == ((0, 1, 2), (1, 0, 2), (2, 0, 1))
    assert upright.configurations == middle.configurations == last.configurations


def test_equally_coarse_axes_keep_the_earlier_one_first(make_fingerprint):
    plan = _plan(make_fingerprint((30, 20, 40), (1.0, 2.0, 2.0)), "2019")
    assert plan.axis_order == (1, 0, 2)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("cases", [1, 2])
def test_one_or_two_cases_are_enough_for_a_plan(make_fingerprint, recipe, cases):
    plan = _plan(make_fingerprint((40, 60, 60), (1.0, 1.0, 1.0), cases=cases), recipe)
    _check(plan, 12.0)
    assert all(configuration.batch_size == 2 for configuration in plan.configurations if configuration.name != "2d")


@pytest.mark.parametrize("recipe", RECIPES)
def test_extreme_anisotropy_is_planned(make_fingerprint, recipe):
    plan = _plan(make_fingerprint((6, 900, 900), (25.0, 0.2, 0.2), cases=5), recipe)
    _check(plan, 12.0)
    full = plan.configuration("3d_fullres")
    assert full.num_pool_per_axis[0] == 0
    assert full.dummy_2d_augmentation
    assert full.dummy_2d_axis == 0


@pytest.mark.parametrize("recipe", RECIPES)
def test_images_of_two_dimensions_get_the_2d_configuration_alone(make_fingerprint, recipe):
    plan = _plan(make_fingerprint((1, 300, 200), (1.0, 3.0, 2.0), cases=6, dimension=2), recipe)
    assert [configuration.name for configuration in plan.configurations] == ["2d"]
    assert plan.axis_order == (0, 1, 2)
    assert plan.configurations[0].median_shape == (300, 200)
    assert plan.configurations[0].resampling.target_spacing_mm == (None, 3.0, 2.0)
    _check(plan, 12.0)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("shape_vox", [(1, 64, 64), (64, 1, 64), (1, 1, 64), (1, 1, 1)])
def test_axes_of_one_voxel_are_never_pooled(make_fingerprint, recipe, shape_vox):
    plan = _plan(make_fingerprint(shape_vox, (1.0, 1.0, 1.0), cases=3), recipe)
    _check(plan, 12.0)
    full = plan.configuration("3d_fullres")
    ordered = [shape_vox[axis] for axis in plan.axis_order]
    for size, patch, pools in zip(ordered, full.patch_size, full.num_pool_per_axis, strict=True):
        assert (patch, pools) == (1, 0) or size > 1


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_tiny_memory_gives_a_tiny_network_with_a_cascade_and_says_so(make_fingerprint, recipe):
    plan = _plan(make_fingerprint((33, 40, 44), (1.0, 1.0, 1.0), cases=8), recipe, 0.02)
    _check(plan, 0.02)
    assert tuple(configuration.name for configuration in plan.configurations) == NAMES
    assert math.prod(plan.configuration("3d_fullres").patch_size) < 16**3
    decisions = {decision.subject: decision for decision in plan.decisions}
    assert decisions["planning_memory_gb"].outcome == 0.02
    assert "0.02 GB instead of the documents' 12 GB" in decisions["planning_memory_gb"].sentence
    assert "0.001667" in decisions["planning_memory_gb"].sentence
    typical = 128**3 if recipe == "2018" else 64 * 192 * 160
    assert decisions["cascade.needed"].inputs["typical_patch_voxels"] == pytest.approx(typical * 0.02 / 12)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_data_decide_at_the_documents_memory(make_fingerprint, recipe):
    plan = _plan(make_fingerprint((33, 40, 44), (1.0, 1.0, 1.0), cases=8), recipe)
    assert tuple(configuration.name for configuration in plan.configurations) == NAMES[:2]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_memory_that_holds_nothing_is_refused_in_words(make_fingerprint, recipe):
    with pytest.raises(PlanError, match="no network fits the planning memory"):
        _plan(make_fingerprint((33, 40, 44), (1.0, 1.0, 1.0)), recipe, 1e-12)


def test_what_cannot_be_planned_is_refused_in_words(make_fingerprint):
    sound = make_fingerprint((33, 40, 44), (1.0, 1.0, 1.0))
    with pytest.raises(UsageError, match="no recipe '2020'; choose one of 2018, 2019, 2021"):
        _plan(sound, "2020")
    for memory_gb in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(UsageError, match="positive number of GB"):
            _plan(sound, "2019", memory_gb)
    with pytest.raises(PlanError, match="no training case"):
        _plan(make_fingerprint([], []), "2019")
    with pytest.raises(PlanError, match="no foreground label"):
        _plan(make_fingerprint((33, 40, 44), (1.0, 1.0, 1.0), labels=0), "2019")
