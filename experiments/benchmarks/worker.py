"""The process of one contender: builds its workload, then runs it whenever it is asked. See `framework.Process`."""

import json
import math
import os
import sys
import time


def main():
    """Reads one JSON question a line from standard input, and answers each with one line."""
    task = json.loads(sys.argv[1])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, task["cores"])  # Before a library counts the cores.
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    workload, seconds_of_a_call = None, None
    for line in sys.stdin:
        question = json.loads(line)
        if question["do"] == "build":
            workload, answer = build(task)
            if workload and workload.run:
                workload.run()
                seconds_of_a_call = timed(workload.run, 1)
        elif question["do"] == "run":
            calls = max(1, math.ceil(question["seconds"] / seconds_of_a_call))
            answer = {"seconds": timed(workload.run, calls)}
        else:
            answer = profile(workload, question["folder"])
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def build(task: dict):
    """Returns the workload, None where the contender cannot run, and the answer about it."""
    from experiments.benchmarks import framework
    from experiments.benchmarks.settings import Settings

    contenders = framework.load(task["benchmark"]).contenders(Settings(**task["settings"]), task["platform"])
    (contender,) = (c for c in contenders if c.name == task["contender"])
    if "torch" in contender.needs:
        import torch

        torch.set_num_threads(len(task["cores"]))
    try:
        workload = contender.build()
    except framework.Skip as reason:
        return None, {"skipped": str(reason)}
    answer = {
        "unit": workload.unit if workload.run else "",
        "amount": workload.amount,
        "flops": workload.flops,
        "facts": workload.facts,
    }
    return workload, answer


def timed(run, calls: int) -> float:
    """Returns the mean seconds of a call."""
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def profile(workload, folder: str) -> dict:
    """Writes a trace of one call, where JAX is what runs."""
    if "jax" not in sys.modules:
        return {}
    import jax

    with jax.profiler.trace(folder):
        workload.run()
    return {}


if __name__ == "__main__":
    main()
