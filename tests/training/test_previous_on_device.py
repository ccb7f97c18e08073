from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, label

from nnbox.records.augmentation import MaskOperation, SampleAugmentation
from nnbox.training.previous import change_previous
from nnbox.training.previous_on_device import change_previous_on_device, components, morph


def _blobs(seed, shape, sigma, threshold):
    smooth = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma)
    return np.digitize(smooth / (smooth.std() + 1e-9), (threshold, 1.6)).astype(np.uint8)


@given(
    seed=st.integers(0, 10_000),
    shape=st.lists(st.integers(1, 15), min_size=2, max_size=3).map(tuple),
    sigma=st.floats(0.3, 2.0),
    threshold=st.floats(-1.0, 1.5),
    operations=st.lists(
        st.builds(
            MaskOperation,
            label=st.integers(1, 2),
            operator=st.sampled_from(("dilation", "erosion", "opening", "closing")),
            radius_vox=st.integers(1, 8),
        ),
        max_size=3,
    ).map(tuple),
    removal=st.lists(st.tuples(st.integers(1, 2), st.floats(0, 1, exclude_max=True)), max_size=2).map(tuple),
)
@settings(max_examples=120)
def test_a_device_changes_the_same_voxels_as_scipy(seed, shape, sigma, threshold, operations, removal):
    labels = _blobs(seed, shape, sigma, threshold)
    drawn = SampleAugmentation(
        elastic=None,
        angles_rad=None,
        scale=None,
        gammas=(),
        mirror_axes=(),
        mask_operations=operations,
        removal=removal,
    )
    found = change_previous_on_device(torch.from_numpy(labels.copy()), drawn)
    np.testing.assert_array_equal(found.numpy(), change_previous(labels, drawn))


def test_a_component_that_winds_is_one():
    mask = np.zeros((3, 64, 64), dtype=bool)
    mask[1, ::2] = True
    mask[1, 1::4, -1] = mask[1, 3::4, 0] = True
    assert label(mask, np.ones((3, 3, 3)))[1] == 1
    found = components(torch.from_numpy(mask))
    assert found[torch.from_numpy(mask)].unique().tolist() == [int(np.flatnonzero(mask)[0])]


def test_an_unknown_operator_is_refused():
    with pytest.raises(ValueError, match="unknown operator"):
        morph(torch.zeros((2, 2), dtype=torch.bool), "skeleton", 1)
