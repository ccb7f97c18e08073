"""Stretches of a loop in threads: everything is done once, and nothing outside notices."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from nnbox.network.stretches import in_stretches


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    usual = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(usual)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_each_piece_is_done_once_and_by_one_thread(threads, count):
    done, numbers = [], set()

    def work(pieces):
        numbers.add(torch.get_num_threads())
        done.extend(pieces)

    in_stretches(work, count)
    assert sorted(done) == list(range(count))
    assert numbers == {1}


def test_the_number_of_threads_stays_for_this_thread_and_for_later_ones(threads):
    in_stretches(lambda pieces: None, 4)
    assert torch.get_num_threads() == threads
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == threads


def test_an_error_in_a_stretch_reaches_the_caller(threads):
    def fail(pieces):
        raise ValueError("a piece is bad")

    with pytest.raises(ValueError, match="a piece is bad"):
        in_stretches(fail, 5)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_arrays_of_either_mode_may_be_written_in_place(threads, mode):
    with mode():
        values = torch.zeros(6)

        def work(pieces):
            values[pieces.start : pieces.stop] += 1

        in_stretches(work, 6)
    assert values.eq(1).all()
