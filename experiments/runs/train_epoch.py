"""One epoch of training, step after step, and the position in it from which training resumes."""

import dataclasses
import time
from collections.abc import Iterable
from dataclasses import dataclass

import jax
import numpy as np
from tqdm import tqdm

from data_prep.loading.batches import Batch
from experiments.runs.autosave import Autosave

LOSSES = ("loss", "cross_entropy", "attention_penalty", "weight_decay")
TERMS = ("score_term", "entropy_term")
"""What training with hard attention reports beside the losses, see `training.sampling.sampled_loss`."""


class StepNotFiniteError(Exception):
    """A step whose loss or gradient is no finite number.

    Attributes:
      step: its number.
      block: the blocks of its batch.
    """

    def __init__(self, step: int, block: np.ndarray):
        super().__init__(step)
        self.step, self.block = step, block


@dataclass
class Position:
    """Where in an epoch training is; a checkpoint keeps it beside the state.

    Attributes:
      epoch: from 1.
      batches: of this epoch that are done.
      sums: of the loss and its parts over the blocks of these.
      seconds: their duration.
    """

    epoch: int
    batches: int = 0
    sums: dict = dataclasses.field(default_factory=lambda: dict.fromkeys(LOSSES, 0.0))
    seconds: float = 0.0

    def add(self, batch: Batch, metrics, sums_over_batch: bool):
        """Counts one more batch, with the metrics of `train_step`; waits for that step to end.

        Raises:
          StepNotFiniteError: where the loss or a gradient is no finite number.
        """
        metrics = jax.device_get(metrics)
        if not metrics["finite"]:
            raise StepNotFiniteError(int(metrics["step"]), batch.block)
        share = 1 if sums_over_batch else float(metrics["num_blocks"])
        for name in (*LOSSES, *(name for name in TERMS if name in metrics)):
            self.sums[name] = self.sums.get(name, 0.0) + share * float(metrics[name])
        self.batches += 1

    def line(self, step: int, num_blocks: int) -> dict:
        """Returns the epoch's line of `metrics.jsonl`, with losses per block, when all its blocks are done."""
        means = {name: value / num_blocks for name, value in self.sums.items()}
        rate = num_blocks / max(self.seconds, 1e-9)
        return {"epoch": self.epoch, "step": step, **means, "seconds": self.seconds, "blocks_per_second": rate}


def train_epoch(
    train_step,
    state,
    batches: Iterable[Batch],
    position: Position,
    autosave: Autosave,
    *,
    num_blocks: int,
    sums_over_batch,
):
    """Runs the rest of an epoch.

    Args:
      train_step: compiled; a function of state and batch that returns the new state and a dict of scalars.
      state: a TrainState; it is donated.
      batches: the rest of the epoch's batches.
      position: where in the epoch that is; it is updated.
      autosave: when to save and when to stop.
      num_blocks: of the whole epoch.
      sums_over_batch: whether the loss is a sum over the batch, as the released program's is, and not a mean.

    Returns:
      The new state.

    Raises:
      StepNotFiniteError: see `Position.add`.
      Stopped: when asked to stop; the state is saved.
      InputError: where a checkpoint cannot be written.
    """
    step, running = int(state.step), None
    begun = time.perf_counter() - position.seconds
    with tqdm(
        total=num_blocks,
        unit="block",
        desc=f"epoch {position.epoch}",
        disable=None if jax.process_index() == 0 else True,
        leave=False,
    ) as progress:
        for batch in batches:
            if not progress.n:
                progress.update(position.batches * len(batch.block))
            state, metrics = train_step(state, batch.arrays)
            # The metrics of the step before are read while this one computes.
            if running is not None:
                position.add(*running, sums_over_batch)
            running = batch, metrics
            step += 1
            progress.update(int(batch.weight.sum()))
            last = (position.batches + 1) * len(batch.block) >= num_blocks
            if autosave.due(step, last):
                position.add(*running, sums_over_batch)
                running = None
                position.seconds = time.perf_counter() - begun
                autosave.save(state, position)
    if running is not None:
        position.add(*running, sums_over_batch)
    position.seconds = time.perf_counter() - begun
    return state
