"""How much memory is free, on devices that say so and on those that do not."""

import jax
import psutil

from data_prep.loading import memory


class Device:
    def __init__(self, limit=None, used=0, process_index=0):
        self.process_index = process_index
        self.stats = limit and {"bytes_limit": limit, "bytes_in_use": used}

    def memory_stats(self):
        return self.stats


def test_the_fullest_device_of_this_process_counts():
    assert memory.free_device_memory([Device(100, 30), Device(90, 25), Device(50, 49, process_index=1)]) == 65
    assert memory.free_device_memory([Device(100, 30), Device()]) == 0
    assert memory.free_device_memory(jax.devices()) == 0  # A CPU has no memory of its own.


def test_the_least_of_all_processes_counts(monkeypatch):
    assert memory.least_of_processes(7) == 7
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(memory.multihost_utils, "process_allgather", lambda value: [value, 5.0])
    assert memory.least_of_processes(7) == 5
    assert memory.least_of_processes(3) == 3
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 4}))
    assert memory.free_host_memory() == 4
