"""The device and the cores on which the numbers are measured."""

import os
import subprocess
import sys

from attention_ar.errors import InputError


def find_device() -> tuple[str, str]:
    """Returns JAX's default platform, "cpu", "gpu" or "tpu", and the device's name.

    Asked in a process of its own, so that the device is free for the contenders.
    """
    program = "import jax; device = jax.devices()[0]; print(); print(jax.default_backend()); print(device.device_kind)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    if found.returncode:
        raise InputError(f"JAX finds no device: {(found.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    platform_name, kind = found.stdout.splitlines()[-2:]
    return platform_name, kind


def parse_cores(text: str) -> list[int]:
    """Returns the numbers of cores that e.g. "1" or "0,1" names; all that this process may use where it is empty."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    if not text:
        return allowed
    if not all(part.isdigit() and int(part) in allowed for part in text.split(",")):
        raise InputError(f"cores={text}: must be numbers of cores, by commas, of {allowed}")
    return sorted({int(part) for part in text.split(",")})
