"""Training by several processes, on one machine or on the hosts of a pod: how they connect, and how they end together.

JAX ends a process whose peers are gone by aborting it, which no Python code can catch. So the process that the user
starts trains in a child process, watches it, and prints what happened and how to resume.
"""

import contextlib
import faulthandler
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback

from absl import flags

from attention_ar.errors import InputError, one_line
from data_prep.common.command_line import refuse_flags

flags.disclaim_key_flags()

_PARENT = "ATTENTION_AR_PARENT"  # In the child's environment: the pipe that closes with its parent.


def define_flags():
    """Defines the flags of a program that several processes can run together."""
    flags.DEFINE_boolean("multihost", False, "Whether several processes train together, each started with this flag.")
    flags.DEFINE_string(
        "coordinator_address", None, "HOST:PORT of process 0. Not needed on Cloud TPU and Slurm, like the next two."
    )
    flags.DEFINE_integer("num_processes", None, "How many processes there are.", lower_bound=1)
    flags.DEFINE_integer("process_id", None, "This process's number, from 0.", lower_bound=0)
    flags.DEFINE_integer(
        "heartbeat_seconds", 20, "How long a process may be silent before the others end.", lower_bound=1
    )
    flags.DEFINE_integer("connect_seconds", 120, "How long to wait for the other processes.", lower_bound=1)


def run_together(module: str, workdir, train):
    """Runs `train()` among the processes that the flags describe, or by itself without --multihost.

    Args:
      module: the program, as `python -m` names it.
      workdir: where its checkpoints are.
      train: a function without arguments; its process has joined the others when it is called.

    Returns:
      The exit status.
    """
    _check_flags()
    if not flags.FLAGS.multihost:
        return train()
    if _PARENT not in os.environ:
        return _watch(module, workdir)
    _end_with_parent(int(os.environ[_PARENT]))
    _join()
    try:
        return train()
    except (Exception, KeyboardInterrupt) as error:
        # An orderly end would wait for the others, who wait for this process in their next sum.
        if isinstance(error, InputError):
            print(f"error: {error}", file=sys.stderr)
        else:
            traceback.print_exception(error)
            print(
                f"error: {_who()} ended with {type(error).__name__}, perhaps because another process ended; "
                f"{_how_to_resume(workdir)}",
                file=sys.stderr,
            )
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _check_flags():
    """Refuses inconsistent flags."""
    f = flags.FLAGS
    names = ("coordinator_address", "num_processes", "process_id")
    given = [name for name in names if f[name].value is not None]
    if not f.multihost:
        refuse_flags(*names, "heartbeat_seconds", "connect_seconds", because="without --multihost")
    if given and len(given) < len(names):
        missing = next(name for name in names if name not in given)
        raise InputError(f"--{missing}: is missing beside --{' --'.join(given)}; Cloud TPU and Slurm need none of them")
    if given and f.process_id >= f.num_processes:
        raise InputError(f"process_id={f.process_id}: must be less than num_processes={f.num_processes}")
    if given and not f.coordinator_address.rpartition(":")[2].isdecimal():
        raise InputError(f"coordinator_address={f.coordinator_address}: must be HOST:PORT")


def _join():
    """Connects to the other processes; no device has been used before."""
    import jax

    f = flags.FLAGS
    faulthandler.disable()  # If JAX aborts, the parent prints what happened; stack traces would not help.
    if f.process_id:
        _find_coordinator(f.coordinator_address, f.connect_seconds)
    try:
        jax.distributed.initialize(
            f.coordinator_address,
            f.num_processes,
            f.process_id,
            initialization_timeout=f.connect_seconds,
            heartbeat_timeout_seconds=f.heartbeat_seconds,
        )
    except (RuntimeError, ValueError) as error:
        where = f.coordinator_address or "the cluster's"
        raise InputError(f"coordinator_address={where}: the processes did not meet ({one_line(error)})") from None


def _find_coordinator(address: str, seconds: float):
    """Waits until process 0 listens: on a timeout, JAX itself would abort the process."""
    host, _, port = address.rpartition(":")
    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
            return
        except OSError as error:
            if time.monotonic() > until:
                raise InputError(
                    f"coordinator_address={address}: did not answer within {seconds} s ({error.strerror or error}); "
                    "process 0 must run, and this be its address"
                ) from None
            time.sleep(0.2)


def _watch(module, workdir) -> int:
    """Runs the program again as a child process, and prints why it ended if it was killed or aborted."""
    childs_end, our_end = os.pipe()
    environment = {**os.environ, _PARENT: str(childs_end)}
    child = subprocess.Popen([sys.executable, "-m", module, *sys.argv[1:]], env=environment, pass_fds=[childs_end])
    os.close(childs_end)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, our_end)
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.signal(number, lambda number, _: child.send_signal(number))
            stack.callback(signal.signal, number, before)
        status = child.wait()
    if status >= 0:
        return status
    what = (
        f"has lost another process, which ended or was silent for {flags.FLAGS.heartbeat_seconds} s, or never met it"
        if -status == signal.SIGABRT
        else "was ended"
    )
    name = signal.Signals(-status).name
    print(f"error: {_who()} {what} ({name}); {_how_to_resume(workdir)}", file=sys.stderr, flush=True)
    return 1


def _who() -> str:
    f = flags.FLAGS
    return "this process" if f.process_id is None else f"process {f.process_id} of {f.num_processes}"


def _how_to_resume(workdir) -> str:
    from attention_ar.training.checkpoints import last_whole

    where = last_whole(os.path.join(workdir, "checkpoints"))
    return f"started again on all hosts, the same command resumes from {where}"


def _end_with_parent(pipe: int):
    """Ends this process when its parent has ended, for whatever reason."""

    def wait():
        os.read(pipe, 1)  # Returns when the other end, which the parent alone has, is closed.
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True, name="end-with-parent").start()
