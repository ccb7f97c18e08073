"""What a run trains next: the longest way first, what no other has, a cascade when its first stage is validated."""

from __future__ import annotations

import pytest

from nnbox.errors import ResourceError
from nnbox.stages.agenda import Agenda
from nnbox.stages.claims import Claims
from nnbox.stages.journal import Journal
from nnbox.stages.schedule import Schedule, unit_name

LOW, CASCADE, FLAT = "3d_lowres", "3d_cascade", "2d"
UNITS = ((LOW, 0), (LOW, 1), (CASCADE, 0), (CASCADE, 1), (FLAT, 0), (FLAT, 1))
SCHEDULE = Schedule(units=UNITS, notes=(), first_stages={CASCADE: LOW})


@pytest.fixture
def claims(tmp_path):
    """Two runs on one folder."""
    found = Claims(tmp_path), Claims(tmp_path)
    yield found
    for item in found:
        item.close()


def agenda_of(claims, done=(), schedule=SCHEDULE):
    return Agenda(schedule, claims, lambda place: place in done)


def work_off(agenda):
    """Train all that can be had, one after the other."""
    order = []
    while (turn := agenda.take()) is not None:
        order.append(turn.place)
        agenda.end(turn, done=True)
    return tuple(order)


def test_one_run_works_the_schedule_off_in_order(claims):
    agenda = agenda_of(claims[0])
    assert work_off(agenda) == UNITS
    assert agenda.awaited() is None
    agenda.require_work()


def test_of_two_workers_the_second_takes_what_needs_no_first_stage_until_that_is_validated(claims):
    agenda = agenda_of(claims[0])
    turns = [agenda.take() for _ in range(5)]
    assert [turn and turn.place for turn in turns] == [(LOW, 0), (LOW, 1), (FLAT, 0), (FLAT, 1), None]
    agenda.end(turns[0], done=True)
    assert agenda.take() is None, "a cascade learns from all folds of its first stage"
    agenda.end(turns[1], done=True)
    assert agenda.take().place == (CASCADE, 0), "and begins before all else is done"


def test_what_another_run_trains_is_left_to_it_and_taken_when_it_is_given_up(claims):
    ours, theirs = agenda_of(claims[0]), agenda_of(claims[1])
    given_up = theirs.take()
    assert ours.take().place == (LOW, 1)
    theirs.end(given_up, done=False)
    assert ours.take().place == (LOW, 0)


def test_what_others_finished_meanwhile_is_struck_off(claims):
    done = set()
    ours = agenda_of(claims[0], done)
    turn = claims[1].attempt(unit_name((LOW, 0)))
    assert ours.take().place == (LOW, 1)
    done.add((LOW, 0))
    turn.release()
    assert ours.take().place == (FLAT, 0)


def test_a_run_waits_for_a_first_stage_that_another_trains_and_for_nothing_else(claims):
    theirs = claims[1].attempt(unit_name((LOW, 0)))
    agenda = agenda_of(claims[0])
    assert work_off(agenda) == ((LOW, 1), (FLAT, 0), (FLAT, 1))
    assert agenda.awaited() == (LOW, 0)
    told = []
    for _ in range(2):
        agenda.tell_wait((LOW, 0), Journal(None, lambda severity, sentence: told.append(sentence)))
    assert len(told) == 1
    assert "waiting for 3d_lowres fold 0, which process" in told[0]
    theirs.release()
    assert work_off(agenda) == ((LOW, 0), (CASCADE, 0), (CASCADE, 1))
    flat = Schedule(units=((FLAT, 0), (FLAT, 1)), notes=())
    claims[1].attempt(unit_name((FLAT, 0)))
    second = agenda_of(claims[0], schedule=flat)
    assert work_off(second) == ((FLAT, 1),)
    assert second.awaited() is None
    second.require_work()


def test_a_run_to_which_nothing_is_left_names_who_has_it(claims):
    claims[1].attempt(unit_name((FLAT, 0)))
    agenda = agenda_of(claims[0], schedule=Schedule(units=((FLAT, 0),), notes=()))
    assert agenda.take() is None
    assert agenda.awaited() is None
    with pytest.raises(ResourceError, match=r"2d fold 0: process \d+ on .*, since") as error:
        agenda.require_work()
    assert "What to do" in str(error.value)


def test_a_run_whose_networks_are_all_done_has_nothing_to_complain_of(claims):
    agenda = agenda_of(claims[0], done=UNITS)
    assert work_off(agenda) == ()
    agenda.require_work()
