"""Test computations in threads: results, errors, limits, and processes that are forked."""

import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lstm_ae import startup, threads
from lstm_ae.threads import iterate_in_threads, map_in_threads


@pytest.fixture(params=[1, 2, 5])
def count(request, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: request.param)
    return request.param


@pytest.fixture
def two(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)


def test_results_are_in_the_order_of_the_items(count):
    for items in range(100), range(1), range(0):
        assert map_in_threads(lambda number: -number, items) == [-number for number in items]


def test_iteration_takes_few_items_at_once_in_this_thread(count):
    here, taken = threading.get_ident(), []

    def items():
        for number in range(7):
            assert threading.get_ident() == here
            taken.append(number)
            yield number

    results = iterate_in_threads(lambda number: -number, items(), at_once=3)
    assert next(results) == 0
    assert len(taken) == min(count, 3)
    assert list(results) == [-number for number in range(1, 7)]


def test_items_are_computed_at_the_same_time(two):
    both = threading.Barrier(2, timeout=60)
    assert map_in_threads(lambda _: both.wait() >= 0, range(2)) == [True, True]


def test_one_core_needs_no_other_thread(monkeypatch):
    monkeypatch.setattr(startup, "_LIMIT", [1])
    used = set()
    map_in_threads(lambda _: used.add(threading.get_ident()), range(20))
    assert used == {threading.get_ident()}


def test_error_is_raised_and_leaves_out_later_items(two):
    begun = []

    def function(number):
        begun.append(number)
        if number == 0:
            raise ArithmeticError("broken")
        time.sleep(0.01)

    with pytest.raises(ArithmeticError, match="broken"):
        map_in_threads(function, range(10_000))
    assert len(begun) < 5000
    assert map_in_threads(abs, [-1, 2]) == [1, 2]


def test_calls_within_calls_do_not_wait_for_each_other(count):
    def inner(number):
        return sum(map_in_threads(lambda each: each * number, range(10)))

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: map_in_threads(inner, range(20)), range(8)))
    assert results == [[45 * number for number in range(20)]] * 8


def _compute(pipe):
    pipe.send(map_in_threads(abs, range(-9, 0)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_forked_process_has_its_own_threads(two):
    map_in_threads(abs, range(9))
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_compute, args=(theirs,))
    process.start()
    assert ours.poll(60)
    assert ours.recv() == list(range(9, 0, -1))
    process.join()
