"""Runs benchmarks one after the other and writes the report."""

import sys
from dataclasses import asdict

from attention_ar.errors import InputError
from experiments.benchmarks import BENCHMARKS, report
from experiments.benchmarks.framework import run_benchmark
from experiments.benchmarks.machine import find_device, parse_cores
from experiments.benchmarks.settings import Settings
from experiments.runs.provenance import describe_machine


def run_suite(names: list[str], settings: Settings, cores: str, output, profile=None):
    """Runs the named benchmarks; after each, the report is written anew.

    Args:
      names: of `BENCHMARKS`.
      settings: see `Settings`.
      cores: see `parse_cores`.
      output: folder of the report.
      profile: folder for traces, or None.

    Returns:
      The paths of the report in Markdown and JSON, and whether no contender failed.
    """
    for name in names:
        if name not in BENCHMARKS:
            raise InputError(f"only={name}: must be of {', '.join(BENCHMARKS)}")
    numbers = parse_cores(cores)
    platform, device = find_device()
    settings.sizes(platform), settings.dtypes(platform)  # Refused before anything runs.
    about = describe_machine() | {"cores used": ", ".join(map(str, numbers)), "device": f"{platform} ({device})"}
    chosen = {name: value for name, value in asdict(settings).items() if value not in ("", {})}
    about["settings"] = ", ".join(f"{name}={value}" for name, value in chosen.items())
    results = {}
    for name in names:
        results[name] = run_benchmark(name, settings, platform, numbers, profile, tell)
        print(f"\n{report.title(name)}\n\n{report.table(name, results[name])}\n", flush=True)
        paths = report.write(output, results, about)
    failed = [row for rows in results.values() for row in rows if row.status.startswith("failed")]
    return *paths, not failed


def tell(line: str):
    """Prints progress on the standard error."""
    print(line, file=sys.stderr, flush=True)
