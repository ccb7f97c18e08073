"""What a run tells, how calmly, and what its log holds."""

from __future__ import annotations

import json

import pytest

from nnbox.errors import Severity, TrainingError
from nnbox.network.device import choose_device
from nnbox.records.events import parse_event, read_events
from nnbox.stages import journal as journal_module
from nnbox.stages.clock import Stage, ending_recorded, stage
from nnbox.stages.context import open_context
from nnbox.stages.journal import CALM_SECONDS, Journal
from nnbox.stages.usage import memory_in_use_bytes, usage_so_far
from nnbox.stages.workspace import Workspace


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = [0.0]
    monkeypatch.setattr(journal_module.time, "monotonic", lambda: now[0])
    return now


def _context(folder):
    return open_context(folder, Workspace(folder), Journal(folder / "log.jsonl"), 0)


def _steps(journal, clock, times, *, epochs=100):
    for epoch, seconds in enumerate(times, start=1):
        clock[0] = seconds
        journal.step("epoch", "2d fold 0", f"epoch {epoch}", {"epoch": epoch}, last=epoch == epochs)


def test_of_many_steps_the_first_the_last_and_one_in_thirty_seconds_are_told(tmp_path, listener, clock):
    journal = Journal(tmp_path / "log.jsonl", listener)
    _steps(journal, clock, range(100), epochs=100)
    assert listener.said == ["epoch 1", "epoch 31", "epoch 61", "epoch 91", "epoch 100"]
    assert [event.facts["epoch"] for event in read_events(tmp_path / "log.jsonl")] == list(range(1, 101))


def test_slow_steps_are_all_told(listener, clock):
    _steps(Journal(None, listener), clock, [0, CALM_SECONDS, 2 * CALM_SECONDS])
    assert len(listener.said) == 3


def test_every_subject_has_its_own_calm(listener, clock):
    journal = Journal(None, listener)
    for fold in (0, 1):
        journal.step("epoch", f"2d fold {fold}", f"fold {fold}", {}, last=False)
    assert listener.said == ["fold 0", "fold 1"]


def test_a_live_view_hears_no_steps_and_the_log_has_them(tmp_path, listener, clock):
    journal = Journal(tmp_path / "log.jsonl", listener, steps_told=False)
    _steps(journal, clock, [0, 60])
    assert listener.said == []
    assert len(read_events(tmp_path / "log.jsonl")) == 2


def test_an_event_is_read_as_it_was_written(tmp_path, listener):
    log = tmp_path / "log.jsonl"
    Journal(log, listener).warn("empty", "case ä: empty", {"case": "ä", "none": None})
    (event,) = read_events(log)
    assert (event.event, event.sentence, event.severity) == ("empty", "case ä: empty", Severity.WARNING)
    assert dict(event.facts) == {"case": "ä", "none": None}
    assert parse_event(event.line()) == event


def test_a_torn_line_is_passed_over(tmp_path, listener):
    log = tmp_path / "log.jsonl"
    Journal(log, listener).say("one", "one")
    whole = log.read_text()
    log.write_text(whole + whole[: len(whole) // 2])
    assert [event.event for event in read_events(log)] == ["one"]
    assert read_events(tmp_path / "absent") == ()


@pytest.mark.parametrize("line", ["", "1", "[]", "{}", '{"time": "x", "event": "e", "sentence": "s"}'])
def test_what_is_no_event_is_none(line):
    assert parse_event(line) is None


def test_a_stage_leaves_its_time_and_its_memory(tmp_path):
    log, device = tmp_path / "log.jsonl", choose_device("cpu")
    with stage(_context(tmp_path), Stage.TRAIN, device):
        pass
    begins, ends = read_events(log)
    assert (begins.event, ends.event) == ("stage_begins", "stage_ends")
    assert ends.facts["stage"] == "train"
    assert ends.facts["complete"]
    assert ends.facts["seconds"] >= 0
    assert ends.facts["peak_memory_bytes"] > 10e6
    assert ends.facts["peak_card_bytes"] is None


@pytest.mark.parametrize(
    ("failure", "event"),
    [(TrainingError("the loss"), "failed"), (KeyboardInterrupt(), "interrupted"), (ValueError("bug"), "failed")],
)
def test_a_run_that_breaks_off_says_how(tmp_path, failure, event):
    log = tmp_path / "log.jsonl"
    with (
        pytest.raises(type(failure)),
        ending_recorded(Journal(log)),
        stage(_context(tmp_path), Stage.TRAIN, choose_device("cpu")),
    ):
        raise failure
    events = read_events(log)
    assert [item.event for item in events] == ["stage_begins", "stage_ends", event]
    assert events[1].facts["complete"] is False


def test_the_memory_in_use_counts_this_process():
    before = memory_in_use_bytes()
    block = bytearray(64 << 20)
    block[::4096] = b"x" * len(block[::4096])
    assert memory_in_use_bytes() - before > 32e6
    assert usage_so_far().peak_memory_bytes >= len(block)


def test_a_run_says_what_it_was_made_with_and_when_each_stage_was(finished):
    out, options, _, _ = finished
    events = read_events(out / "log.jsonl")
    start = events[0]
    assert start.event == "start"
    assert start.facts["seed"] == options.seed
    assert start.facts["libraries"]["torch"]
    assert start.facts["options"]["epochs"] == 1
    assert start.facts["machine"]["memory_bytes"] > 0
    stages = [event.facts["stage"] for event in events if event.event == "stage_ends"]
    assert stages[:6] == ["intake", "preprocess", "train", "select", "package", "predict"]
    units = next(event for event in events if event.event == "units").facts
    assert len(units["units"]) == 20
    assert (units["epochs"], units["iterations"]) == (1, 2)
    assert events[-1].event == "finished" or len(events) > len(stages)
    json.dumps([dict(event.facts) for event in events])


def test_a_log_that_cannot_be_written_is_said_once(tmp_path):
    heard = []
    journal = Journal(tmp_path / "absent" / "log.jsonl", lambda severity, sentence: heard.append((severity, sentence)))
    journal.say("one", "the first")
    journal.note("two", "the second")
    journal.warn("three", "the third")
    assert [sentence for _, sentence in heard if "cannot be written" in sentence] == [heard[0][1]]
    assert [sentence for _, sentence in heard[1:]] == ["the first", "the third"]
