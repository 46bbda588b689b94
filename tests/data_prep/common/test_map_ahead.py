import threading
import time

import pytest

from data_prep.common.map_ahead import map_ahead


def numbers(count, seen=None, error=None):
    """Counts; notes in `seen` what was read and that it was closed."""
    seen = [] if seen is None else seen
    try:
        for n in range(count):
            seen.append(n)
            yield n
        if error:
            raise error
    finally:
        seen.append("closed")


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_order_whoever_is_first(workers):
    def slow_at_first(n):
        time.sleep(0.02 if n % 5 == 0 else 0.001)
        return n * n

    assert list(map_ahead(slow_at_first, numbers(23), workers=workers)) == [n * n for n in range(23)]


def test_so_many_calls_run_at_a_time():
    together = threading.Barrier(3, timeout=10)
    assert list(map_ahead(lambda n: together.wait() >= 0, numbers(6), workers=3)) == [True] * 6


def test_it_reads_ahead_so_far_and_no_further():
    seen = []
    results = map_ahead(lambda n: n, numbers(100, seen), workers=2)
    assert next(results) == 0
    time.sleep(0.2)
    assert len(seen) <= 1 + 2 * 2 + 1  # one is given, four wait, one is read and waits for its turn
    results.close()
    assert seen[-1] == "closed" and len(seen) < 10


def test_a_result_does_not_wait_for_the_next_item():
    """A camera's next frame may be long in coming."""
    more = threading.Event()

    def camera():
        yield 1
        more.wait(10)
        yield 2

    results = map_ahead(lambda n: n, camera(), workers=2)
    assert next(results) == 1
    more.set()
    assert list(results) == [2]


def test_errors_come_where_they_would_in_a_loop():
    def fails_at_3(n):
        if n == 3:
            raise KeyError(n)
        return n

    seen, results = [], []
    with pytest.raises(KeyError):
        for result in map_ahead(fails_at_3, numbers(100, seen), workers=2):
            results.append(result)
    assert results == [0, 1, 2] and seen[-1] == "closed"
    results = []
    with pytest.raises(OSError, match="unplugged"):
        for result in map_ahead(lambda n: n, numbers(4, error=OSError("unplugged")), workers=2):
            results.append(result)
    assert results == [0, 1, 2, 3]


def test_no_thread_is_left():
    before = threading.active_count()
    next(map_ahead(lambda n: n, numbers(100), workers=4))
    results = map_ahead(lambda n: n, numbers(100), workers=4)
    next(results)
    results.close()
    assert threading.active_count() <= before
