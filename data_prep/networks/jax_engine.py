"""Runs a network in JAX, on a CPU with all its cores and on an accelerator without a pause."""

from collections.abc import Callable

import jax
import numpy as np

from data_prep.common.cores import num_cores
from data_prep.networks.network import CPU_BATCH, in_pieces

ACCELERATOR_CALLS = 3  # one at work, one whose frames are on their way, one whose features are


def jax_engine(features: Callable, params) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
    """Compiles a network.

    On a CPU one call keeps one core busy: one call per core is faster than one call on all cores, and a frame's
    features do not depend on the number of cores.

    Args:
      features: a pure function of `params` and frames, `<uint8>[B, height, width, 3]`.
      params: any tree of arrays.

    Returns:
      A function of frames that returns features, NumPy arrays both, and how many calls at a time keep the machine busy.
    """
    params = jax.device_put(params)
    if jax.default_backend() != "cpu":
        compiled = jax.jit(features)
        return lambda frames: np.asarray(compiled(params, frames)), ACCELERATOR_CALLS
    compiled = jax.jit(features, compiler_options={"xla_cpu_multi_thread_eigen": False})

    def run(frames):
        return in_pieces(lambda piece: np.asarray(compiled(params, piece)), frames, CPU_BATCH)

    return run, num_cores()
