"""The log of a run: one JSON line per epoch in `metrics.jsonl`, and the same in words on the console."""

import json
import math
from pathlib import Path

import jax

from attention_ar.errors import writing
from data_prep.common.files import write_whole
from experiments.runs.tensorboard_log import TensorBoardLog


def is_main() -> bool:
    """Returns whether this process is the one that prints and writes for all."""
    return jax.process_index() == 0


def say(text: str):
    """Prints, once for all processes."""
    if is_main():
        print(text, flush=True)


class MetricsLog:
    """`metrics.jsonl` of a run. Of several processes only the first writes it, as all of them share the folder.

    Args:
      path: the file.
      resume_after: the last epoch of the checkpoint to resume from; lines of later ones, whose work was lost, are
        dropped.
      tensorboard: whether to write the same numbers for TensorBoard, into the folder `tensorboard` beside the file.
    """

    def __init__(self, path, resume_after: int, tensorboard: bool = False):
        self.path = Path(path)
        self._is_main = is_main()
        if not self._is_main:
            return
        kept = [line for line in read_metrics(path) if line["epoch"] <= resume_after] if self.path.exists() else []
        write_whole(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._tensorboard = TensorBoardLog(self.path.parent / "tensorboard", kept) if tensorboard else None

    def write(self, line: dict):
        """Appends one line."""
        if not self._is_main:
            return
        with writing(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._tensorboard:
            self._tensorboard.write(line)


def read_metrics(path) -> list[dict]:
    """Returns the lines of a `metrics.jsonl`. A last line that was cut short by a crash is left out."""
    lines = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def describe_epoch(line: dict, num_epochs: int, num_cells: int) -> str:
    """Returns the console's line about one epoch, from its line of `metrics.jsonl`."""
    text = (
        f"epoch {line['epoch']}/{num_epochs}  loss {line['loss']:.3f} = cross-entropy {line['cross_entropy']:.3f}"
        f" + attention penalty {line['attention_penalty']:.3f} + weight decay {line['weight_decay']:.4f}"
    )
    if "score_term" in line:
        text += f" | beside it: score term {line['score_term']:.3f}, entropy term {line['entropy_term']:.4f}"
    for part, name in (("held_out", "held out"), ("training_part", "training part")):
        if part in line:
            text += f" | {name}: {describe_score(line[part])}"
            if "attention" in line[part]:
                text += f" | {describe_health(line[part]['attention'], num_cells)}"
    return text + f" | {line['blocks_per_second']:.1f} blocks/s"


def describe_score(scores: dict) -> str:
    """Returns for example "accuracy 91.7 %"."""
    name = scores["score_name"]
    return f"{name.replace('_', ' ')} {100 * scores[name]:.1f} %"


def describe_health(health: dict, num_cells: int) -> str:
    """Returns the attention-health line: see `attention_ar.attention_health`."""
    return (
        f"attention: entropy {health['entropy']:.2f} nats of {math.log(num_cells):.2f}, "
        f"moves {health['movement']:.3f} a step, largest mass {health['largest_mass']:.2f}"
    )
