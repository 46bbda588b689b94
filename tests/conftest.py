"""Strict from the start: eight virtual devices, no silent promotion of types or ranks, warnings are errors."""

import atexit
import importlib
import importlib.util
import inspect
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jaxlib.version

if "PYTEST_XDIST_WORKER" not in os.environ:  # The processes that run the tests inherit what follows.
    platform = os.environ.get("TEST_PLATFORM", "cpu")
    os.environ["JAX_PLATFORMS"] = platform if platform == "cpu" else f"{platform},cpu"
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    if platform == "cpu":
        # Small programs that run a few times: a third of the suite's time would go into making them fast.
        os.environ["XLA_FLAGS"] += " --xla_backend_optimization_level=0"
    else:
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # Several processes share the device.
    if jaxlib.version.__version_info__ < (0, 11) and "AS_USERS_COMPILE" not in os.environ:
        # An older code generator, which takes 60 % of the time to compile; later versions do not have it.
        os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
    # What one test has compiled, no other compiles again, in whatever process.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="compiled-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

import jax
import pytest
from absl import flags

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure():
    """JAX would run on the CPU where it finds no GPU."""
    wanted = os.environ.get("TEST_PLATFORM", "cpu")
    if wanted != "cpu" and jax.default_backend() == "cpu":
        pytest.exit(f"TEST_PLATFORM={wanted}: JAX finds no such device here", returncode=4)


def pytest_xdist_auto_num_workers():
    """One process more than there are cores, as some tests wait most of the time."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Runs a test that is marked `as_users_compile` in a process of its own, with the code generator that users have:
    whether two programs round alike is up to it."""
    if pyfuncitem.get_closest_marker("as_users_compile") is None or "AS_USERS_COMPILE" in os.environ:
        return None
    command = [sys.executable, "-m", "pytest", "-n", "0", pyfuncitem.nodeid, f"--rootdir={pyfuncitem.config.rootpath}"]
    environment = {key: value for key, value in os.environ.items() if key not in ("XLA_FLAGS", "PYTEST_XDIST_WORKER")}
    environment |= {"AS_USERS_COMPILE": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        command, env=environment, cwd=pyfuncitem.config.rootpath, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
    return True


@pytest.fixture
def x64():
    """Runs the test in double precision."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def run_program(monkeypatch):
    """`run_program("experiments.train", "--model=released")` runs a program's main here, and returns what it does."""

    def run_main(name, *arguments):
        module, before = importlib.import_module(name), set(flags.FLAGS)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        module.define_flags()
        try:
            _, *rest = flags.FLAGS(sys.argv)
            return module.main(rest) if inspect.signature(module.main).parameters else module.main()
        finally:
            for flag in set(flags.FLAGS) - before:
                delattr(flags.FLAGS, flag)
            flags.FLAGS.unparse_flags()

    return run_main


@pytest.fixture(scope="session")
def write_vit():
    """See `vision_transformer.py` beside this file."""
    path = Path(__file__).with_name("vision_transformer.py")
    spec = importlib.util.spec_from_file_location("vision_transformer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.write_vit


def _shared() -> Path:
    """Folder of real clips, weights and recordings, which the repository does not ship."""
    default = Path(__file__).resolve().parents[2] / "shared"
    return Path(os.environ.get("ATTENTION_AR_SHARED", default))


@pytest.fixture(scope="session")
def shared():
    """`shared("data/clips")` is that path in the folder of real data; the test is skipped where it is absent."""

    def find(relative: str) -> Path:
        path = _shared() / relative
        if not path.exists():
            pytest.skip(f"needs {relative} of the folder named by $ATTENTION_AR_SHARED, which is absent")
        return path

    return find
