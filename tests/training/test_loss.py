from __future__ import annotations

import numpy as np
import pytest
import torch

from nnbox.training.loss import segmentation_loss


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
