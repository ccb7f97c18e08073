"""A worker that is killed, starved or hangs is told with signal, memory and task, and its work tried again by one."""

import pytest
from failing_work import die, die_once, hang, starve

from nnbox.errors import ResourceError
from nnbox.supervision import DEFAULT_SECONDS, START_SECONDS, VARIABLE, Silence, patience_seconds, supervised


def collect(work, tasks, count=2):
    told, found = [], []
    results = supervised(work, tasks, count, name=lambda task: f"case {task}", tell=told.append)
    try:
        for result in results:
            found.append(result)
    except ResourceError as error:
        return found, told, str(error)
    return found, told, None


def test_everything_is_done_in_order():
    assert collect(abs, list(range(-40, 0))) == ([*range(40, 0, -1)], [], None)


def test_what_a_killed_worker_left_is_done_by_one_alone(tmp_path):
    tasks = [(str(tmp_path / "mark"), number) for number in range(5)]
    found, told, error = collect(die_once, tasks)
    assert (found, error) == ([0, 1, 2, 3, 4], None)
    assert len(told) == 1
    assert "was killed by signal 9" in told[0]
    assert "once more with one worker" in told[0]


def test_a_task_that_kills_its_worker_again_is_named_with_signal_and_memory():
    found, told, error = collect(die, list(range(5)))
    assert found == [0, 1]
    assert len(told) == 1
    assert error.startswith("case 2: a worker process was killed by signal 9; the most that one was seen to hold is ")
    assert " MB" in error
    assert "What to do: give more memory" in error
    assert ResourceError.exit_code == 5


def test_a_worker_without_memory_is_tried_again_too():
    found, told, error = collect(starve, list(range(5)))
    assert found == [0, 1]
    assert "ran out of memory" in told[0]
    assert error.startswith("case 2: a worker process ran out of memory")


def test_a_hung_worker_is_ended_and_its_task_named(monkeypatch):
    monkeypatch.setenv(VARIABLE, "2.5")
    found, told, error = collect(hang, [2, 2])
    assert found == []
    assert len(told) == 1
    assert "case 2: a worker process has not finished anything for 2.5 seconds (NNBOX_WORKER_SECONDS)" in error


def test_a_process_is_hung_when_nothing_was_heard_of_it_for_longer_than_the_patience():
    silence = Silence()
    silence.end()
    for _ in range(10):
        silence.last(1.0)
    assert not silence.is_too_long(10.0)
    silence.last(1.0)
    assert silence.is_too_long(10.0)
    silence.end()
    assert not silence.is_too_long(10.0)


def test_a_process_has_minutes_for_its_first_word():
    silence = Silence()
    for _ in range(int(START_SECONDS)):
        silence.last(1.0)
    assert not silence.is_too_long(10.0)
    silence.last(1.0)
    assert silence.is_too_long(10.0)
    assert not silence.is_too_long(3600.0)


def test_time_in_which_nobody_listened_makes_no_process_a_hung_one():
    silence = Silence()
    silence.end()
    silence.last(7200.0)  # all processes of the run were halted, and go on together
    assert not silence.is_too_long(3600.0)


def test_the_patience_is_an_hour_unless_said_otherwise(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert patience_seconds() == DEFAULT_SECONDS == 3600
    for words in ("0", "-1", "soon", "nan"):
        monkeypatch.setenv(VARIABLE, words)
        with pytest.raises(ResourceError, match="a positive number of seconds"):
            patience_seconds()
