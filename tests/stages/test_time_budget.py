"""A run with a time budget: what it measures, how it lays out, when it refuses, how it goes on. Clocks are made up."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
import torch

from nnbox.errors import ResourceError, UsageError
from nnbox.network.device import Device
from nnbox.recipes import RECIPES
from nnbox.records.codec import read_record
from nnbox.records.dataset import Label
from nnbox.records.events import Event, read_events
from nnbox.records.results import FoldResult
from nnbox.records.time_budget import BudgetLayout, NetworkLayout
from nnbox.rules.schedule import first_laid_out_state
from nnbox.stages import training
from nnbox.stages.budget_clock import BudgetClock, open_clock, seconds_of_others
from nnbox.stages.budget_reserve import margin_seconds, reserved_seconds
from nnbox.stages.continued import trained_share
from nnbox.stages.costs import Costs, EndingCosts
from nnbox.stages.options import TrainOptions, Until, parse_time_budget
from nnbox.stages.report import write_report
from nnbox.stages.status import read_status
from nnbox.stages.time_budget import Pacer, TimeBudget
from nnbox.stages.train import train
from nnbox.stages.workspace import Workspace
from nnbox.training.checkpoint import BEFORE_NAME, RECORD_NAME, CheckpointRecord, write_checkpoint

MOMENT = datetime.fromisoformat("2026-03-01T12:00:00+01:00")


class Clock:
    """A clock that goes on by a fixed time whenever it is looked at."""

    def __init__(self, seconds_per_look=0.0):
        self.time, self.seconds_per_look = 1000.0, seconds_per_look

    def __call__(self):
        self.time += self.seconds_per_look
        return self.time


def _ending():
    return EndingCosts(
        asked={"3d_fullres": 0.5},
        beside={"3d_fullres": 0.1},
        loaded=0.01,
        scored=0.01,
        tried=0.01,
        processes=1.0,
        weight_byte=1e-8,
        report=2.0,
        drawings=9,
        test_cases=2.0,
    )


@pytest.fixture
def made_up_costs(monkeypatch):
    """Say what steps cost instead of measuring, and let every epoch take 0.2 s; return the clock."""
    clock = Clock(0.2)

    def open_clock(_context, options):
        budget = options.time_budget_seconds
        return BudgetClock(
            budget_seconds=budget, used_before_seconds=5.0, end=clock.time + budget - 5.0, opened=clock.time, now=clock
        )

    monkeypatch.setattr("nnbox.stages.time_budget.open_clock", open_clock)
    costs = Costs(step={"3d_fullres": 0.1}, start={"3d_fullres": 1.0}, case={"3d_fullres": 0.5}, ending=_ending())
    monkeypatch.setattr("nnbox.stages.time_budget.measure", lambda *_: costs)
    return clock


@pytest.fixture
def budgeted(tiny_options, made_up_costs):
    """Two networks of 3d_fullres with enough time for some 45 steps each."""
    return replace(tiny_options, epochs=None, iterations=None, folds=(0, 1), time_budget_seconds=38.0)


def _results(out):
    return [read_record(path, FoldResult) for path in sorted(out.glob("training/*/fold_*/result.json"))]


def _last_rates(out):
    for path in out.glob("training/*/fold_*/progress.csv"):
        with path.open() as stream:
            yield float(list(csv.DictReader(stream))[-1]["rate"])


@pytest.mark.parametrize(
    ("words", "seconds"),
    [("12h", 43_200), ("90m", 5_400), ("6m", 360), ("1d12h", 129_600), ("300s", 300), ("1H30M", 5_400)],
)
def test_a_time_budget_is_typed_in_days_hours_minutes_and_seconds(words, seconds):
    assert parse_time_budget(words) == seconds


@pytest.mark.parametrize("words", ["", "12", "0h", "-1h", "1.5h", "12 h", "h", "5m1h"])
def test_anything_else_is_refused_with_an_example(words):
    with pytest.raises(UsageError, match="12h, 90m or 1d12h"):
        parse_time_budget(words)


def test_a_time_budget_excludes_a_schedule_of_ones_own(tmp_path):
    assert parse_time_budget(None) is None
    for other in ({"epochs": 5}, {"iterations": 5}):
        with pytest.raises(UsageError, match="leave out --epochs and --iterations"):
            TrainOptions(input=tmp_path, time_budget_seconds=60.0, **other)


def _start(run, budget=None, after=0.0):
    return _event(run, after, "start", {"options": {"time_budget_seconds": budget}})


def _event(run, after, name="epoch", facts=None):
    """An event of a run, so many seconds after its beginning; the time of day jumps about."""
    day = MOMENT + timedelta(hours=int(5 * after) % 7 - 3)
    return Event(time=day, event=name, sentence="", facts=facts or {}, run=run, after_seconds=after)


def test_earlier_starts_with_a_budget_count_to_their_last_event_whatever_the_time_of_day():
    log = [
        *(_start("free"), _event("free", 50.0)),  # without a budget
        *(_start("a", 60.0, after=3.0), _event("a", 10.0), _event("a", 30.0)),
        *(_start("b", 90.0), _event("b", 7.0)),
        *(_start("own", 90.0), _event("own", 1.0)),
        Event(time=MOMENT, event="said by a run without a name", sentence=""),
    ]
    assert seconds_of_others([log], "own") == 37
    assert seconds_of_others([log], "next") == 38
    assert seconds_of_others([()], "own") == 0


def test_the_tasks_of_a_run_count_one_after_the_other():
    first = [_start("a", 60.0), _event("a", 20.0), _start("b", 60.0), _event("b", 2.0)]
    second = [_start("a", 60.0, after=20.0), _event("a", 50.0), _start("b", 60.0, after=2.0), _event("b", 9.0)]
    assert seconds_of_others([first, second], "own") == 59


def test_runs_that_work_at_the_same_time_count_once():
    log = [_start("a", 60.0), _event("a", 10.0), _start("b", 60.0)]
    log += [event for second in range(1, 21) for event in (_event("a", 10.0 + second), _event("b", float(second)))]
    assert seconds_of_others([log], "own") == 30


def test_a_clock_that_was_set_forward_takes_nothing_from_the_budget(tmp_path):
    """The start that opens the clock wrote events from a day later than its last one."""
    workspace = Workspace(tmp_path)
    log = [_start("a", 60.0), _event("a", 20.0), _start("own", 60.0), _event("own", 5.0)]
    log[-2:] = [replace(event, time=MOMENT - timedelta(days=1)) for event in log[-2:]]
    workspace.log.write_text("".join(f"{event.line()}\n" for event in log))
    context = SimpleNamespace(workspace=workspace, journal=SimpleNamespace(run="own"), root=tmp_path)
    options = SimpleNamespace(time_budget_seconds=60.0, asked_at=994.0, input=tmp_path)
    clock = open_clock(context, options, Clock())
    assert clock.used_seconds == 26
    assert clock.left_seconds == 34


def test_a_network_is_paced_by_its_own_epochs():
    clock = Clock()
    pacer = Pacer(clock, until=1100.0, epoch_seconds=10.0)
    assert pacer() == 10
    clock.time += 30.0  # the first epoch took three times as long: 70 s are left
    assert pacer() == 2
    clock.time += 7.0  # it had to warm up, as is seen now: 63 s are left
    assert pacer() == 9
    assert pacer.epoch_seconds == 7.0
    clock.time += 100.0
    assert pacer() == 1


def test_a_run_ends_with_an_archive_and_every_rate_at_its_end_and_says_so(budgeted, listener):
    train(budgeted, listener)
    out, workspace = budgeted.output, Workspace(budgeted.output)
    results = _results(out)
    assert len(results) == 2
    assert all(item.stopped_by.startswith("layout:") for item in results)
    assert all(item.epochs * item.iterations_per_epoch >= 40 for item in results)
    assert list(_last_rates(out)) == [pytest.approx(1e-6)] * 2
    assert workspace.submission("Task01_Tiny").is_file()
    plan = json.loads(workspace.plan.read_text())
    assert plan["decisions"][-1]["subject"] == "schedule"
    assert "time budget 38s" in listener.text
    layouts = [event for event in read_events(workspace.log) if event.event == "layout"]
    assert [event.facts["networks"] for event in layouts] == [2, 1]
    record = read_record(workspace.time_budget, BudgetLayout)
    assert record.epochs * record.iterations <= record.steps
    assert record.case_seconds["3d_fullres"] >= 0.5  # never below what was measured first
    assert not _warnings(out)
    assert set(record.reserved_seconds) >= {"choosing", "the model", "predicting", "the report"}
    assert not list(out.rglob(".probe-*"))
    write_report(workspace, budgeted.input)
    page = " ".join(workspace.report.read_text().split())
    assert "laid out for a time budget of 38s for the whole run" in page
    assert "had not improved" not in page
    assert read_status(workspace).maximum_epochs == record.epochs

    again = type(listener)()
    before = {path: path.stat().st_mtime_ns for path in out.glob("training/*/fold_*/weights.safetensors")}
    train(budgeted, again)
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("training/*/fold_*/weights.safetensors")}
    assert "measuring" not in again.text


def test_a_budget_that_is_too_small_is_refused_with_the_one_that_is_needed(budgeted, listener):
    with pytest.raises(ResourceError, match=r"2 networks of 40 steps.*--time-budget 1m"):
        train(replace(budgeted, time_budget_seconds=20.0), listener)
    assert _results(budgeted.output) == []


def _made_up_job(until=None):
    """Return a planned task of one configuration, two folds and three cases."""
    labels = (Label(value=1, name="one"), Label(value=2, name="two"))
    configuration = SimpleNamespace(full_resolution=True, previous=None, topology=None)
    return SimpleNamespace(
        plan=SimpleNamespace(labels=labels, configuration=lambda _name: configuration),
        folds=SimpleNamespace(validation=(("a", "b"), ("c",))),
        options=SimpleNamespace(until=until, folds=None),
        configurations=("3d_fullres",),
    )


def _reserve(costs, until=None):
    return reserved_seconds(SimpleNamespace(workers=1), _made_up_job(until), costs)


@pytest.fixture
def small_networks(monkeypatch):
    monkeypatch.setattr("nnbox.stages.budget_reserve.parameter_count", lambda _topology: 1000)


def test_what_is_kept_is_counted_in_measured_pieces(small_networks):
    costs = Costs(opening={"3d_fullres": 0.25}, ending=_ending())
    kept = _reserve(costs)
    assert kept["the model"] == pytest.approx(2 * 4000 * 1e-8)
    assert kept["predicting"] == pytest.approx(2 * 0.25 + 2.0 * (2 * 0.5 + 0.1 + 3 * 0.01))
    assert kept["choosing"] == pytest.approx(3 * 0.02 + 3 * 3 * 0.02 + 1.0 * (1 + 3))
    assert kept["the report"] > 1.0 + 2.0
    assert set(_reserve(costs, Until.TRAIN)) == {"the report"}
    assert set(_reserve(costs, Until.SELECT)) == {"the report", "choosing"}


def test_where_out_of_fold_predictions_take_longer_more_is_kept_for_everything(small_networks):
    slow = Costs(ending=_ending(), slowdown=1.5)
    usual = _reserve(Costs(ending=_ending()))
    assert _reserve(slow) == pytest.approx({name: 1.5 * seconds for name, seconds in usual.items()})
    assert margin_seconds(100.0, 50.0) > margin_seconds(100.0, 20.0) > 2.0


def _warnings(out):
    return [event for event in read_events(Workspace(out).log) if event.event == "late"]


@pytest.mark.parametrize(("left", "said"), [(60.0, 0), (5.0, 1), (-5.0, 1)])
def test_where_too_little_time_is_left_after_training_the_log_says_how_late_it_will_be(small_networks, left, said):
    warned = []
    journal = SimpleNamespace(warn=lambda event, sentence: warned.append((event, sentence)))
    now = Clock()
    clock = BudgetClock(budget_seconds=100.0, used_before_seconds=0.0, end=now.time + left, opened=now.time, now=now)
    costs = Costs(ending=_ending())
    budget = TimeBudget(SimpleNamespace(workers=1, journal=journal), _made_up_job(), clock, costs, tuple)
    budget.over()
    assert len(warned) == said
    for event, sentence in warned:
        assert event == "late"
        assert f"{max(0.0, left):.0f} s of the time budget are left" in sentence
        late = sum(_reserve(costs).values()) - left
        assert f"about {late:.0f} s after its budget" in sentence


class StopError(Exception):
    pass


def test_what_is_left_may_be_given_more_time_and_what_is_trained_is_kept(budgeted, made_up_costs):
    def stop(_severity, sentence):
        if sentence.startswith("3d_fullres fold 0: trained"):
            raise StopError

    with pytest.raises(StopError):
        train(budgeted, stop)
    first = _results(budgeted.output)
    assert len(first) == 1
    made_up_costs.seconds_per_look = 1.0
    train(replace(budgeted, time_budget_seconds=39.0, until=Until.TRAIN), lambda *_: None)
    kept, other = _results(budgeted.output)
    assert kept == first[0]
    assert other.epochs * other.iterations_per_epoch > 1.5 * kept.epochs * kept.iterations_per_epoch


def _interrupted_within_the_first_epoch(options, monkeypatch):
    passed = []

    def interrupt(*_):
        passed.append(1)
        if len(passed) == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("nnbox.training.loop.reached", interrupt)
        train(options, lambda *_: None)


def test_what_was_stopped_within_its_first_epoch_goes_on_with_another_budget(budgeted, made_up_costs, monkeypatch):
    options = replace(budgeted, folds=(0,), until=Until.TRAIN, time_budget_seconds=20.0)
    _interrupted_within_the_first_epoch(options, monkeypatch)
    workspace = Workspace(budgeted.output)
    begun = read_record(workspace.network_layout("3d_fullres", 0), NetworkLayout)
    checkpoint = read_record(workspace.fold("3d_fullres", 0) / RECORD_NAME, CheckpointRecord)
    assert (checkpoint.schedule.progress, len(checkpoint.losses)) == (0.0, 1)
    made_up_costs.seconds_per_look = 3.0
    train(replace(options, time_budget_seconds=32.0), lambda *_: None)
    assert read_record(workspace.time_budget, BudgetLayout).iterations > begun.iterations
    assert [result.iterations_per_epoch for result in _results(budgeted.output)] == [begun.iterations]


def test_a_start_that_is_late_goes_on_with_the_least_steps_once_a_network_is_begun(
    budgeted, made_up_costs, monkeypatch, listener
):
    options = replace(budgeted, folds=(0,), until=Until.TRAIN, time_budget_seconds=20.0)
    _interrupted_within_the_first_epoch(options, monkeypatch)
    made_up_costs.seconds_per_look = 3.0
    train(replace(options, until=None, time_budget_seconds=6.0), listener)
    assert Workspace(options.output).submission("Task01_Tiny").is_file()
    (event,) = [event for event in _warnings(options.output) if "the least, 40 steps" in event.sentence]
    assert "What to do for more: stop the run" in event.sentence
    assert list(_last_rates(options.output)) == [pytest.approx(1e-6)]


@pytest.mark.parametrize("damaged", [(RECORD_NAME,), (RECORD_NAME, BEFORE_NAME)])
def test_a_damaged_checkpoint_counts_as_training_takes_it(tmp_path, damaged):
    state = first_laid_out_state(RECIPES["2019"], 4)
    for share in (0.25, 0.5):
        write_checkpoint(
            tmp_path,
            {"one": torch.ones(1)},
            job_sha256="0" * 64,
            schedule=replace(state, epoch=int(4 * share), progress=share),
            history=(),
            loss_scaling=None,
        )
    assert trained_share(tmp_path) == 0.5
    for name in damaged:
        (tmp_path / name).write_text("{")
    assert trained_share(tmp_path) == (0.25 if len(damaged) == 1 else None)


def test_without_the_layout_it_was_begun_with_a_network_is_trained_from_the_start(
    budgeted, made_up_costs, monkeypatch, listener
):
    options = replace(budgeted, folds=(0,), until=Until.TRAIN, time_budget_seconds=20.0)
    _interrupted_within_the_first_epoch(options, monkeypatch)
    Workspace(budgeted.output).network_layout("3d_fullres", 0).unlink()
    made_up_costs.seconds_per_look = 3.0
    train(options, listener)
    assert "layout.json cannot be read; this network is trained from the start" in listener.text
    assert len(_results(budgeted.output)) == 1


def test_every_configuration_is_measured_on_copies_that_change_nothing(tiny, tmp_path, monkeypatch, listener):
    monkeypatch.setattr("nnbox.stages.probing._LEAST_SECONDS", 0.0)
    monkeypatch.setattr("nnbox.stages.probing._SHARE", 0.0)
    options = TrainOptions(
        input=tiny,
        output=tmp_path / "out",
        folds=(0,),
        time_budget_seconds=2.0,
        device="cpu",
        planning_memory_gb=0.0015,
        workers=0,
    )
    other = Workspace(options.output).probe("another") / "2d" / "file"  # of a run that measures at the same time
    other.parent.mkdir(parents=True)
    other.write_text("being measured")
    found = []
    monkeypatch.setattr("nnbox.stages.time_budget.TimeBudget.lay_out", lambda self, *_: found.append(self) or _stop())
    with pytest.raises(StopError):
        train(options, listener)
    costs = found[0]._costs
    names = {"2d", "3d_fullres", "3d_lowres", "3d_cascade"}
    assert set(costs.step) == set(costs.start) == set(costs.case) == names
    ending = costs.ending
    assert set(ending.asked) == set(ending.beside) == set(costs.opening) == names
    measured = (*costs.step.values(), *costs.case.values(), *ending.asked.values(), *ending.beside.values())
    single = (ending.loaded, ending.scored, ending.tried, ending.receipt, ending.weight_byte, ending.archived)
    assert all(seconds > 0 for seconds in (*measured, *single, ending.report))
    assert ending.drawings > 1  # else the report could not be written
    assert ending.test_cases >= 1
    assert [path.name for path in options.output.rglob(".probe-*")] == [".probe-another"]
    assert other.read_text() == "being measured"
    assert not list(options.output.glob("training/**/*.safetensors"))
    assert not list(options.output.glob("validation/**/*.npz"))


def _stop():
    raise StopError


def test_cards_that_a_budget_leaves_idle_are_named():
    """Without a card: the choice itself, on made-up ones."""
    cards = tuple(Device(name=f"cuda:{index}", description="made up", memory_bytes=1) for index in range(3))
    said = []
    context = SimpleNamespace(journal=SimpleNamespace(warn=lambda event, sentence: said.append((event, sentence))))
    for budget, expected in ((None, cards), (60.0, cards[:1])):
        job = SimpleNamespace(devices=cards, device=cards[0], options=SimpleNamespace(time_budget_seconds=budget))
        assert training._devices(context, job) == expected
    ((event, sentence),) = said
    assert event == "idle_devices"
    assert sentence.endswith("on cuda:0; idle: cuda:1, cuda:2")
