"""A function of many items, computed in threads and given in order."""

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from data_prep.common.read_ahead import End


def map_ahead(function: Callable, items: Generator, *, workers: int) -> Iterator:
    """Yields what `map(function, items)` would, in that order, each result when it and those before it are available.

    Meanwhile a thread reads ahead in `items`, and `workers` threads process the next ones, of which at most
    2 · `workers` are waiting or done: memory stays bounded. An exception of `items` or of `function` is raised where
    the plain loop would raise it. However it ends, `items` is closed, by the thread that reads it.
    """
    stop = threading.Event()
    futures: queue.SimpleQueue[Future | End] = queue.SimpleQueue()
    at_most = threading.Semaphore(2 * workers)

    def read():
        end = End()
        try:
            with contextlib.closing(items):
                for item in items:
                    while not at_most.acquire(timeout=0.1):
                        if stop.is_set():
                            return
                    if stop.is_set():
                        return
                    futures.put(pool.submit(function, item))
        except BaseException as error:
            end = End(error)
        futures.put(end)

    with ThreadPoolExecutor(workers, thread_name_prefix="map-ahead") as pool:
        reader = threading.Thread(target=read, name="map-ahead-reader", daemon=True)
        reader.start()
        try:
            while isinstance(found := futures.get(), Future):
                result = found.result()
                at_most.release()
                yield result
            if found.error is not None:
                raise found.error
        finally:
            stop.set()
            reader.join()
            pool.shutdown(cancel_futures=True)
