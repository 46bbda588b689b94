"""Where numbers come from: the command, the machine, the versions and the day."""

import datetime
import os
import platform
import shlex
import sys
from importlib import metadata


def provenance() -> dict:
    """Returns `command`, `date` and `machine` of this process, for the JSON files of results."""
    module = getattr(sys.modules["__main__"], "__spec__", None)
    words = ["python", "-m", module.name, *sys.argv[1:]] if module else ["python", *sys.argv]
    machine = {name: value for name, value in describe_machine().items() if name != "system"}
    return {
        "command": shlex.join(words),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine | accelerator(),
    }


def accelerator() -> dict[str, str]:
    """Returns the `accelerator` of a process that runs JAX, e.g. "1 NVIDIA H100 80GB HBM3"; nothing on a CPU."""
    if "jax" not in sys.modules or sys.modules["jax"].default_backend() == "cpu":
        return {}
    devices = sys.modules["jax"].devices()
    return {"accelerator": f"{len(devices)} {devices[0].device_kind}"}


def describe_machine() -> dict[str, str]:
    """Returns the processor, its number of cores, memory and versions."""
    about = {"processor": processor(), "cores": str(os.cpu_count()), "system": platform.platform()}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        about["memory"] = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    about["python"] = platform.python_version()
    for package in ("jax", "jaxlib", "torch", "onnxruntime", "numpy", "scikit-learn"):
        try:
            about[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return about


def processor() -> str:
    """Returns the processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
