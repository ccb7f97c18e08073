from __future__ import annotations

import numpy as np
import pytest
import torch

from nnbox.network import pieces
from nnbox.training.loss import segmentation_loss, sums_by_index, sums_by_mask


def direct(logits: np.ndarray, labels: np.ndarray, batch_dice: bool) -> float:
    """RULES section 5, evaluated term by term in float64."""
    logits = logits.astype(np.float64)
    labels = np.maximum(labels, 0)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    u = exponentials / exponentials.sum(axis=1, keepdims=True)
    v = np.stack([(labels == k) for k in range(logits.shape[1])], axis=1).astype(np.float64)
    cross_entropy = -(v * np.log(u)).sum(axis=1).mean()
    batches = [(u, v)] if batch_dice else [(u[i : i + 1], v[i : i + 1]) for i in range(len(u))]
    dice = []
    for some_u, some_v in batches:
        for k in range(1, logits.shape[1]):
            overlap = (some_u[:, k] * some_v[:, k]).sum()
            dice.append((2 * overlap + 1e-5) / (some_u[:, k].sum() + some_v[:, k].sum() + 1e-5))
    return float(cross_entropy - np.mean(dice))


@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize(("classes", "space"), [(2, (4, 5)), (3, (4, 5, 3)), (15, (3, 4, 5))])
def test_the_loss_is_the_formula_evaluated_directly(batch_dice, classes, space):
    rng = np.random.default_rng(classes)
    logits = rng.normal(0, 3, (3, classes, *space))
    labels = rng.integers(-1, classes, (3, *space)).astype(np.int16)
    found = segmentation_loss(torch.from_numpy(logits), torch.from_numpy(labels), batch_dice=batch_dice)
    assert float(found) == pytest.approx(direct(logits, labels, batch_dice), abs=1e-12)
    single = segmentation_loss(torch.from_numpy(logits).float(), torch.from_numpy(labels), batch_dice=batch_dice)
    assert float(single) == pytest.approx(direct(logits, labels, batch_dice), abs=1e-5)


@pytest.mark.parametrize("order", ["last", "first"])
@pytest.mark.parametrize("kind", [torch.int8, torch.int16])
@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize(("classes", "space"), [(2, (4, 5)), (3, (41, 13, 7)), (15, (13, 24, 5)), (105, (3, 4, 5))])
def test_the_kernels_compute_the_formula_and_its_gradient(batch_dice, classes, space, kind, order):
    """In Triton's interpreter (tests/conftest.py); more voxels than a tile and than a share, and fewer."""
    rng = np.random.default_rng(classes)
    logits = torch.from_numpy(rng.normal(0, 3, (2, classes, *space))).float()
    labels = torch.from_numpy(rng.integers(-1, classes, (2, *space))).to(kind)
    plain = logits.double().requires_grad_()
    (3 * segmentation_loss(plain, labels, batch_dice=batch_dice)).backward()
    inputs = logits.movedim(1, -1).contiguous().movedim(-1, 1) if order == "last" else logits.clone()
    inputs.requires_grad_()
    loss = segmentation_loss(inputs, labels, batch_dice=batch_dice, kernels=True)
    (3 * loss).backward()
    assert float(loss.detach()) == pytest.approx(direct(logits.numpy(), labels.numpy(), batch_dice), abs=1e-5)
    assert inputs.grad.stride() == inputs.stride()
    torch.testing.assert_close(inputs.grad.double(), plain.grad, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize("batch_dice", [True, False])
def test_the_gradient_is_the_derivative_of_the_value(batch_dice):
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(0, 2, (2, 4, 3, 3, 2))).requires_grad_()
    labels = torch.from_numpy(rng.integers(-1, 4, (2, 3, 3, 2)))
    assert torch.autograd.gradcheck(lambda x: 3 * segmentation_loss(x, labels, batch_dice=batch_dice), (logits,))


def test_the_two_variants_differ_where_samples_differ():
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(0, 2, (2, 3, 8)))
    labels = torch.zeros((2, 8), dtype=torch.int64)
    labels[0, :6] = 1
    one = segmentation_loss(logits, labels, batch_dice=True)
    apart = segmentation_loss(logits, labels, batch_dice=False)
    assert not torch.isclose(one, apart, atol=1e-3)


@pytest.mark.parametrize("batch_dice", [True, False])
def test_a_perfect_answer_costs_minus_one(batch_dice):
    labels = torch.tensor([[0, 1, 2, 1], [2, 0, 1, 1]])
    logits = 60.0 * torch.nn.functional.one_hot(labels, 3).movedim(2, 1)
    assert float(segmentation_loss(logits, labels, batch_dice=batch_dice)) == pytest.approx(-1.0)


def test_outside_counts_as_background():
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(0, 2, (1, 2, 6)))
    outside, background = torch.tensor([[-1, -1, 0, 1, 1, -1]]), torch.tensor([[0, 0, 0, 1, 1, 0]])
    found = [segmentation_loss(logits, labels, batch_dice=True) for labels in (outside, background)]
    assert found[0] == found[1]


def test_a_class_in_neither_answer_nor_reference_scores_one():
    logits = torch.tensor([[100.0, 0.0]]).T.reshape(1, 2, 1).expand(1, 2, 5)
    labels = torch.zeros((1, 5), dtype=torch.int64)
    assert float(segmentation_loss(logits, labels, batch_dice=True)) == pytest.approx(-1.0)


def test_half_precision_logits_are_evaluated_in_single_precision():
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(0, 2, (1, 3, 400))).to(torch.bfloat16).requires_grad_()
    labels = torch.from_numpy(rng.integers(0, 3, (1, 400)))
    loss = segmentation_loss(logits, labels, batch_dice=True)
    loss.backward()
    assert loss.dtype == torch.float32
    assert logits.grad.dtype == torch.bfloat16
    expected = direct(logits.detach().double().numpy(), labels.numpy(), True)
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-5)


def test_sums_per_label_are_the_same_either_way():
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, 4, 500))
    values = torch.from_numpy(rng.random(500))
    by_index, by_mask = sums_by_index(labels, values, 6), sums_by_mask(labels, values, 6)
    torch.testing.assert_close(by_index[0], by_mask[0])
    assert by_index[1].tolist() == by_mask[1].tolist() == [*np.bincount(labels, minlength=6)]


@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("batch_dice", [True, False])
def test_value_and_gradient_in_pieces_are_those_of_the_plain_formula(order, batch_dice, monkeypatch):
    monkeypatch.setattr(pieces, "PIECE_VALUES", 100)  # 15 classes: six voxels a piece, the last one shorter
    rng = np.random.default_rng(1)
    values = torch.from_numpy(rng.normal(0, 3, (2, 15, 3, 5, 7)))
    if order == "last":
        values = values.movedim(1, -1).contiguous().movedim(-1, 1)
    labels = torch.from_numpy(rng.integers(0, 15, (2, 3, 5, 7)).astype(np.int16))
    ours, plain = (values.detach().clone().requires_grad_() for _ in range(2))
    segmentation_loss(ours, labels, batch_dice=batch_dice).backward()
    softmax, reference = plain.softmax(dim=1), torch.nn.functional.one_hot(labels.long(), 15).movedim(-1, 1).double()
    over = (0, 2, 3, 4) if batch_dice else (2, 3, 4)
    overlap, volume = (softmax * reference).sum(over), softmax.sum(over) + reference.sum(over)
    dice = ((2 * overlap + 1e-5) / (volume + 1e-5))[..., 1:].mean()
    (torch.nn.functional.cross_entropy(plain, labels.long()) - dice).backward()
    torch.testing.assert_close(ours.grad, plain.grad, atol=1e-15, rtol=1e-10)
    assert ours.grad.stride() == ours.stride()


def test_extreme_logits_give_a_finite_loss():
    logits = torch.tensor([[[1e4, -1e4], [-1e4, 1e4]]], requires_grad=True)
    loss = segmentation_loss(logits, torch.tensor([[1, 1]]), batch_dice=True)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(1e4, rel=1e-3)
    assert torch.isfinite(logits.grad).all()
