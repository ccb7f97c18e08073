"""Slabs against everything in memory: the labels are the same, bit for bit in float32, and memory is what was said."""

import weakref
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from nnbox.imaging.resample import resample_probabilities
from nnbox.inference import label_map as module
from nnbox.inference.accumulate import Cells, rest_share
from nnbox.inference.class_maps import write_classes
from nnbox.inference.corners import Source
from nnbox.inference.label_map import Part, _Writing, label_map
from nnbox.inference.predict import predict_case
from nnbox.inference.sweep import Window, sweep
from nnbox.inference.volume import Volume
from nnbox.inference.walk import Walk

CPU = torch.device("cpu")


class Fields:
    """Answers with smooth class probabilities that depend on the image and on the place in the tile."""

    def __init__(self, classes, seed=0, dimension=3):
        generator = torch.Generator().manual_seed(seed)
        self.convolve = functional.conv3d if dimension == 3 else functional.conv2d
        self.weight = torch.randn((classes, 1, *[5] * dimension), generator=generator) / 5 ** (dimension / 2)
        self.slope = torch.randn((dimension, classes, 1), generator=generator)

    def __call__(self, batch):
        logits = 4 * self.convolve(batch, self.weight, padding=2)
        for axis, slope in enumerate(self.slope):
            size = batch.shape[axis + 2]
            ramp = slope * torch.linspace(-1, 1, size)
            logits = logits + ramp.view(
                1, len(slope), *[size if axis == other else 1 for other in range(len(self.slope))]
            )
        return torch.softmax(logits, dim=1)


def window(classes, patch, *, seed=0, mirror_axes=(), halves=False):
    answers = [Fields(classes, seed, len(patch))]
    return Window(
        answers=answers, classes=classes, patch_size=patch, mirror_axes=mirror_axes, device=CPU, halves=halves
    )


def volume(shape, seed=1):
    coarse = np.random.default_rng(seed).standard_normal((1, *[max(1, size // 3) for size in shape])).astype(np.float32)
    return Volume(resample_probabilities(coarse, shape, separate_axis=None))


def everything_at_once(part, shape):
    """The same sums held for the whole volume, chosen in one piece."""
    sums = np.zeros((part.window.classes, *part.volume.shape_vox), np.float32)
    for cell in sweep(part.window, part.volume, interpolated=(False, False)):
        sums[:, cell.z.start : cell.z.stop, cell.y.start : cell.y.stop] = cell.values.numpy()
    target = np.zeros(shape, np.uint8)
    box = tuple(slice(0, size) for size in shape)
    write_classes(target, box, [Source(torch.from_numpy(sums), (0, 0), part.axes(shape))])
    return target


@pytest.mark.parametrize("separate", [None, 0, 2])
@pytest.mark.parametrize("target", [(33, 40, 44), (25, 22, 30), (20, 51, 25)])
def test_slabs_give_the_labels_of_the_dense_path_bit_for_bit(separate, target):
    part = Part(window(5, (8, 16, 12)), volume((25, 40, 30)), separate)
    found = label_map([part], target)
    np.testing.assert_array_equal(found, everything_at_once(part, target))
    assert len(np.unique(found)) == 5
    dense = resample_probabilities(predict_case(part.window, part.volume), target, separate_axis=separate)
    first, second = np.sort(dense, axis=0)[[-1, -2]]
    clear = first - second > 1e-5
    assert clear.mean() > 0.999
    np.testing.assert_array_equal(found[clear], dense.argmax(axis=0)[clear])


@given(st.tuples(*[st.integers(1, 20)] * 3), st.tuples(*[st.integers(1, 20)] * 3), st.tuples(*[st.integers(2, 9)] * 3))
def test_any_sizes_are_filled(shape, target, patch):
    part = Part(window(3, patch), volume(shape), None)
    np.testing.assert_array_equal(label_map([part], target), everything_at_once(part, target))


@pytest.mark.parametrize("beside", [False, True])
def test_what_is_written_beside_a_card_is_all_written_in_order(beside):
    done = []
    with _Writing(beside=beside) as writing:
        for number in range(20):
            writing.do(partial(done.append, number))
    assert done == list(range(20))


@pytest.mark.parametrize("after", [0, 1])
def test_what_goes_wrong_beside_a_card_reaches_the_caller(after):
    done = []

    def fail():
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"), _Writing(beside=True) as writing:
        writing.do(fail)
        for _ in range(after):
            writing.do(partial(done.append, 1))
    assert not done


def test_an_error_beside_the_writing_is_the_one_that_is_raised():
    with pytest.raises(ValueError, match="the networks"), _Writing(beside=True) as writing:
        writing.do(lambda: None)
        raise ValueError("the networks")


@pytest.mark.parametrize("target", [(33, 40, 44), (25, 40, 30)])
def test_labels_written_beside_the_networks_are_the_same(target, monkeypatch):
    part = Part(window(5, (8, 16, 12)), volume((25, 40, 30)), None)
    expected = label_map([part], target)
    monkeypatch.setattr(module, "_Writing", lambda **_: _Writing(beside=True))
    np.testing.assert_array_equal(label_map([part], target), expected)


def test_slices_are_chosen_one_by_one():
    part = Part(window(4, (16, 12)), volume((9, 40, 30)), 0)
    np.testing.assert_array_equal(label_map([part], (9, 51, 25)), everything_at_once(part, (9, 51, 25)))


@pytest.mark.parametrize("table", [1, 1 << 22])
def test_members_on_different_grids_are_averaged_on_the_targets(table, monkeypatch):
    monkeypatch.setattr(module, "TABLE_VALUES", table)
    parts = [
        Part(window(4, (16, 12), seed=3), volume((12, 30, 28)), 0),
        Part(window(4, (8, 16, 12)), volume((19, 22, 25)), None),
    ]
    target = (12, 37, 41)
    found = label_map(parts, target)
    maps = [
        resample_probabilities(predict_case(part.window, part.volume), target, separate_axis=part.separate_axis)
        for part in parts
    ]
    dense = (maps[0] + maps[1]) / 2
    first, second = np.sort(dense, axis=0)[[-1, -2]]
    clear = first - second > 1e-5
    np.testing.assert_array_equal(found[clear], dense.argmax(axis=0)[clear])
    assert (found != maps[0].argmax(axis=0)).any()
    assert (found != maps[1].argmax(axis=0)).any()


def test_no_member_gives_no_map():
    with pytest.raises(ValueError, match="at least one"):
        label_map([], (1, 1, 1))


def test_cells_that_rest_in_16_bits_change_next_to_no_label():
    classes, target = 40, (60, 64, 60)
    image = volume((60, 64, 60))
    found, wanted = (
        label_map([Part(window(classes, (16, 32, 24), halves=halves), image, None)], target) for halves in (True, False)
    )
    assert len(np.unique(wanted)) > 20
    # 230,400 voxels; plain fp16 sums would change about 1 in 3000.
    assert (found != wanted).sum() <= 1


def test_a_cell_at_rest_keeps_its_highest_classes_exactly():
    walk = Walk((6, 4, 5), (4, 4, 4))
    cells = Cells(walk, 30, CPU, interpolated=(False, False), halves=True)
    values = torch.rand((30, 4, 4, 4), generator=torch.Generator().manual_seed(0)) * 1e-6
    for corner in walk.corners((0, 0)):
        cells.add(corner, values)
    list(cells.complete((0, 0)))
    assert cells.live_values < 30 * 2 * 4 * 5 * 1.5
    cells.add((2, 0, 0), torch.zeros_like(values))
    woken = cells._live[1, 0]
    before = torch.zeros((30, 2, 4, 5))
    for x in walk.starts[2]:
        before[..., x : x + 4] += values[:, 2:]
    order = before.argsort(dim=0, descending=True)
    assert torch.equal(woken.gather(0, order[:4]), before.gather(0, order[:4]))
    # To half a step of 1/65535 of the voxel's highest, and float32.
    assert ((woken - before).abs() <= before.amax(dim=0) * 8e-6).all()


def test_resting_in_16_bits_is_used_where_it_saves_memory():
    assert rest_share(3) == 1
    assert rest_share(14) == 1
    assert rest_share(40) == pytest.approx((80 + 24) / 160)
    assert rest_share(105) < 0.56


@pytest.mark.parametrize("interpolated", [(False, False), (True, True)])
def test_memory_is_what_the_walk_says(interpolated):
    walk = Walk((50, 40, 12), (8, 16, 12))
    cells = Cells(walk, 2, CPU, interpolated=interpolated, halves=False)
    most = 0
    for row in walk.rows():
        for corner in walk.corners(row):
            cells.add(corner, torch.ones((2, 8, 16, 12)))
        most = max(most, cells.live_values)
        for _ in cells.complete(row):
            pass
    halo = (int(interpolated[0]), int(interpolated[1]))
    said = 2 * walk.peak_voxels(halo=halo)
    # The first cells have no earlier neighbour, which the walk does not tell apart.
    assert 0.9 * said <= most <= said
    assert cells.live_values == 0
    assert not cells._below
    assert not cells._before


def test_nothing_that_is_complete_is_held_while_a_network_is_asked(monkeypatch):
    given_away, held = [], []

    def noted(cell):
        given_away.append(weakref.ref(cell.values))
        return cell

    def answer(batch):
        held.append(sum(values() is not None for values in given_away))
        return Fields(3)(batch)

    monkeypatch.setattr(module, "sweep", lambda *words, **named: map(noted, sweep(*words, **named)))
    shape, patch = (12, 24, 40), (4, 8, 6)
    asked = Window(answers=[answer], classes=3, patch_size=patch, mirror_axes=(), device=CPU)
    label_map([Part(asked, volume(shape), None)], shape)
    assert len(given_away) > 1
    assert max(held) == 0
