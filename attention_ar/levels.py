"""Attention over feature cubes of several resolutions: Eqs. 4 and 5 over all locations of all levels.

    m_t = softmax(W_m h_{t−1})          over the levels v
    a^v_t = softmax(W_v h_{t−1})        over the cells i of level v
    l_{t,(v,i)} = m_{t,v} a^v_{t,i}     one distribution over all locations
    x_t = Σ_v P_vᵀ (Σ_i l_{t,(v,i)} X^v_{t,i}) / σ_v

The paper's section 5 proposes attention over earlier, finer layers. The first level is the coarsest, the paper's 7×7
cube: its P is the identity and its σ 1. P_v of the others is a learnt D_v × D matrix, and σ_v the root mean square of
X^v over the training part, a constant. P_v acts after the sum, so it is one product of a matrix and a vector a level.

The distribution has two factors because a flat softmax over all locations would begin with 80 % of its mass on a level
of 14×14 cells, which has 196 of 245. With two factors every level begins with the same.

With hard attention or a window, a level and a cell are drawn at once, from l_t over all locations.

Everything here is for one block and one step, or for arrays with further axes in front.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from attention_ar.attention import expected_slice, location_softmax
from attention_ar.errors import InputError
from attention_ar.hard_attention import HardAttention, Samples, draws, looking, neighbourhoods, sampled_weights
from attention_ar.products import product


def locations(m, a):
    """l_t, one distribution over the locations of all levels.

    Example, two levels of one and of two cells:

        >>> import jax.numpy as jnp
        >>> from attention_ar.levels import locations
        >>> a = {"coarse": jnp.array([1.0]), "fine": jnp.array([0.25, 0.75])}
        >>> {level: l.tolist() for level, l in locations(jnp.array([0.5, 0.5]), a).items()}
        {'coarse': [0.5], 'fine': [0.125, 0.375]}

    Args:
      m: m_t, `<float>[V]`.
      a: a^v_t of each level, `<float>[K_v²]`, by the level's name, in the order of m.

    Returns:
      l_{t,(v,i)}, arrays like those of `a`; all of them together sum to 1.
    """
    return {level: m[v] * a_v for v, (level, a_v) in enumerate(a.items())}


def attend_levels(W_m, W, h):
    """m_t and l_t from h_{t-1}: where to look is decided before the frame is seen, as in Eq. 4.

    Args:
      W_m: `<float>[d, V]`.
      W: W_v of each level, `<float>[d, K_v²]`, by the level's name.
      h: hidden state of the top layer at step t − 1, `<float>[d]`.

    Returns:
      m_t, `<float>[V]`, and l_{t,(v,i)}, see `locations`.
    """
    m = jax.nn.softmax(product(W_m, h))
    return m, locations(m, {level: location_softmax(W_v, h) for level, W_v in W.items()})


def expected_slice_of_levels(l, X, P, scales):
    """x_t, the expectation of the projected feature slice over the locations of all levels.

    Example, a coarse level of one cell with D = 2, and a fine one of two cells with D_v = 1 and σ_v = 4:

        >>> import jax.numpy as jnp
        >>> from attention_ar.levels import expected_slice_of_levels
        >>> l = {"coarse": jnp.array([0.5]), "fine": jnp.array([0.0, 0.5])}
        >>> X = {"coarse": jnp.array([[2.0, 6.0]]), "fine": jnp.array([[9.0], [8.0]])}
        >>> P = {"fine": jnp.array([[1.0, 10.0]])}
        >>> expected_slice_of_levels(l, X, P, {"fine": 4.0}).tolist()  # (1, 3) + (4, 40) / 4
        [2.0, 13.0]

    Args:
      l: l_{t,(v,i)} of each level, `<float>[K_v²]`, by the level's name; the first level has no P.
      X: its feature cube X^v_t, `<float>[K_v², D_v]`.
      P: P_v of each further level, `<float>[D_v, D]`.
      scales: σ_v of each further level.

    Returns:
      x_t, `<float>[D]`.
    """
    slices = {level: expected_slice(l_v, X[level]) for level, l_v in l.items()}  # [Eq. 5] for each level
    return sum(
        product(P[level], attended) / scales[level] if level in P else attended for level, attended in slices.items()
    )


def looking_at_levels(hard: HardAttention | None, X, samples: Samples | None, glimpse):
    """Returns what `hard_attention.looking` does, for several levels.

    Args:
      hard: of the model; None is soft attention.
      X: feature cubes of each level, `<float>[B, T, K_v², D_v]`.
      samples: of the batch, or None; the noise is `<float>[B, T, n]` for n locations in all.
      glimpse: where the model is told to look.

    Returns:
      A function of l_t, X_t, P, the scales and the samples of step t, see `expected_slice_of_levels`, that returns x_t
      and a dict of further outputs; and the samples.
    """
    first, num_locations = next(iter(X.values())), sum(cubes.shape[2] for cubes in X.values())
    all_locations = jax.ShapeDtypeStruct((*first.shape[:2], num_locations, 1), first.dtype)
    is_drawn, (_, samples) = draws(hard, samples, glimpse), looking(hard, all_locations, samples, glimpse)

    def look(l, X_t, P, scales, samples_t):
        w, named = drawn_weights(l, hard, samples_t) if is_drawn else (l, {})
        return expected_slice_of_levels(w, X_t, P, scales), named

    return look, samples


def drawn_weights(l, hard: HardAttention, samples: Samples | None = None):
    """How much of each location is in x_t where (v, i) is drawn, see `hard_attention.sampled_weights`.

    A window is within the drawn level: N(s) are the cells within r rows and columns of s at its level.

    Args:
      l: l_{t,(v,i)} of each level, `<float>[K_v²]`, by the level's name.
      hard: of the model.
      samples: of this step, with noise over the locations of all levels, in the order of l; None takes the most
        probable location.

    Returns:
      Weights like l, of which all together sum to 1, and the dict of `sampled_weights`, over all locations.
    """
    near = neighbourhoods_of_levels([len(l_v) for l_v in l.values()], hard.window)
    _, named = sampled_weights(jnp.concatenate(list(l.values())), near, samples, hard.estimator)
    return by_level(named["glimpse"], l), named


def neighbourhoods_of_levels(num_cells, window: int) -> np.ndarray:
    """N(s) of every location, `<bool>[n, n]` for n locations of levels of so many cells, see `neighbourhoods`."""
    near = np.zeros((sum(num_cells),) * 2, bool)
    for end, count in zip(np.cumsum(num_cells), num_cells, strict=True):
        near[end - count : end, end - count : end] = neighbourhoods(count, window)
    return near


def by_level(flat, l):
    """Splits an array over all locations, `<float>[..., n]`, into arrays of the sizes of l, by the levels' names."""
    ends = np.cumsum([l_v.shape[-1] for l_v in l.values()]).tolist()
    return dict(zip(l, jnp.split(flat, ends[:-1], axis=-1), strict=True))


def summed_down(l, num_cells: int):
    """l_t on the cells of the coarsest level: the mass of all levels within each of its cells.

    Penalty, pictures, boxes and the attention's health are on these cells. On the locations themselves, the penalty's
    minimum for T = 30 would be (245 − 30)² / 245 = 188.7 instead of (49 − 30)² / 49 = 7.37.

    Example, one coarse cell over 2×2 fine ones:

        >>> import jax.numpy as jnp
        >>> from attention_ar.levels import summed_down
        >>> summed_down({"coarse": jnp.array([0.5]), "fine": jnp.full(4, 0.125)}, 1).tolist()
        [1.0]

    Args:
      l: l_{t,(v,i)} of each level, `<float>[..., K_v²]`, K_v a multiple of K.
      num_cells: K².

    Returns:
      `<float>[..., K²]`, which sums to 1.
    """
    side = math.isqrt(num_cells)

    def one(l_v):
        fine = math.isqrt(l_v.shape[-1]) // side
        return l_v.reshape(*l_v.shape[:-1], side, fine, side, fine).sum((-3, -1)).reshape(*l_v.shape[:-1], num_cells)

    return sum(one(l_v) for l_v in l.values())


def on_first_level(out, X):
    """Returns the outputs of all steps with `attention`, and `glimpse` where there is one, on the first level's cells.

    Args:
      out: has `locations`, l_t of each level `<float>[B, T, K_v²]`, and may have `glimpse`, over all locations.
      X: feature cubes of each level, `<float>[B, T, K_v², D_v]`, the first level first.
    """
    num_cells = next(iter(X.values())).shape[2]
    if "glimpse" in out:
        looked = by_level(out["glimpse"], {level: out["locations"][level] for level in X})
        out = out | {"glimpse": summed_down(looked, num_cells)}
    return out | {"attention": summed_down(out["locations"], num_cells)}


def check_scales(levels, scales):
    """Raises `InputError` where scales are not a number above 0 for each of the levels but the first."""
    if len(scales) != len(levels) - 1 or not all(scale > 0 for scale in scales):
        further = ", ".join(levels[1:]) or "no further level"
        raise InputError(f"level_scales={scales}: must be a number above 0 for each of {further}")


def check_levels(names, X):
    """Checks that feature cubes are those of some levels.

    Args:
      names: of the levels, the coarsest first.
      X: feature cubes by level, `<float>[B, T, K_v², D_v]`.

    Raises:
      InputError: where levels are missing or unexpected, or the cells of one do not divide those of the first.
    """
    if not isinstance(X, dict) or X.keys() != set(names):
        found = f"levels {', '.join(X)}" if isinstance(X, dict) else "one array"
        raise InputError(f"features are {found}: must be a dict of the levels {', '.join(names)}")
    first = X[names[0]]
    for name in names:
        if X[name].ndim != 4 or X[name].shape[:2] != first.shape[:2]:
            raise InputError(f"features of {name} of shape {X[name].shape}: must be [B, T, K², D], as of {names[0]}")
        side, fine = math.isqrt(first.shape[2]), math.isqrt(X[name].shape[2])
        if side**2 != first.shape[2] or fine**2 != X[name].shape[2] or fine % side:
            raise InputError(
                f"features of {name} have {X[name].shape[2]} cells: must be a square grid that divides each of the "
                f"{first.shape[2]} cells of {names[0]} alike"
            )
