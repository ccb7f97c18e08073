"""Training by a schedule that was laid out for a time budget."""

from __future__ import annotations

import dataclasses

import pytest

from nnbox.errors import ChangedRunError
from nnbox.training.loop import train_fold
from nnbox.training.progress import EpochRecord, StepTiming


class InterruptionError(Exception):
    pass


def _train(job, pace=None, stop_after=None):
    """Train; return the records of the epochs, and the result unless it was interrupted."""
    told = []

    def report(record):
        told.append(record)
        if isinstance(record, EpochRecord) and record.epoch == stop_after:
            raise InterruptionError

    try:
        result = train_fold(job, report=report, pace=pace)
    except InterruptionError:
        result = None
    return [record for record in told if isinstance(record, EpochRecord)], result, told


@pytest.fixture
def laid_out(job):
    return dataclasses.replace(job, epochs=None, laid_out_epochs=4)


def test_a_layout_is_followed_to_the_end_of_its_rate(laid_out):
    epochs, result, told = _train(laid_out)
    assert [record.maximum_epochs for record in epochs] == [4] * 4
    rates = [record.rate for record in epochs]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(1e-6)
    assert result.epochs == 4
    assert result.stopped_by.startswith("layout:")
    timing = next(record for record in told if isinstance(record, StepTiming))
    assert timing.steps_left == 3 * 4


def test_where_time_gets_short_the_rest_is_shorter_and_the_rate_still_reaches_its_end(laid_out):
    answers = iter((4, 3, 1))
    epochs, result, _ = _train(laid_out, pace=lambda: next(answers))
    assert [record.maximum_epochs for record in epochs] == [4, 4, 3]
    assert result.epochs == 3
    assert epochs[-1].rate == pytest.approx(1e-6)


def test_where_there_is_more_time_the_rest_is_longer(laid_out):
    answers = iter((4, 3, 3, 3, 2, 1))
    epochs, result, _ = _train(laid_out, pace=lambda: next(answers))
    assert result.epochs == len(epochs) == 6
    assert epochs[-1].rate == pytest.approx(1e-6)


def test_a_layout_that_is_not_changed_continues_to_the_same_bytes(laid_out, tmp_path):
    _, whole, _ = _train(laid_out)
    parted = dataclasses.replace(laid_out, folder=tmp_path / "parted")
    assert _train(parted, stop_after=2)[1] is None
    _, again, _ = _train(parted)
    assert again == whole


def test_with_less_time_left_it_continues_from_the_same_checkpoint(laid_out, tmp_path):
    parted = dataclasses.replace(laid_out, folder=tmp_path / "parted")
    first = _train(parted, stop_after=2)[0]
    epochs, result, _ = _train(dataclasses.replace(parted, laid_out_epochs=9), pace=lambda: 1)
    assert result.epochs in {2, 3}  # one more than the last checkpoint, which is not written after every epoch
    assert len(epochs) == 1
    assert epochs[0].rate == pytest.approx(1e-6)
    assert epochs[0].rate < first[-1].rate


def test_a_checkpoint_of_the_recipes_schedule_is_not_continued_by_a_layout(laid_out):
    _train(dataclasses.replace(laid_out, laid_out_epochs=None), stop_after=1)
    with pytest.raises(ChangedRunError):
        _train(laid_out)
