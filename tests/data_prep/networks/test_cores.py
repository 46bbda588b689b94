"""The bits of features do not depend on the number of cores, nor on what else is in flight."""

import os
import subprocess
import sys

import numpy as np
import pytest

from data_prep.common.map_ahead import map_ahead
from data_prep.networks.registry import load_network

_HASH = """
import hashlib, os, sys
os.sched_setaffinity(0, set(map(int, sys.argv[2].split(","))))  # before a library counts the cores
import numpy as np
from data_prep.networks.registry import load_network

network = load_network(sys.argv[1])
frames = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
print(network.calls_in_flight, hashlib.sha256(network(frames).tobytes()).hexdigest())
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet_lite0", "random"])
def test_one_core_and_all_of_them_give_the_same_bits(name):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        pytest.skip("needs two cores")
    found = []
    for some in (cores[:1], cores):
        # Not the test's own flags, which leave XLA no optimisation to differ in.
        environment = {key: value for key, value in os.environ.items() if key not in ("XLA_FLAGS",)}
        run = subprocess.run(
            [sys.executable, "-c", _HASH, name, ",".join(map(str, some))],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert run.returncode == 0, run.stderr
        found.append(run.stdout.split())
    (one, hash_of_one), (all_of_them, hash_of_all) = found
    assert (int(one), int(all_of_them)) == (1, len(cores))
    assert hash_of_one == hash_of_all


def test_calls_at_a_time_do_not_mix():
    network = load_network("efficientnet_lite0")
    batches = [np.random.default_rng(seed).integers(0, 256, (2, 224, 224, 3), np.uint8) for seed in range(6)]
    together = list(map_ahead(network, (batch for batch in batches), workers=3))
    for batch, features in zip(batches, together, strict=True):
        np.testing.assert_array_equal(network(batch), features)
