"""The equations of the released model, for one block, and `run_blocks` for a batch of them.

    (h_0, c_0) = first_state(mean X)
    e_{t,i} = Uᵀ tanh(A(X_{t,i}) + W_d h_{t-1}) + c        l_t = softmax_i(temperature_inverse · e_t)
    x_t = σ(W_sel h_{t-1} + b_sel) · Σ_i l_{t,i} X_{t,i}   (the first factor with `selector` only)
    (c_t, h_t) = LSTM(c_{t-1}, h_{t-1}, x_t)               one layer, Eqs. 1 to 3
    logits_t = the classifier of h_t, and of x_t with `ctx2out`

`params` is the flat dict of `layout`. A model has the optional parts whose parameters it has. The paper's Eq. 4
is another one: there l_t does not depend on the features.

With several levels (`attention_ar.levels`), e^v_{t,i} of each level v is as above, with A, W_d, U and c of its own and
of X^v_{t,i} / σ_v; m_t, l_t and the sum in x_t are as there. The authors' program has no such thing.
"""

import functools
import itertools

import jax
import jax.numpy as jnp

from attention_ar.first_state import frame_mean
from attention_ar.hard_attention import looking
from attention_ar.levels import locations, looking_at_levels, on_first_level
from attention_ar.loop import InPlace, time_loop
from attention_ar.products import accumulator, product
from attention_ar.shared_frames import of_each_frame, whole

_OF_LOOKING = ("decoder_Wd_att", "decoder_U_att", "decoder_c_tt")
_OF_A_STEP = ("decoder_W", "decoder_U", "decoder_b", *_OF_LOOKING, "decoder_W_sel", "decoder_b_sel")

KEEP = 0.5
"""The probability that dropout keeps a unit, and the factor on all units at test time: it is not inverted."""


def sigmoid(v):
    """σ as the program's library computes it: exactly 1, with gradient 0, above 15, or above 19 in float64."""
    return jnp.where(v > (19 if v.dtype == jnp.float64 else 15), jnp.ones_like(v), jax.nn.sigmoid(v))


def scale(v, factors):
    """Returns v under the factors of dropout, see `dropout_masks`, or v itself where they are None."""
    return v if factors is None else v * factors


def affine(params, name, v):
    """The affine map of `name`_W and `name`_b: `<float>[..., num_in]` to `<float>[..., num_out]`."""
    z = product(params[f"{name}_W"], v)
    return z + jnp.broadcast_to(params[f"{name}_b"], z.shape)


def first_state(params, frame_means, masks):
    """c_0 and h_0, from the mean of the block's features over time and locations.

    The ReLU layers in front are shared by the two; the paper's are not.

    Args:
      params: see the module.
      frame_means: the mean of each frame's slices, `<float>[T, D]`.
      masks: dropout's factors on each ReLU layer, see `dropout_masks`.

    Returns:
      c_0 and h_0, each `<float>[d]`, within (−1, 1).
    """
    v = jnp.mean(frame_means, axis=0)
    for n, mask in enumerate(masks["first_state"], start=1):
        v = scale(jax.nn.relu(affine(params, f"ff_init_{n}", v)), mask)
    return jnp.tanh(affine(params, "ff_memory", v)), jnp.tanh(affine(params, "ff_state", v))


def project_cells(params, X):
    """A(X): the feature term of the location softmax, for every cell of every frame in one product.

    With n − 1 further affine maps, there is a tanh after the further maps 1 … n − 2 only: none after the first
    affine map and none after the last.

    Args:
      params: see the module.
      X: `<float>[..., D]`.

    Returns:
      `<float>[..., D]`.
    """
    lead = (None,) * (X.ndim - 1)
    A = product(params["decoder_Wc_att"], X) + params["decoder_b_att"][lead]
    for n in itertools.count(1):
        if f"decoder_W_att_{n}" not in params:
            return A
        A = jnp.tanh(A) if n > 1 else A
        A = product(params[f"decoder_W_att_{n}"], A) + params[f"decoder_b_att_{n}"][lead]


def location_softmax(params, A_t, h, temperature_inverse):
    """l_t, `<float>[K²]`, from the projected cells A(X_t) `<float>[K², D]` and h_{t-1} `<float>[d]`.

    Of `params`, U is a vector here, `<float>[D]`.
    """
    hidden = jnp.tanh(A_t + product(params["decoder_Wd_att"], h)[None])
    e = product(params["decoder_U_att"], hidden) + params["decoder_c_tt"]
    return jax.nn.softmax(temperature_inverse * e)


def selector_gate(params, h):
    """σ(W_sel h_{t-1} + b_sel), `<float>[]`: the factor on the attended input."""
    return sigmoid(product(params["decoder_W_sel"], h)[0] + params["decoder_b_sel"])


def lstm_step(params, c, h, x):
    """One step, Eqs. 1 to 3: from c_{t-1} and h_{t-1}, each `<float>[d]`, and x_t `<float>[D]` to c_t and h_t."""
    z = product(params["decoder_U"], h) + product(params["decoder_W"], x) + params["decoder_b"]
    i, f, o, g = jnp.split(z, 4)
    c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
    return c, sigmoid(o) * jnp.tanh(c)


def classify(params, h, x, masks):
    """The class scores of each step: tanh(U h_t + a [+ U' x_t + a']), then ReLU layers if any, then an affine map.

    Args:
      params: see the module.
      h: `<float>[T, d]`.
      x: attended inputs, `<float>[T, D]`.
      masks: see `dropout_masks`.

    Returns:
      Logits, `<float>[T, C]`, of which softmax or sigmoid makes probabilities.
    """
    hidden = affine(params, "ff_logit_lstm", scale(h, masks["h"]))
    if "ff_logit_ctx_W" in params:
        hidden = hidden + affine(params, "ff_logit_ctx", x)
    hidden = scale(jnp.tanh(hidden), masks["hidden"])
    for n, mask in enumerate(masks["out"], start=1):
        hidden = scale(jax.nn.relu(affine(params, f"ff_logit_h{n}", hidden)), mask)
    return affine(params, "ff_logit", hidden)


def location_softmax_of_levels(params, A_t, h, scales, temperature_inverse):
    """m_t and l_t of several levels, see `attention_ar.levels`.

    Args:
      params: see the module; `levels` has W_m and, for each further level, what `location_softmax` needs.
      A_t: A(X_t) of each level, `<float>[K_v², D]`, the first level first.
      h: h_{t-1}, `<float>[d]`.
      scales: σ_v of each further level by name.
      temperature_inverse: the factor on e_t.

    Returns:
      m_t `<float>[V]`, and l_t of each level `<float>[K_v²]`.
    """
    m = jax.nn.softmax(product(params["levels"]["kernel"], h))
    of_level = {level: params["levels"][level] if level in scales else params for level in A_t}
    a = {level: location_softmax(of_level[level], A_t[level], h, temperature_inverse) for level in A_t}
    return m, locations(m, a)


def run_blocks(
    params,
    X,
    frame_mask,
    masks,
    masks_axis,
    temperature_inverse,
    glimpse=None,
    loop="auto",
    hard=None,
    samples=None,
    scales=None,
):
    """Runs a batch of blocks through first state, LSTM and classifier.

    Args:
      params: see the module.
      X: feature cubes, `<float>[B, T, K², D]` or `SharedFrames` of them, or a dict by level, the first level first.
      frame_mask: 1, or 0 at the steps that leave c and h as they are, `<float>[B, T]`.
      masks: see `dropout_masks`.
      masks_axis: 0 where they have a leading B; None where all blocks have the same.
      temperature_inverse: the factor on e_t.
      glimpse: l_t in place of the location softmax's, `<float>[B, T, K²]`, or None.
      loop: see `attention_ar.loop.time_loop`.
      hard, samples: what takes the place of Σ_i l_{t,i} X_{t,i} if anything does, see `hard_attention.looking`.
      scales: σ_v of each further level by name, for features of several levels.

    Returns:
      Logits `<float>[B, T, C]`, and a dict: `attention` l_t `<float>[B, T, K²]`, `x` `<float>[B, T, D]`, `c` and `h`
      `<float>[B, T, d]`, `first_c` and `first_h` `<float>[B, d]`, and with the selector `selector` `<float>[B, T]`. Of
      several levels it has the outputs of `models.multi_level_blocks`.
    """
    dtype = params["decoder_Wc_att"].dtype
    several = isinstance(X, dict)
    first, *further = X if several else [""]
    cubes = X if several else {first: X}
    slice_of, samples = (looking_at_levels if several else looking)(hard, X, samples, glimpse)

    def look(weights, where, X_t, h, samples_t):
        l = location_softmax(weights, where, h, temperature_inverse) if glimpse is None else where
        x, named = slice_of(l, X_t.astype(dtype), samples_t)
        return x, {"attention": l, **named}

    def look_at_levels(weights, where, X_t, h, samples_t):
        if glimpse is None:
            A_t = {level: where[level] for level in (first, *further)}
            m, l = location_softmax_of_levels(weights, A_t, h, scales, temperature_inverse)
            P = {level: weights["levels"][level]["projection"] for level in further}
        else:
            m, l, P = jnp.zeros(1 + len(further), where.dtype).at[0].set(1), {first: where}, {}
        x, named = slice_of(l, {level: X_t[level].astype(dtype) for level in l}, P, scales, samples_t)
        return x, {"levels": m, "locations": l, **named}

    def step(weights, state, now):
        c, h = state
        X_t, where, seen, samples_t = now
        x, out = (look_at_levels if several else look)(weights, where, X_t, h, samples_t)
        if "decoder_W_sel" in weights:
            out["selector"] = selector_gate(weights, h)
            x = out["selector"] * x
        new_c, new_h = lstm_step(weights, c, h, x)
        c, h = jnp.where(seen != 0, new_c, c), jnp.where(seen != 0, new_h, h)
        return (c, h), out | {"x": x, "c": c, "h": h}

    frame_means = whole(of_each_frame(frame_mean, cubes[first]))
    first_c, first_h = jax.vmap(first_state, in_axes=(None, 0, masks_axis))(params, frame_means, masks)
    weights = {name: params[name] for name in _OF_A_STEP if name in params}
    if glimpse is None:
        weights = with_vector(weights)
        # For all blocks at once, so that the weights' gradient is one product, too.
        where = of_each_frame(functools.partial(project_cells, params), cubes[first])
        if several:
            where = {first: where}
            weights["levels"] = {"kernel": params["levels"]["kernel"]}
            for level in further:
                own = params["levels"][level]
                # A of X / σ.
                scaled = own | {"decoder_Wc_att": own["decoder_Wc_att"] / scales[level]}
                where[level] = of_each_frame(functools.partial(project_cells, scaled), X[level])
                weights["levels"][level] = with_vector({name: own[name] for name in (*_OF_LOOKING, "projection")})
    else:
        weights = {name: weight for name, weight in weights.items() if name not in _OF_LOOKING}
        where = glimpse
    inputs = {level: InPlace(of_level) for level, of_level in X.items()} if several else InPlace(X)
    out = time_loop(step, weights, (first_c, first_h), (inputs, where, frame_mask, samples), loop)
    logits = jax.vmap(classify, in_axes=(None, 0, 0, masks_axis))(params, out["h"], out["x"], masks)
    out = on_first_level(out, X) if several else out
    return logits, out | {"first_c": first_c, "first_h": first_h}


def with_vector(weights) -> dict:
    """Returns the weights with U as a vector, and in float32: its products are the scores under the softmax."""
    U = weights["decoder_U_att"]
    return weights | {"decoder_U_att": U[:, 0].astype(accumulator(U.dtype))}


def dropout_masks(draw, num_steps, num_maps, hidden_dim, dim_out, n_layers_init, n_layers_out):
    """Makes the factors of dropout for one block: nothing that is recurrent has one, and x_t has none.

    Args:
      draw: a function of a shape that returns the factors: 0 or 1 in training, `KEEP` at test time, None for
          no dropout.
      num_steps, num_maps, hidden_dim, dim_out: T, D, d, O.
      n_layers_init, n_layers_out: see `ReleasedAttentionLSTM`.

    Returns:
      A dict: `first_state`, one `<float>[D]` for each ReLU layer of the first state; `h`, of h_t into the
      classifier, `<float>[T, d]`; `hidden`, of its tanh layer, `<float>[T, O]`; `out`, one `<float>[T, O]`
      for each of its ReLU layers.
    """
    return {
        "first_state": [draw((num_maps,)) for _ in range(1, n_layers_init)],
        "h": draw((num_steps, hidden_dim)),
        "hidden": draw((num_steps, dim_out)),
        "out": [draw((num_steps, dim_out)) for _ in range(1, n_layers_out)],
    }
