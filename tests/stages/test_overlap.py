"""Steps that overlap: same results in the same order, never more in memory than said, no finished item lost."""

import threading

import pytest

from nnbox.stages.overlap import Steps, overlapped


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_results_come_in_order(ahead, count):
    steps = Steps(lambda item: item + 1, lambda value: value * 10, lambda value: f"{value}")
    assert list(overlapped(steps, list(range(count)), ahead=ahead)) == [str((item + 1) * 10) for item in range(count)]


def test_reading_and_writing_run_beside_the_work_and_no_more_than_three_items_are_held():
    held, most, lock = set(), [0], threading.Lock()
    second_is_read, third_is_read = threading.Event(), threading.Event()

    def read(item):
        with lock:
            held.add(item)
            most[0] = max(most[0], len(held))
        {1: second_is_read, 2: third_is_read}.get(item, threading.Event()).set()
        return item

    def work(item):
        if item == 0:
            assert second_is_read.wait(30)
            assert not third_is_read.is_set()
        return item

    def write(item):
        if item == 0:
            assert third_is_read.wait(30)
        with lock:
            held.discard(item)
        return item

    assert list(overlapped(Steps(read, work, write), range(12), ahead=True)) == list(range(12))
    assert 2 <= most[0] <= 3


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("failing", ["read", "work", "write"])
def test_an_error_comes_after_the_items_before_it(ahead, failing):
    def step(name):
        def do(item):
            if name == failing and item == 3:
                raise OSError("disk")
            return item

        return do

    done = []
    with pytest.raises(OSError, match="disk"):
        for item in overlapped(Steps(step("read"), step("work"), step("write")), range(6), ahead=ahead):
            done.append(item)
    assert done == [0, 1, 2]
