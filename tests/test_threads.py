"""Test computations in threads: results, order, errors, limits, and processes that are forked."""

import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lstm_ae import startup, threads
from lstm_ae.threads import compute_beside, map_in_threads


@pytest.fixture(params=[1, 2, 5])
def count(request, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: request.param)
    return request.param


@pytest.fixture
def two(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)


def test_results_are_in_the_order_of_the_items(count):
    assert map_in_threads(lambda number: -number, range(100)) == [-number for number in range(100)]
    assert list(compute_beside(lambda number: number + 1, str, range(100))) == [str(n + 1) for n in range(100)]


@pytest.mark.parametrize("items", [[], [3]])
def test_few_items(count, items):
    assert map_in_threads(abs, items) == items
    assert list(compute_beside(abs, abs, items)) == items


def test_items_are_computed_at_the_same_time(two):
    both = threading.Barrier(2, timeout=60)
    assert map_in_threads(lambda _: both.wait() >= 0, range(2)) == [True, True]


def test_then_runs_beside_the_next_item(two):
    both = threading.Barrier(2, timeout=60)

    def function(number):
        return number and both.wait() + 1

    def then(value):
        return value or both.wait() + 1

    assert all(compute_beside(function, then, range(2)))


def test_one_core_needs_no_other_thread(monkeypatch):
    monkeypatch.setattr(startup, "_LIMIT", [1])
    used = set()
    map_in_threads(lambda _: used.add(threading.get_ident()), range(20))
    list(compute_beside(lambda _: None, lambda _: used.add(threading.get_ident()), range(20)))
    assert used == {threading.get_ident()}


def test_error_is_raised_and_no_further_item_begins(count):
    begun = []

    def fail(number):
        begun.append(number)
        if number == 3:
            raise ArithmeticError(number)

    with pytest.raises(ArithmeticError, match="3"):
        map_in_threads(fail, range(10_000))
    # The other threads may have begun items before this one failed.
    finished = len(begun)
    assert finished < 10_000
    with pytest.raises(ArithmeticError, match="3"):
        list(compute_beside(lambda number: number, fail, range(10)))
    with pytest.raises(ArithmeticError, match="3"):
        list(compute_beside(fail, lambda value: value, range(10)))
    assert map_in_threads(abs, [-1, 2]) == [1, 2]


def test_calls_within_calls_do_not_wait_for_each_other(count):
    def inner(number):
        return sum(map_in_threads(lambda each: each * number, range(10)))

    def outer(number):
        return list(compute_beside(inner, inner, range(number)))

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: map_in_threads(outer, range(6)), range(8)))
    assert results == [[[45 * 45 * n for n in range(number)] for number in range(6)]] * 8


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
