"""Stored probabilities: what they cost and that damage is seen."""

import numpy as np
import pytest
from scipy import ndimage

from nnbox.errors import DataError
from nnbox.inference.probabilities import average_probabilities, load_probabilities, store_probabilities


def smooth_map(rng, classes=4, shape=(24, 48, 48)):
    """Softmax of smooth noise, with boundaries about as sharp as a trained network's (a few voxels wide)."""
    logits = np.stack([ndimage.gaussian_filter(rng.standard_normal(shape), 4) for _ in range(classes)])
    logits = 8 * logits / logits.std()
    logits -= logits.max(axis=0)
    return (np.exp(logits) / np.exp(logits).sum(axis=0)).astype(np.float32)


def related(probabilities, rng):
    """Another member's opinion of the same case: the same map, bent smoothly."""
    bend = np.stack([ndimage.gaussian_filter(rng.standard_normal(part.shape), 4) for part in probabilities])
    other = np.log(probabilities + 1e-6) + 2 * bend / bend.std()
    other = np.exp(other - other.max(axis=0))
    return (other / other.sum(axis=0)).astype(np.float32)


def test_a_stored_probability_is_off_by_at_most_half_a_step(tmp_path, rng):
    probabilities = smooth_map(rng)
    store_probabilities(tmp_path / "case.npz", probabilities)
    loaded = load_probabilities(tmp_path / "case.npz")
    assert loaded.dtype == np.float32
    assert np.abs(loaded - probabilities)[1:].max() <= 0.5 / 255 + 1e-6
    assert np.abs(loaded - probabilities)[0].max() <= 3 * 0.5 / 255 + 1e-6
    np.testing.assert_allclose(loaded.sum(axis=0), 1, atol=2 / 255)


def test_certain_maps_come_back_exactly(tmp_path, rng):
    labels = rng.integers(0, 3, (4, 5, 6))
    certain = np.stack([labels == index for index in range(3)]).astype(np.float32)
    store_probabilities(tmp_path / "case.npz", certain)
    np.testing.assert_array_equal(load_probabilities(tmp_path / "case.npz"), certain)


def test_pairs_from_stored_maps_hardly_differ_from_pairs_in_float32(tmp_path, rng, record_property):
    changed, dices = [], []
    for _ in range(3):
        first = smooth_map(rng)
        members = [first, related(first, rng)]
        loaded = []
        for index, member in enumerate(members):
            store_probabilities(tmp_path / f"{index}.npz", member)
            loaded.append(load_probabilities(tmp_path / f"{index}.npz"))
        exact = average_probabilities(members).argmax(axis=0)
        coarse = average_probabilities(loaded).argmax(axis=0)
        changed.append((exact != coarse).mean())
        for label in range(1, 4):
            a, b = exact == label, coarse == label
            dices.append(2 * (a & b).sum() / (a.sum() + b.sum()))
    record_property("share_of_voxels_changed", float(np.mean(changed)))
    record_property("lowest_dice", float(min(dices)))
    assert np.mean(changed) < 1e-3
    assert min(dices) > 0.998


def test_maps_are_small_on_disk(tmp_path):
    z, y, x = np.ogrid[:32, :64, :64]
    distance = np.sqrt((z - 16.0) ** 2 + (y - 32) ** 2 + (x - 32) ** 2) - 10
    inside = (1 / (1 + np.exp(np.clip(2 * distance, -50, 50)))).astype(np.float32)
    store_probabilities(tmp_path / "ball.npz", np.stack([1 - inside, inside]))
    assert (tmp_path / "ball.npz").stat().st_size < 0.1 * inside.size


def test_equal_maps_give_equal_bytes(tmp_path, rng):
    probabilities = smooth_map(rng, shape=(4, 8, 8))
    for name in ("a.npz", "b.npz"):
        store_probabilities(tmp_path / name, probabilities)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", "b.npz"}


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped", "foreign"])
def test_damage_is_said_with_the_file(tmp_path, rng, damage):
    path = tmp_path / "case.npz"
    store_probabilities(path, smooth_map(rng, shape=(8, 16, 16)))
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    else:
        np.savez(path, other=np.zeros(3))
    with pytest.raises(DataError, match=r"case\.npz"):
        load_probabilities(path)


def test_the_mean_counts_members_alike_and_refuses_other_shapes(rng):
    members = [smooth_map(rng, shape=(3, 4, 5)) for _ in range(3)]
    before = [member.copy() for member in members]
    np.testing.assert_allclose(average_probabilities(members), np.mean(members, axis=0), atol=1e-6)
    np.testing.assert_array_equal(members, before)
    with pytest.raises(ValueError, match="shapes"):
        average_probabilities([members[0], members[1][:, :2]])
    with pytest.raises(ValueError, match="shapes"):
        average_probabilities([])
