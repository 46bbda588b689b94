"""Contenders in processes of their own, which take turns; see the package for how a benchmark is written."""

import functools
import importlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from experiments.benchmarks.settings import Settings


class Skip(Exception):
    """Raised by a contender that cannot run here; the message says why."""


@dataclass(frozen=True)
class Workload:
    """The work of a contender.

    Attributes:
      run: does it once, and returns when the result is ready; None for a benchmark that only states facts.
      amount: how many of `unit` one call processes.
      unit: what is counted, in the singular.
      flops: floating-point operations of one call, where they are counted.
      facts: other things to show, by the name of their column.
    """

    run: Callable[[], object] | None
    amount: float = 1
    unit: str = "call"
    flops: float | None = None
    facts: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """One line of a table.

    Attributes:
      name: of the line.
      build: makes the Workload; a function that can be found again by `contenders(settings, platform)`.
      needs: modules that must be installed.
      compare_to: the contender whose rate is compared with this one's.
      reference: the contender whose arithmetic rate this one's is a fraction of.
    """

    name: str
    build: Callable[[], Workload]
    needs: tuple[str, ...] | list[str] = ()
    compare_to: str | None = None
    reference: str | None = None


@dataclass
class Row:
    """The result of one contender.

    Attributes:
      name: of the contender.
      status: "ok", or why there is no number.
      unit, amount, flops, facts: of its Workload.
      seconds: of one call, one mean a round.
      rate: `unit`s per second, the median of the rounds; None without rounds.
      compare_to, ratio: how many times as fast that contender is, the median of the rounds.
      reference, fraction: arithmetic rate over that contender's, the median of the rounds.
    """

    name: str
    status: str = "ok"
    unit: str = ""
    amount: float = 1
    flops: float | None = None
    facts: dict = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    rate: float | None = None
    compare_to: str | None = None
    ratio: float | None = None
    reference: str | None = None
    fraction: float | None = None


def product_name(dtype="float32") -> str:
    """The name of the contender that `matrix_product` makes, for `reference`."""
    return f"{dtype} matrix product"


def matrix_product(settings: Settings, platform: str = "cpu", dtype="float32") -> Contender:
    """Returns the contender that multiplies two square matrices: the machine's product rate."""
    size = settings.product_size or (2048 if platform == "cpu" else 8192)
    return Contender(product_name(dtype), functools.partial(_build_matrix_product, size, dtype))


def _build_matrix_product(size: int, dtype: str) -> Workload:
    import jax
    import jax.numpy as jnp

    matrix = jax.random.normal(jax.random.key(0), (size, size), jnp.float32).astype(dtype)
    precision = "highest" if dtype == "float32" else None
    multiply = jax.jit(lambda a, b: jnp.dot(a, b, precision=precision)).lower(matrix, matrix).compile()
    run = lambda: jax.block_until_ready(multiply(matrix, matrix))  # noqa: E731
    return Workload(run, unit="product", flops=2 * size**3, facts={"size": f"{size}³"})


class Process:
    """A contender in its own process, pinned to cores.

    Args:
      benchmark, contender: names.
      settings: see `Settings`.
      platform: "cpu", "gpu" or "tpu".
      cores: numbers of the cores it may use.
    """

    def __init__(self, benchmark: str, contender: str, settings: Settings, platform: str, cores: list[int]):
        task = {
            "benchmark": benchmark,
            "contender": contender,
            "settings": asdict(settings),
            "platform": platform,
            "cores": cores,
        }
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "experiments.benchmarks.worker", json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment(len(cores)),
        )

    def ask(self, **question) -> dict:
        """Sends a question and waits for the answer; a process that died answers `failed`, with its last output."""
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if answer:
            return json.loads(answer)
        status = self._process.wait()
        self._log.seek(0)
        said = [line.strip() for line in self._log if line.strip()]
        return {"failed": f"ended with status {status}" + (f" ({said[-1][:200]})" if said else "")}

    def close(self):
        """Ends the process."""
        self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()


def environment(num_threads: int) -> dict[str, str]:
    """Returns the environment of a contender: one thread a core, whatever library it uses."""
    threads = {name: str(num_threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    return {**os.environ, **threads, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def load(benchmark: str):
    """Returns the module of a benchmark."""
    return importlib.import_module(f"experiments.benchmarks.{benchmark}")


def run_benchmark(benchmark: str, settings: Settings, platform: str, cores: list[int], profile=None, tell=print):
    """Runs all contenders of one benchmark.

    Args:
      benchmark: its name.
      settings, platform, cores: see `Process`.
      profile: a folder for one trace a contender that runs in JAX; None for none.
      tell: is called with a line of progress now and then.

    Returns:
      One `Row` a contender.
    """
    contenders = load(benchmark).contenders(settings, platform)
    rows = {c.name: Row(c.name, compare_to=c.compare_to, reference=c.reference) for c in contenders}
    processes = {}
    try:
        for contender in contenders:
            row = rows[contender.name]
            missing = [name for name in contender.needs if importlib.util.find_spec(name) is None]
            if missing:
                row.status = f"skipped: {', '.join(missing)} is not installed"
                continue
            tell(f"{benchmark}: building {contender.name}")
            process = processes[contender.name] = Process(benchmark, contender.name, settings, platform, cores)
            answer = process.ask(do="build")
            if not _note(row, answer):
                processes.pop(contender.name).close()
                continue
            for name in ("unit", "amount", "flops", "facts"):
                setattr(row, name, answer[name])
        timed = {name: process for name, process in processes.items() if rows[name].unit}
        for number in range(settings.rounds):
            tell(f"{benchmark}: round {number + 1} of {settings.rounds}")
            for name, process in timed.items():
                if rows[name].status != "ok":
                    continue
                answer = process.ask(do="run", seconds=settings.seconds)
                if _note(rows[name], answer):
                    rows[name].seconds.append(answer["seconds"])
        if profile is not None:
            for name, process in timed.items():
                if rows[name].status == "ok":
                    folder = os.path.join(profile, benchmark, name.replace(" ", "_").replace("/", "_"))
                    _note(rows[name], process.ask(do="profile", folder=folder))
    finally:
        for process in processes.values():
            process.close()
    return compare(list(rows.values()))


def _note(row: Row, answer: dict) -> bool:
    """Writes into the row why a contender gave no number. Returns whether it gave one."""
    for word in ("skipped", "failed"):
        if word in answer:
            row.status = f"{word}: {answer[word]}"
            return False
    return True


def compare(rows: list[Row]) -> list[Row]:
    """Fills in rates, ratios and fractions; each comparison is made within a round."""
    by_name = {row.name: row for row in rows if row.status == "ok" and row.seconds}
    for row in by_name.values():
        row.rate = row.amount / statistics.median(row.seconds)
        other = by_name.get(row.compare_to)
        if other:
            ratios = [
                (other.amount / theirs) / (row.amount / ours)
                for ours, theirs in zip(row.seconds, other.seconds, strict=True)
            ]
            row.ratio = statistics.median(ratios)
        other = by_name.get(row.reference)
        if other and row.flops:
            fractions = [
                (row.flops / ours) / (other.flops / theirs)
                for ours, theirs in zip(row.seconds, other.seconds, strict=True)
            ]
            row.fraction = statistics.median(fractions)
    return rows
