"""The `released` variant: what the authors' public Theano program computes, which is not what the paper prints.

It has one LSTM layer, a perceptron over features and state under the location softmax, dropout that is not inverted,
and an objective, optimisers, blocks and an evaluation of its own. The names of parameters and options are the
program's, and its checkpoints can be read and written.
"""

from attention_ar.released.checkpoint import read_model, write_model
from attention_ar.released.module import ReleasedAttentionLSTM
from attention_ar.released.objective import ReleasedObjective
from attention_ar.released.optimizers import OPTIMIZERS

__all__ = ["OPTIMIZERS", "ReleasedAttentionLSTM", "ReleasedObjective", "read_model", "write_model"]
