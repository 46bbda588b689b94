"""Action Recognition using Visual Attention (Sharma, Kiros, Salakhutdinov 2015) in JAX.

Where the equations are: 1 to 3 in `lstm`, 4 and 5 in `attention`, 6 in `first_state`, 7 in `loss`. What the authors'
released program does instead is in `released`.
"""

from attention_ar.errors import InputError
from attention_ar.googlenet import GoogLeNet
from attention_ar.models import PooledLSTM, SoftAttentionLSTM, SoftmaxRegression
from attention_ar.released import ReleasedAttentionLSTM

__all__ = ["GoogLeNet", "InputError", "PooledLSTM", "ReleasedAttentionLSTM", "SoftAttentionLSTM", "SoftmaxRegression"]
