"""Items produced in threads and consumed in order."""

import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any


@dataclass
class End:
    """What comes last through a queue: the end, or why it came early."""

    error: BaseException | None = None


def read_ahead(jobs: Iterable, produce: Callable[[Any], Iterable], *, workers: int, depth: int = 2) -> Iterator:
    """Yields what a plain loop `for job in jobs: yield from produce(job)` would, in that order.

    Meanwhile `workers` threads are ahead with the current and the next jobs, each by at most `depth` items, and
    there are at most twice as many jobs begun as there are workers: memory stays bounded. An exception of `produce`
    is raised where the plain loop would raise it.
    """
    stop = threading.Event()

    def put(items, item):
        while not stop.is_set():
            try:
                return items.put(item, timeout=0.1)
            except queue.Full:
                pass

    def work(job, items):
        try:
            for item in produce(job):
                put(items, item)
                if stop.is_set():
                    return
            put(items, End())
        except BaseException as error:
            put(items, End(error))

    jobs = iter(jobs)
    begun = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="read-ahead") as pool:
        try:
            while True:
                for job in itertools.islice(jobs, 2 * workers - len(begun)):
                    begun.append(queue.Queue(depth))
                    pool.submit(work, job, begun[-1])
                if not begun:
                    return
                items = begun.popleft()
                while not isinstance(item := items.get(), End):
                    yield item
                if item.error is not None:
                    raise item.error
        finally:
            stop.set()
