"""Training and evaluation of models with hard attention: several samples of every block, and what is made of them."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from attention_ar.dropout import example_keys
from attention_ar.errors import InputError
from attention_ar.hard_attention import Samples, draw_noise
from attention_ar.policy_gradient import moving_average, reinforce, return_to_go
from attention_ar.products import accumulator

EVALUATION_DRAWS = 10


@dataclass(frozen=True)
class Sampling:
    """How a model with `hard` attention is trained.

    Attributes:
      num_samples: N, of each block. With one, REINFORCE has a moving average as baseline, see `first_baseline`.
      entropy_weight: λ_e at the first update; it falls linearly to 0 at the last.
      soft_probability: of a block's x_t being the expectation at all of its steps and for all of its samples. There is
        no score term then.
      num_updates: of the whole training.
    """

    num_samples: int = 4
    entropy_weight: float = 0.03
    soft_probability: float = 0.5
    num_updates: int = 1

    def __post_init__(self):
        if self.num_samples < 1:
            raise InputError(f"num_samples={self.num_samples}: must be 1 or greater")
        if not 0 <= self.soft_probability <= 1:
            raise InputError(f"soft_probability={self.soft_probability}: must be from 0 to 1")
        if not self.entropy_weight >= 0:
            raise InputError(f"entropy_weight={self.entropy_weight}: must be 0 or greater")

    def has_baseline(self, model) -> bool:
        """Whether training of the model needs a moving average in its state."""
        return self.num_samples == 1 and model.hard.estimator == "reinforce"

    def entropy_weight_at(self, step):
        """λ_e after `step` updates."""
        left = 1 - jnp.asarray(step, jnp.float32) / self.num_updates
        return self.entropy_weight * jnp.maximum(left, 0)


def features_shape(batch) -> jax.ShapeDtypeStruct:
    """Returns shape and dtype of the features `[B, T, K², D]` of a batch as `steps.predict` takes it."""
    if "frames" not in batch:
        return jax.ShapeDtypeStruct(batch["features"].shape, batch["features"].dtype)
    return jax.ShapeDtypeStruct((*batch["where"].shape, *batch["frames"].shape[1:]), batch["frames"].dtype)


def first_baseline(objective, num_steps: int, num_classes: int):
    """b_t before the first batch: the return without penalty of a model that knows nothing, (T − t + 1) ln C.

    Returns:
      `<float32>[T]`.
    """
    costs = objective.step_costs(jnp.zeros((num_steps, num_classes)), jnp.full(num_classes, 1 / num_classes))
    return return_to_go(costs, jnp.zeros(()))


def draw_samples(key, index, x, sampling: Sampling) -> Samples:
    """Draws what a training step needs, see `Samples`.

    Args:
      key: of the step.
      index: of each block in the whole batch, `<int>[B]`.
      x: shape and dtype of the features, `[B, T, K², D]`.
      sampling: how.

    Returns:
      Noise `<float>[N, B, T, K²]`, and `expect` `<bool>[B]`, one for all samples of a block.
    """
    of_noise, of_expect = jax.random.split(key)
    noise = draw_noise(of_noise, index, sampling.num_samples, *x.shape[1:3], accumulator(x.dtype))
    if not sampling.soft_probability:
        return Samples(noise)
    expect = jax.vmap(lambda key: jax.random.bernoulli(key, sampling.soft_probability))
    return Samples(noise, expect(example_keys(of_expect, index)))


def sampled_loss(objective, params, logits, out, batch, expect, baseline, entropy_weight, estimator, axis_name=None):
    """The loss of N samples of each block, and the surrogate from which autodiff has the gradient of its expectation.

    Args:
      objective: see `PaperObjective`.
      params: all parameters.
      logits: `<float>[N, B, T, C]`.
      out: the model's named intermediates, each with a leading N.
      batch: `labels` and `weight`, see `steps.train_step`.
      expect: see `Samples`.
      baseline: b_t, `<float>[T]`, or None, see `policy_gradient.reinforce`.
      entropy_weight: λ_e.
      estimator: of the model's `HardAttention`.
      axis_name: that of `jax.pmap`, see `PaperObjective`.

    Returns:
      The surrogate, whose value means nothing; J's estimate, the mean of the objective over the samples; a dict of the
      objective's parts and, beside them, `score_term` (the value of `policy_gradient.reinforce`) and `entropy_term`
      −λ_e Σ_t H(l_t); and b_t after this batch, or None. The first three are scalars.

    Raises:
      InputError: for one sample without a baseline.
    """
    labels, weight = batch["labels"], batch["weight"]
    losses = jax.vmap(lambda logits, out: objective(params, logits, out, labels, weight, axis_name))(logits, out)
    loss, parts = jax.tree.map(lambda values: jnp.mean(values, axis=0), losses)
    share = objective.shares(weight, axis_name)
    entropy = jnp.sum(share * jnp.mean(jnp.sum(out["entropy"], axis=-1), axis=0))
    parts |= {"score_term": jnp.zeros_like(loss), "entropy_term": -entropy_weight.astype(loss.dtype) * entropy}
    if estimator == "reinforce":
        if baseline is None and len(logits) == 1:
            raise InputError("num_samples=1: needs a baseline in the TrainState, see `sampling.first_baseline`")
        costs = objective.step_costs(logits, labels)
        penalty = objective.attention_penalty * objective.penalty(out["attention"])
        drawn = jnp.ones_like(weight) if expect is None else 1 - expect.astype(weight.dtype)
        score = reinforce(out["log_probability"], costs, penalty, baseline)
        parts["score_term"] = jnp.sum(share * drawn * score)
        if baseline is not None:
            total = (lambda value: value) if axis_name is None else lambda value: jax.lax.psum(value, axis_name)
            G = jax.lax.stop_gradient(return_to_go(costs, penalty))[0]
            baseline = moving_average(baseline, G, weight * drawn, total)
    return loss + parts["score_term"] + parts["entropy_term"], loss, parts, baseline


def evaluation_samples(batch, x) -> Samples:
    """What is drawn for glimpse_rule="sample", the same in every evaluation.

    Args:
      batch: its `start` `<int>[B]`, by which blocks differ, is where each begins in its clip; if it is missing, blocks
        count from 0. So what a clip's blocks look at does not depend on other clips, or on the size of the batch.
      x: shape and dtype of the features, `[B, T, K², D]`.

    Returns:
      Noise `<float>[10, B, T, K²]`.
    """
    start = batch["start"] if "start" in batch else jnp.arange(x.shape[0])
    return Samples(draw_noise(jax.random.key(0), start, EVALUATION_DRAWS, *x.shape[1:3], accumulator(x.dtype)))


def mean_prediction(logits, multi_label: bool):
    """The logits of the mean over axis 0 of the class probabilities."""
    if multi_label:
        present, absent = (jax.nn.logsumexp(jax.nn.log_sigmoid(sign * logits), axis=0) for sign in (1, -1))
        return present - absent
    return jax.nn.logsumexp(jax.nn.log_softmax(logits), axis=0) - jnp.log(jnp.asarray(len(logits), logits.dtype))
