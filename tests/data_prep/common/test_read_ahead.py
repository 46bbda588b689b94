import threading

import pytest

from data_prep.common.read_ahead import read_ahead


def test_read_ahead_is_a_plain_loop():
    def produce(job):
        for index in range(job % 5):
            yield job, index

    jobs = list(range(40))
    plain = [item for job in jobs for item in produce(job)]
    assert list(read_ahead(iter(jobs), produce, workers=4)) == plain


def test_read_ahead_is_bounded_and_ends_its_threads():
    begun, before = [], threading.active_count()

    def produce(job):
        begun.append(job)
        yield from range(100)

    items = read_ahead(range(1000), produce, workers=3)
    assert [next(items) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert max(begun) < 7
    items.close()
    assert threading.active_count() == before


def test_read_ahead_raises_where_the_loop_would():
    def produce(job):
        yield job
        if job == 2:
            raise KeyError("two")

    items = read_ahead(range(9), produce, workers=2)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="two"):
        next(items)
