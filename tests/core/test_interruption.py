"""A signal is raised where it comes, but never inside what must be done whole."""

import os
import signal

import pytest

from nnbox.interruption import listen_for_signals, whole


@pytest.fixture(autouse=True)
def _heard():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    listen_for_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_termination_ends_with_its_code():
    with pytest.raises(SystemExit) as end:
        os.kill(os.getpid(), signal.SIGTERM)
    assert end.value.code == 143


def test_an_interrupt_is_pythons_own():
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_what_must_be_whole_is_done_whole(number, raised):
    done = []

    def act():
        with whole():
            os.kill(os.getpid(), number)
            with whole():
                done.append("inner")
            done.append("outer")
        done.append("never")

    with pytest.raises(raised):
        act()
    assert done == ["inner", "outer"]
    with whole():
        done.append("later")  # the signal was raised once
    assert done[-1] == "later"
