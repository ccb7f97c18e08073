"""The learning rate and the end of training, against torch and against events worked out from the rule's text."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from nnbox.recipes import RECIPE_2018, RECIPE_2019
from nnbox.records.codec import decode, encode
from nnbox.rules.schedule import ScheduleState, count_bad_epoch, first_state, moving_average, next_state, why_finished


def _run(recipe, training, validation):
    """Feed both curves until training ends; return the epochs at which the rate fell, and the last state."""
    state, drops = first_state(recipe), []
    for loss, measure in zip(training, validation, strict=True):
        following = next_state(state, recipe, float(loss), float(measure))
        if following.rate < state.rate:
            drops.append(following.epoch)
        state = following
        if state.finished:
            break
    return drops, state


def _falling(epochs, step):
    """Better by ``step`` in every epoch."""
    return [5.0 - step * epoch for epoch in range(epochs)]


def test_the_rate_of_2019_falls_when_torch_lets_it_fall():
    import torch

    rng = np.random.default_rng(1904)
    total = 0
    for _ in range(50):
        epochs = 400
        falling = np.exp(-np.arange(epochs) / rng.uniform(5, 120))
        curve = falling * rng.uniform(0.1, 1) + rng.normal(0, rng.uniform(0, 0.05), epochs)
        drops, state = _run(RECIPE_2019, curve, curve)
        parameter = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.Adam([parameter], lr=3e-4)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, mode="min", factor=0.2, patience=30, threshold=1e-3, threshold_mode="abs"
        )
        average, expected = None, []
        for epoch in range(1, state.epoch + 1):
            loss = curve[epoch - 1]
            average = loss if average is None else 0.93 * average + 0.07 * loss
            before = optimizer.param_groups[0]["lr"]
            plateau.step(average)
            if optimizer.param_groups[0]["lr"] < before:
                expected.append(epoch)
        assert drops == expected
        assert state.rate == pytest.approx(optimizer.param_groups[0]["lr"])
        total += len(drops)
    assert total > 50


# The events of a whole curve, from the rule's text (2018 §2.3, 2019 §2.2) and without a counter: an epoch is good when
# its average is below that of the last good epoch by more than the threshold. Between two good epochs every 31st epoch
# drops the rate, and the 61st ends a training of 2018.


@cache
def _weights(epochs, momentum):
    """a^(n-1) x1 + (1 - a) (a^(n-2) x2 + ... + xn): the moving average written out, a row for each n."""
    steps = np.arange(epochs)
    weights = np.tril((1 - momentum) * momentum ** np.maximum(steps[:, None] - steps[None], 0).astype(float))
    weights[:, 0] = momentum**steps
    return weights


def _averages(curve, momentum):
    return _weights(len(curve), momentum) @ curve


def _good_epochs(averages, threshold):
    good = [1]
    while (better := np.flatnonzero(averages[good[-1] :] < averages[good[-1] - 1] - threshold)).size:
        good.append(good[-1] + 1 + int(better[0]))
    return [*good, len(averages) + 1]


def _multiples_between(good, step):
    return [epoch for one, other in pairwise(good) for epoch in range(one + step, other, step)]


def _events_2018(training, validation):
    """Epochs at which the rate is divided by 5, last epoch, and what ended it."""
    drops = _multiples_between(_good_epochs(_averages(training, 0.93), 5e-3), 31)
    stops = _multiples_between(_good_epochs(_averages(validation, 0.9), 5e-3), 61)
    # 3e-4 / 5^4 is the first rate below 1e-6.
    ends = [(drops[3], "rate") if len(drops) > 3 else (9999, ""), (stops[0], "plateau") if stops else (9999, "")]
    last, why = min([*ends, (1000, "epochs")], key=lambda end: end[0])
    return [epoch for epoch in drops if epoch <= last], last, why


def _random_curve(rng, epochs):
    """A noisy fall that slows down, at times with steps, at times rising again."""
    epoch = np.arange(epochs)
    curve = rng.uniform(0.2, 3) * np.exp(-epoch / rng.uniform(10, 600)) + rng.normal(0, rng.uniform(0, 0.08), epochs)
    for _ in range(int(rng.integers(0, 4))):
        curve[int(rng.integers(epochs)) :] -= rng.uniform(-0.1, 0.3)
    return curve


def test_2018_drops_and_stops_where_the_text_of_the_rule_says_on_50_random_curves():
    rng = np.random.default_rng(1809)
    reasons = set()
    for index in range(50):
        training = np.linspace(20, 0, 1100) if index == 0 else _random_curve(rng, 1100)
        validation = np.linspace(20, 0, 1100) if index % 3 == 0 else _random_curve(rng, 1100)
        drops, last, why = _events_2018(training, validation)
        found, state = _run(RECIPE_2018, training, validation)
        assert (found, state.epoch) == (drops, last), index
        assert state.finished.startswith(f"{why}:")
        assert state.rate == pytest.approx(3e-4 / 5 ** len(drops))
        reasons.add(why)
    assert reasons == {"rate", "plateau", "epochs"}


def test_2019_stops_where_the_text_of_the_rule_says_on_50_random_curves():
    rng = np.random.default_rng(1)
    reasons = set()
    for index in range(50):
        curve = np.linspace(20, 0, 1100) if index == 0 else _random_curve(rng, 1100)
        drops = _multiples_between(_good_epochs(_averages(curve, 0.93), 1e-3), 31)
        last, why = min((drops[3], "rate") if len(drops) > 3 else (9999, ""), (1000, "epochs"))
        found, state = _run(RECIPE_2019, curve, np.ones(1100))
        assert (found, state.epoch) == ([epoch for epoch in drops if epoch <= last], last), index
        assert state.finished.startswith(f"{why}:")
        reasons.add(why)
    assert reasons == {"rate", "epochs"}


def test_a_flat_curve_drops_the_rate_at_every_31st_bad_epoch_until_the_rate_is_too_small():
    # The first epoch is the best. Epochs 2 … 32 are 31 bad ones: the rate falls after epoch 32 and the count starts
    # again, so it falls after 63, 94 and 125. 3e-4 · 0.2⁴ = 4.8e-7 is the first rate below 1e-6.
    drops, state = _run(RECIPE_2019, [1.0] * 300, [1.0] * 300)
    assert drops == [32, 63, 94, 125]
    assert state.epoch == 125
    assert state.rate == pytest.approx(4.8e-7)
    assert state.finished.startswith("rate:")


def test_2018_stops_at_the_61st_epoch_without_a_better_validation_average():
    # Training improves all the time. The validation loss is best in epoch 1; epochs 2 … 62 are 61 bad ones.
    drops, state = _run(RECIPE_2018, _falling(300, 0.02), [1.0] * 300)
    assert drops == []
    assert state.epoch == 62
    assert state.finished.startswith("plateau:")


def test_2019_has_no_such_rule():
    drops, state = _run(RECIPE_2019, _falling(300, 0.02), [1.0] * 300)
    assert drops == []
    assert state.finished is None
    assert state.epoch == 300


def test_2018_drops_to_a_fifth_and_stops_on_the_rate_while_the_validation_improves():
    drops, state = _run(RECIPE_2018, [1.0] * 300, _falling(300, 0.02))
    assert drops == [32, 63, 94, 125]
    assert state.finished.startswith("rate:")


def test_a_slow_fall_counts_for_2019_and_not_for_2018():
    # 1e-4 per epoch. 2018 asks for 5e-3: the average falls by less than 31e-4 in 31 epochs, so epoch 32 is the 31st bad
    # one. 2019 asks for 1e-3, and the average lags by at most 0.93 / 0.07 = 13.3 epochs: reached by epoch 25 at the
    # latest, then every 11 epochs or sooner.
    curve = _falling(200, 1e-4)
    assert _run(RECIPE_2018, curve, _falling(200, 0.02))[0][0] == 32
    assert _run(RECIPE_2019, curve, curve)[0] == []


def test_one_better_epoch_starts_the_count_again():
    # Epochs 2 … 31 are 30 bad ones. The loss of epoch 32 moves the average by 0.07 · 1 > 1e-3: good. From then on the
    # average rises back: epochs 33 … 63 are 31 bad ones.
    curve = [1.0] * 31 + [0.0] + [1.0] * 100
    assert _run(RECIPE_2019, curve, curve)[0][0] == 63


def test_training_never_takes_more_epochs_than_the_recipe_allows():
    short = replace(RECIPE_2019, maximum_epochs=7)
    state = _run(short, _falling(50, 0.1), _falling(50, 0.1))[1]
    assert (state.epoch, state.finished) == (7, "epochs: 7 epochs are done")
    for recipe in (RECIPE_2018, RECIPE_2019):
        assert recipe.maximum_epochs == 1000
        assert why_finished(ScheduleState(epoch=999, rate=3e-4), recipe) is None
        assert why_finished(ScheduleState(epoch=1000, rate=3e-4), recipe).startswith("epochs:")


def test_the_rate_must_be_below_its_limit_not_at_it():
    assert why_finished(ScheduleState(epoch=5, rate=1e-6), RECIPE_2019) is None
    assert why_finished(ScheduleState(epoch=5, rate=0.99e-6), RECIPE_2019).startswith("rate:")


def test_moving_averages_start_at_the_first_value():
    assert moving_average(None, 3.0, 0.93) == 3.0
    assert moving_average(3.0, 1.0, 0.93) == pytest.approx(0.93 * 3 + 0.07)
    state = first_state(RECIPE_2018)
    for loss, measure in ((3.0, 8.0), (1.0, 4.0), (2.0, 4.0)):
        state = next_state(state, RECIPE_2018, loss, measure)
    assert state.training_average == pytest.approx(0.93 * (0.93 * 3 + 0.07 * 1) + 0.07 * 2)
    assert state.validation_average == pytest.approx(0.9 * (0.9 * 8 + 0.1 * 4) + 0.1 * 4)


def test_an_improvement_must_exceed_the_threshold():
    assert count_bad_epoch(0.5, 1.0, 3, 0.5) == (1.0, 4)
    assert count_bad_epoch(0.25, 1.0, 3, 0.5) == (0.25, 0)
    assert count_bad_epoch(9.0, None, 0, 0.5) == (9.0, 0)


def test_a_schedule_continues_from_its_record():
    rng = np.random.default_rng(0)
    curve = rng.normal(1, 0.1, 120)
    whole = _run(RECIPE_2019, curve, curve)[1]
    half = _run(RECIPE_2019, curve[:60], curve[:60])[1]
    again = decode(encode(half), ScheduleState, where="test")
    for loss in curve[60:]:
        again = next_state(again, RECIPE_2019, float(loss), float(loss))
    assert again == whole
