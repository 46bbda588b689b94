"""Twenty steps of gradient descent on the same batches, on whatever devices and processes there are.

python twenty_steps.py OUTPUT.npz [COORDINATOR NUM_PROCESSES PROCESS_ID]
"""

import functools
import sys

import jax
import numpy as np
import optax

import attention_ar as ar
from attention_ar.loss import PaperObjective
from attention_ar.released.objective import ReleasedObjective
from attention_ar.training import parallel as ways
from attention_ar.training.sampling import Sampling, first_baseline
from attention_ar.training.steps import TrainState, create_train_state

B, T, K2, D, C = 16, 4, 9, 5, 3
PAPER = ar.SoftAttentionLSTM(num_classes=C, hidden_dim=6, num_layers=2), PaperObjective(1.0, 1e-3)
RELEASED = ar.ReleasedAttentionLSTM(num_classes=C, hidden_dim=6, dim_out=6), ReleasedObjective(0.1, 1e-3)
# Hard attention, with a moving average as baseline.
HARD = PAPER[0].clone(hard=ar.HardAttention()), PAPER[1], Sampling(num_samples=1, num_updates=20)


def batches(table):
    """Yields 20 batches with the features in them; every third is ragged, and some devices get no real block."""
    random = np.random.default_rng(1)
    for step in range(20):
        rows = random.integers(0, len(table), (B, T)).astype(np.int32)
        weight = np.ones(B)
        weight[11 if step % 3 else 5 :] = 0
        yield {
            "rows": rows,
            "labels": np.eye(C)[random.integers(C, size=B)],
            "weight": weight,
            "index": np.arange(B, dtype=np.int32),
        }


def after_twenty_steps(way: str, store: str, dtype, model=PAPER):
    """Returns the parameters and the last step's metrics.

    Args:
      way: jit, pmap or auto.
      store: of the features: "host", or "device", a table on every device.
      dtype: of everything.
      model: and its objective, and of hard attention its sampling.
    """
    table = np.random.default_rng(0).uniform(0, 2, (101, K2, D)).astype(np.float16)
    parallel, optimizer = ways.choose(way), optax.sgd(0.003 if model is RELEASED else 0.05)
    model, objective, sampling = (*model, None)[:3]
    baseline = sampling and first_baseline(objective, T, C).astype(dtype)
    step = parallel.compile_train_step(
        dtype, model=model, objective=objective, optimizer=optimizer, seed=3, sampling=sampling
    )
    init = functools.partial(create_train_state, model, optimizer)
    shapes = jax.eval_shape(init, jax.random.key(0), jax.ShapeDtypeStruct((1, T, K2, D), dtype))
    random = np.random.default_rng(2)
    params = jax.tree.map(lambda leaf: 0.3 * random.standard_normal(leaf.shape).astype(leaf.dtype), shapes.params)
    state = parallel.replicate(TrainState(np.zeros((), np.int32), params, optimizer.init(params), baseline))
    replicated = parallel.replicate(table)
    for batch in batches(table):
        batch = {name: array[parallel.local_shard(B)] for name, array in batch.items()}
        batch |= {name: batch[name].astype(dtype) for name in ("labels", "weight")}
        if store == "host":
            batch["features"] = table[batch.pop("rows")].astype(dtype)
        else:
            batch["table"] = replicated
        state, metrics = step(state, parallel.put(batch))
    if sampling:
        metrics = {**metrics, "baseline": state.baseline}
    return jax.device_get(state.params), jax.device_get(metrics)


def main(output, coordinator, num_processes, process_id, *cases):
    """Runs each case among several processes; process 0 writes what came out."""
    jax.distributed.initialize(coordinator, int(num_processes), int(process_id), heartbeat_timeout_seconds=20)
    found = {}
    for case in cases:
        way, store, dtype = case.split(",")
        with jax.enable_x64(dtype == "float64"):
            params, metrics = after_twenty_steps(way, store, np.dtype(dtype).type)
        for path, leaf in jax.tree_util.tree_leaves_with_path({"params": params, "metrics": metrics}):
            found[case + jax.tree_util.keystr(path)] = leaf
    if jax.process_index() == 0:
        np.savez(output, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
