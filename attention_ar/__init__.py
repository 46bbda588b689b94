"""Action Recognition using Visual Attention (Sharma, Kiros, Salakhutdinov 2015) in JAX.

Where the equations are: 1 to 3 in `lstm`, 4 and 5 in `attention`, 6 in `first_state`, 7 in `loss`. What the authors'
released program does instead is in `released`.

Example, a model that has not been trained, on one block of T = 3 frames of 7×7 cells with D = 16:

    >>> import jax, jax.numpy as jnp
    >>> import attention_ar as ar
    >>> model = ar.SoftAttentionLSTM(num_classes=11, hidden_dim=8)
    >>> x = jax.random.uniform(jax.random.key(0), (1, 3, 49, 16))
    >>> variables = model.init(jax.random.key(1), x)
    >>> logits, out = model.apply(variables, x)
    >>> logits.shape
    (1, 3, 11)
    >>> [round(float(mass), 4) for mass in out["attention"].sum(axis=-1)[0]]
    [1.0, 1.0, 1.0]
"""

from attention_ar.baselines import PooledLSTM, SoftmaxRegression
from attention_ar.efficientnet_lite0 import EfficientNetLite0
from attention_ar.errors import InputError
from attention_ar.googlenet import GoogLeNet
from attention_ar.hard_attention import HardAttention, Samples
from attention_ar.models import MultiLevelAttentionLSTM, SoftAttentionLSTM
from attention_ar.released import ReleasedAttentionLSTM

__all__ = [
    "EfficientNetLite0",
    "GoogLeNet",
    "HardAttention",
    "InputError",
    "MultiLevelAttentionLSTM",
    "PooledLSTM",
    "ReleasedAttentionLSTM",
    "Samples",
    "SoftAttentionLSTM",
    "SoftmaxRegression",
]
