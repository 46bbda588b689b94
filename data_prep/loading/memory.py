"""How much memory features may take, on the devices and in the host."""

import jax
import numpy as np
import psutil
from jax.experimental import multihost_utils

LARGEST_FRACTION = 0.6
"""Share of a memory that features may take. The rest is for the step and for other programs."""


def free_device_memory(devices) -> int:
    """Returns how many bytes are free on the fullest of the devices; 0 where they have no memory of their own.

    Args:
      devices: of all processes. The result is the same in each of them.
    """
    stats = [device.memory_stats() for device in devices if device.process_index == jax.process_index()]
    return least_of_processes(min(s["bytes_limit"] - s["bytes_in_use"] for s in stats) if all(stats) else 0)


def free_host_memory() -> int:
    """Returns how many bytes a process can still allocate. See `least_of_processes`."""
    return least_of_processes(psutil.virtual_memory().available)


def least_of_processes(value: int) -> int:
    """Returns the minimum over all processes, so that all of them decide alike."""
    if jax.process_count() == 1:
        return value
    return int(np.min(multihost_utils.process_allgather(np.float32(value))))
