"""The rules by which the quickstart chooses frame rate, T, stride, batch, epochs and folds for a folder of clips."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_FRAMES = 8000  # through the network: two to five minutes on two cores
LEAST_FPS = 10.0  # below it, the steps of a fast motion are lost
TWICE = 1.99  # of a clip's rate is the most that a block can have; a little less, because rates are rounded
MOST_STEPS, LEAST_STEPS = 30, 4  # T; 30 is the paper's
SHORT = 10  # frames, below which a clip hardly shows a motion
MOST_BLOCKS = 600  # of the training part
BATCHES, BATCH_SIZES = 8, (8, 64)  # about so many batches an epoch, of such sizes
UPDATES, EPOCHS = 120, (8, 30)  # about so many updates in all, in such numbers of epochs
MOST_FOLDS = 5
HIDDEN_DIM, LEARNING_RATE = 256, 5e-4  # of the synthetic quickstart: half the paper's width, for a few clips


@dataclass(frozen=True)
class Settings:
    """What was chosen.

    Attributes:
      fps: frames per second, of extraction and of blocks.
      num_steps: T.
      stride: stored frames from the start of one block to that of the next.
      batch_size, epochs: of training; epochs is the most, see `own_clips`.
      folds: of cross-validation.
      num_frames: that go through the network, about.
      num_blocks: of the training part, about.
      reasons: one line for each choice, by its name.
    """

    fps: float
    num_steps: int
    stride: int
    batch_size: int
    epochs: int
    folds: int
    num_frames: int
    num_blocks: int
    reasons: dict[str, str]


def choose_settings(
    num_frames: Sequence[int], fps: Sequence[float], in_training: Sequence[bool], num_units: int, units: str = "clips"
) -> Settings:
    """Chooses settings for a folder of clips, from their lengths, number and rates alone.

    * **fps**: the median rate of the clips divided by the smallest whole number that leaves at most 8000 frames in all,
      but not below 10 per second; and at most twice the rate of the slowest clip, beyond which it has no block.
    * **T**: as many frames as the shortest quarter of the clips has at that rate, so that three quarters of the clips
      fill a block; at most 30, the paper's, and at least 4. A shorter clip repeats its last frame.
    * **stride**: a third of T; longer, up to T, where the training part would have more than 600 blocks.
    * **batch size**: the power of two that makes at least eight batches of a fold's training blocks; 8 to 64.
    * **epochs**: so many that there are 120 updates; 8 to 30. Cross-validation then tells how many of them are best.
    * **folds**: five, or as many as there are groups (clips, where no groups are known).

    Args:
      num_frames: of each clip.
      fps: each clip's frames per second.
      in_training: which clips are in the training part.
      num_units: groups in the training part, or clips where no groups are known.
      units: what these are.
    """
    num_frames, rates = np.asarray(num_frames), np.asarray(fps, float)
    usual, slowest = float(np.median(rates)), float(rates.min())
    seconds = num_frames / rates

    every = 1
    while (num_frames / every).sum() > MOST_FRAMES and usual / (every + 1) >= LEAST_FPS:
        every += 1
    chosen = usual / every
    why_fps = f"every frame of clips at {usual:.3g} per second" if every == 1 else f"every {_th(every)} frame of clips"
    why_fps += "" if every == 1 else f" at {usual:.3g} per second, so that extraction takes minutes"
    if chosen > TWICE * slowest:
        chosen = TWICE * slowest
        why_fps = f"twice the rate of the slowest clip, {slowest:.3g} per second; a block cannot have more"
    chosen = float(f"{chosen:.4g}")
    sampled = np.maximum(np.minimum(num_frames, np.round(seconds * chosen)), 1).astype(int)

    quarter = int(np.quantile(sampled, 0.25, method="lower"))
    num_steps = min(max(quarter, LEAST_STEPS), MOST_STEPS)
    lasts = f"{num_steps / chosen:.1f} s"
    if quarter > MOST_STEPS:
        why_steps = f"the paper's, {lasts}; a longer clip has several blocks"
    else:
        why_steps = f"{lasts}, which three quarters of the clips fill; a shorter clip repeats its last frame"

    own = sampled[np.asarray(in_training, bool)]
    stride = max(num_steps // 3, 1)
    while (blocks := _num_blocks(own, num_steps, stride)) > MOST_BLOCKS and stride < num_steps:
        stride += 1
    why_stride = "a third of T" if stride == max(num_steps // 3, 1) else f"for at most {MOST_BLOCKS} blocks, or T"

    folds = min(MOST_FOLDS, num_units)
    in_fold = max(blocks * (folds - 1) // folds, 1)
    batch_size = _between(2 ** max(int(math.log2(max(in_fold / BATCHES, 1))), 0), *BATCH_SIZES)
    updates = math.ceil(in_fold / batch_size)
    epochs = _between(math.ceil(UPDATES / updates), *EPOCHS)
    return Settings(
        fps=chosen,
        num_steps=num_steps,
        stride=stride,
        batch_size=batch_size,
        epochs=epochs,
        folds=folds,
        num_frames=int(sampled.sum()),
        num_blocks=blocks,
        reasons={
            "fps": f"{chosen:g}: {why_fps}",
            "T": f"{num_steps} frames: {why_steps}",
            "stride": f"{stride}: {why_stride}; {blocks} blocks of training clips",
            "batch": f"{batch_size} blocks: {updates} updates an epoch",
            "epochs": f"{epochs}: {epochs * updates} updates; cross-validation tells after how many it is best",
            "folds": f"{folds}: the training part has {num_units} {units}",
        },
    )


def _num_blocks(sampled: np.ndarray, num_steps: int, stride: int) -> int:
    return int(np.sum(1 + np.maximum(sampled - num_steps, 0) // stride))


def _between(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)


def _th(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")
