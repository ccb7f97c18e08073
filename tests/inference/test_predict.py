"""The sliding window against explicit evaluations of what it stands for."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from nnbox.inference.passes import Effort, Passes
from nnbox.inference.predict import answers_of, predict_case
from nnbox.inference.sweep import Window
from nnbox.inference.tiles import gaussian_weights, tile_corners
from nnbox.inference.volume import Volume
from nnbox.records.precision import Precision

CPU = torch.device("cpu")


class Constant(nn.Module):
    def __init__(self, logits):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, batch):
        shape = (len(batch), len(self.logits), *batch.shape[2:])
        return self.logits.view(1, -1, *([1] * (batch.ndim - 2))).expand(shape)


class Asymmetric(nn.Module):
    """A convolution and a ramp along every axis, so that neither mirroring nor the tile's place is invisible."""

    def __init__(self, dimension, channels=1, classes=3, seed=0):
        super().__init__()
        kind = nn.Conv3d if dimension == 3 else nn.Conv2d
        self.convolution = kind(channels, classes, 3, padding=1)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def forward(self, batch):
        logits = self.convolution(batch)
        for axis in range(2, batch.ndim):
            ramp = torch.linspace(0, 1, batch.shape[axis])
            logits = logits * (1 + ramp.view([-1 if axis == other else 1 for other in range(batch.ndim)]))
        return logits


def explicit(networks, image, patch, mirror_axes):
    """The definition, one tile, one flip and one member at a time, in float64."""
    image = torch.from_numpy(image)
    weights = torch.from_numpy(gaussian_weights(patch)).double()
    total, norm = 0.0, torch.zeros(image.shape[1:], dtype=torch.float64)
    flips = [axes for n in range(len(mirror_axes) + 1) for axes in itertools.combinations(mirror_axes, n)]
    for corner in tile_corners(image.shape[1:], patch):
        window = tuple(slice(start, start + size) for start, size in zip(corner, patch, strict=True))
        mean = 0.0
        for network, axes in itertools.product(networks, flips):
            dims = [axis + 2 for axis in axes]
            tile = image[(slice(None), *window)][None].flip(dims)
            mean = mean + torch.softmax(network(tile), 1).flip(dims)[0].double() / len(networks) / len(flips)
        if isinstance(total, float):
            total = torch.zeros((len(mean), *image.shape[1:]), dtype=torch.float64)
        total[(slice(None), *window)] += mean * weights
        norm[window] += weights
    return (total / norm).numpy()


def window(networks, patch, mirror_axes, **effort):
    answers = answers_of(networks, CPU, Precision.FLOAT32)
    return Window(
        answers=answers, classes=3, patch_size=patch, mirror_axes=mirror_axes, device=CPU, effort=Effort(**effort)
    )


def predicted(networks, image, patch, mirror_axes, **effort):
    return predict_case(window(networks, patch, mirror_axes, **effort), Volume(image))


def random_image(shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("shape", [(5, 17, 23), (1, 4, 4), (9, 8, 8)])
def test_constant_in_gives_constant_out(dimension, shape):
    logits = [0.3, -1.0, 2.0]
    patch = (4, 8, 8)[3 - dimension :]
    found = predicted([Constant(logits)], random_image((2, *shape)), patch, tuple(range(dimension)))
    wanted = torch.softmax(torch.tensor(logits), 0).numpy()
    assert found.shape == (3, *shape)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.broadcast_to(wanted[:, None, None, None], found.shape), rtol=2e-6)


@pytest.mark.parametrize("mirror_axes", [(), (0,), (1, 2), (0, 1, 2)])
def test_tiles_mirrors_and_members_equal_their_explicit_mean(mirror_axes):
    networks = [Asymmetric(3, seed=seed) for seed in range(2)]
    image = random_image((1, 7, 12, 13))
    with torch.no_grad():
        wanted = explicit(networks, image, (4, 8, 6), mirror_axes)
    found = predicted(networks, image, (4, 8, 6), mirror_axes)
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("mirror_axes", [(), (0, 1)])
def test_a_2d_network_sees_every_slice_as_if_it_were_alone(mirror_axes):
    networks = [Asymmetric(2, channels=2)]
    image = random_image((2, 5, 12, 13))
    found = predicted(networks, image, (8, 6), mirror_axes)
    with torch.no_grad():
        for z in range(5):
            wanted = explicit(networks, image[:, z], (8, 6), mirror_axes)
            np.testing.assert_allclose(found[:, z], wanted, atol=2e-6)


@pytest.mark.parametrize("samples", [1, 3, 16, 100])
@pytest.mark.parametrize("streams", [1, 3])
def test_how_much_is_done_at_once_does_not_matter(samples, streams):
    networks, image = [Asymmetric(3), Asymmetric(3, seed=1)], random_image((1, 7, 12, 13))
    wanted = predicted(networks, image, (4, 8, 6), (0, 1, 2))
    found = predicted(networks, image, (4, 8, 6), (0, 1, 2), samples=samples, streams=streams)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_streams_do_not_change_a_single_bit():
    networks, image = [Asymmetric(3), Asymmetric(3, seed=1)], random_image((1, 9, 12, 13))
    wanted = predicted(networks, image, (4, 8, 6), (0, 1, 2))
    for streams in (2, 3, 5):
        np.testing.assert_array_equal(predicted(networks, image, (4, 8, 6), (0, 1, 2), streams=streams), wanted)


@pytest.mark.parametrize("streams", [1, 2])
def test_a_constant_tile_is_asked_about_once(streams):
    image = np.full((1, 16, 8, 8), 3.0, np.float32)
    image[:, 6:10] = random_image((1, 4, 8, 8))
    asked = []

    def answer(batch):
        asked.append(batch.shape[0])
        return wanted_answer(batch)

    wanted_answer = answers_of([Asymmetric(3)], CPU, Precision.FLOAT32)[0]
    settings = {"classes": 3, "patch_size": (4, 8, 8), "mirror_axes": (0, 2), "device": CPU}
    slow = Window(answers=[wanted_answer], effort=Effort(remember=False), **settings)
    quick = Window(answers=[answer], effort=Effort(streams=streams), **settings)
    np.testing.assert_array_equal(predict_case(quick, Volume(image)), predict_case(slow, Volume(image)))
    # Tiles start at 0, 2, ..., 12: the three in the middle take all passes, the others hold one value together.
    assert len(asked) == 3 * 4 + 1


def test_constant_tiles_of_different_values_are_not_confused():
    image = np.repeat(np.repeat([1.0, 2.0, 2.0, 1.0], 4)[None, :, None, None], 8, axis=2).astype(np.float32)
    image = np.ascontiguousarray(np.repeat(image, 8, axis=3))
    networks = [Asymmetric(3)]
    wanted = predicted(networks, image, (4, 8, 8), (0, 1), remember=False)
    np.testing.assert_array_equal(predicted(networks, image, (4, 8, 8), (0, 1)), wanted)


def test_an_error_in_a_stream_reaches_the_caller():
    def fails(batch):
        raise FloatingPointError("no answer")

    passes = Passes([fails], (0,), Effort(streams=2, remember=False))
    with pytest.raises(FloatingPointError, match="no answer"):
        list(passes.means([torch.zeros(1, 1, 2, 2, 2)] * 5))


def test_a_small_image_is_padded_with_zeros_on_both_sides():
    image = random_image((1, 2, 8, 5))
    padded = np.pad(image, ((0, 0), (1, 1), (0, 0), (1, 2)))
    network = Asymmetric(3)
    found = predicted([network], image, (4, 8, 8), ())
    with torch.no_grad():
        wanted = torch.softmax(network(torch.from_numpy(padded)[None]), 1)[0].numpy()
    np.testing.assert_allclose(found, wanted[:, 1:3, :, 1:6], atol=1e-6)


def test_mirroring_makes_a_prediction_blind_to_mirroring():
    image = random_image((1, 6, 9, 10))
    straight = predicted([Asymmetric(3)], image, (4, 8, 6), (0, 1, 2))
    flipped = predicted([Asymmetric(3)], np.ascontiguousarray(image[:, ::-1, :, ::-1]), (4, 8, 6), (0, 1, 2))
    # Rounding may shift an interior tile by one voxel when an axis is flipped; these sizes space tiles exactly.
    np.testing.assert_allclose(flipped[:, ::-1, :, ::-1], straight, atol=2e-6)


def test_an_image_without_voxels_is_refused():
    with pytest.raises(ValueError, match="no voxel"):
        Volume(np.zeros((1, 0, 4, 4), np.float32))


def test_previous_labels_become_one_hot_channels_without_background():
    image = random_image((2, 1, 2, 3))
    previous = np.array([[[0, 1, 2], [2, 2, 0]]], np.uint8)
    tile = Volume(image, previous, 3).tile((-1, 0, 0), (3, 2, 4)).numpy()
    assert tile.shape == (5, 3, 2, 4)
    np.testing.assert_array_equal(tile[:2, 1:2, :, :3], image)
    np.testing.assert_array_equal(tile[2:, 1:2, :, :3], [previous == 1, previous == 2, previous == 3])
    assert not tile[:, ::2].any()
    assert not tile[..., 3].any()


def test_previous_labels_must_fit_the_image_and_the_task():
    image = random_image((1, 1, 2, 3))
    with pytest.raises(ValueError, match="do not fit"):
        Volume(image, np.zeros((1, 3, 2), np.uint8), 1)
    with pytest.raises(ValueError, match="exceeds"):
        Volume(image, np.full((1, 2, 3), 2, np.uint8), 1)
