"""Weights from files: the right ones load, all others are refused by name."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from nnbox.errors import DataError
from nnbox.inference.model import load_network
from nnbox.inference.predict import answers_of, predict_case
from nnbox.inference.sweep import Window
from nnbox.inference.volume import Volume
from nnbox.network.unet import build_network
from nnbox.records.plan import Topology
from nnbox.records.precision import Precision


def topology(features=(4, 8), dimension=3):
    ones, twos, threes = ((size,) * dimension for size in (1, 2, 3))
    strides = (ones, *[twos] * (len(features) - 1))
    kernels = (threes,) * len(features)
    return Topology(
        dimension=dimension, input_channels=1, classes=3, features=features, strides=strides, kernels=kernels
    )


@pytest.fixture
def state():
    return dict(build_network(topology(), seed=3).state_dict())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


def _predicted(network, image):
    cpu = torch.device("cpu")
    answers = answers_of([network], cpu, Precision.FLOAT32)
    window = Window(answers=answers, classes=3, patch_size=(8, 8, 8), mirror_axes=(0, 1, 2), device=cpu)
    return predict_case(window, Volume(image))


def test_a_loaded_network_predicts_as_the_one_that_was_stored(path, state):
    save_file(state, path)
    image = np.random.default_rng(0).standard_normal((1, 8, 10, 9)).astype(np.float32)
    wanted = _predicted(build_network(topology(), seed=3), image)
    loaded = load_network(path, topology())
    assert not loaded.training
    np.testing.assert_array_equal(_predicted(loaded, image), wanted)


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "type"])
def test_weights_of_another_network_are_refused_by_the_tensors_name(path, state, change):
    name = sorted(state)[0]
    if change == "missing":
        del state[name]
    elif change == "extra":
        name = "surplus.weight"
        state[name] = torch.zeros(2)
    elif change == "shape":
        state[name] = torch.zeros(1)
    else:
        state[name] = state[name].double()
    save_file(state, path)
    with pytest.raises(DataError, match=f"{name}.*another plan"):
        load_network(path, topology())


def test_weights_that_are_not_finite_are_refused(path, state):
    next(iter(state.values())).view(-1)[0] = float("nan")
    save_file(state, path)
    with pytest.raises(DataError, match="not finite"):
        load_network(path, topology())


@pytest.mark.parametrize("content", [None, b"", b"\xff" * 64, b"PK\x03\x04 no tensors"])
def test_a_file_that_is_no_safetensors_file_is_refused(path, content):
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        load_network(path, topology())


def test_a_cut_file_is_refused(path, state):
    save_file(state, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be read"):
        load_network(path, topology())
