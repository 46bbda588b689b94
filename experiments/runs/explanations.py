"""What pictures show over a clip's frames: where the model looks, or what of it speaks for the class."""

import numpy as np

from attention_ar.evidence import positive_part
from experiments.runs.trained import TrainedModel


def maps_of(model: TrainedModel, explain: str) -> str | None:
    """Returns which result of `steps.eval_step` makes the maps of a model; None where it has none, as a baseline has no
    attention.

    Args:
      model: the model.
      explain: "attention" or "evidence".
    """
    return explain if explain == "evidence" or model.has_attention else None


def result_of(explain: str) -> str:
    """Returns the name of the result of `steps.eval_step` that `as_maps` takes: attention is where the model looks,
    l_t or what hard attention chooses."""
    return {"attention": "glimpse"}.get(explain, explain)


def as_maps(values: np.ndarray, explain: str) -> np.ndarray:
    """Returns a distribution over the cells for each step, `<float>[..., K²]`: what `result_of` is, or the
    `positive_part` of the evidence, which is all 0 where no cell speaks for the class."""
    return positive_part(values) if explain == "evidence" else values
