"""A model that predicts batches of blocks on the available devices."""

import functools

import numpy as np

from attention_ar.training.parallel import OverMesh

SCORED = ("predictions", "cross_entropy", "entropy", "movement", "largest_mass")


class Predictor:
    """`steps.eval_step` of one model, compiled for the requested results.

    Attributes:
      parallel: on which devices, see `attention_ar.training.parallel`.
      dtype: of the features.
    """

    def __init__(self, model, objective, parallel: OverMesh, dtype=np.float32):
        self.parallel, self.dtype = parallel, dtype
        self._compile = functools.partial(parallel.compile_eval_step, dtype, model=model, objective=objective)
        self._compiled = {}

    def __call__(self, params, arrays: dict, keep: tuple[str, ...]) -> dict:
        """Returns the results named in `keep` of the blocks of a `batches.Batch`, see `steps.eval_step`."""
        if keep not in self._compiled:
            self._compiled[keep] = self._compile(keep=keep)
        return self._compiled[keep](params, arrays)
