"""The released model against its equations, written out once more in NumPy, in loops and in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_ar.errors import InputError
from attention_ar.released import ReleasedAttentionLSTM, ReleasedObjective, layout
from attention_ar.released.model import sigmoid

B, T, L, D, d, O, C = 3, 4, 5, 3, 4, 6, 2
EVERYTHING = {
    "n_layers_att": 3,
    "n_layers_out": 3,
    "n_layers_init": 3,
    "ctx2out": True,
    "selector": True,
    "temperature_inverse": 2,
}
VARIANTS = {
    "plain": {"use_dropout": False},
    "two attention layers": {"n_layers_att": 2, "use_dropout": False},
    "everything": EVERYTHING,
}


def make(**options):
    return ReleasedAttentionLSTM(num_classes=C, hidden_dim=d, dim_out=O, **options)


def random_params(model, seed=0):
    """Parameters of ordinary size: those of a fresh model are small or zero and would hide errors."""
    rng = np.random.RandomState(seed)
    shapes = layout.shapes(D, d, O, C, **model.structure())
    return {name: np.asarray(rng.normal(0, 0.7, shape)) for name, shape in shapes.items()}


def random_input(seed=1):
    rng = np.random.RandomState(seed)
    return rng.randn(B, T, L, D)


def sigma(v):
    return 1 / (1 + np.exp(-v))


def softmax(v):
    e = np.exp(v - v.max())
    return e / e.sum()


def oracle(p, X, mask, n_att, n_out, n_init, ctx2out, selector, inverse, half):
    """SPEC's released model for one block, step by step and cell by cell."""
    v = np.mean([X[t, i] for t in range(T) for i in range(L)], axis=0)
    for n in range(1, n_init):
        v = half * np.maximum(v @ p[f"ff_init_{n}_W"] + p[f"ff_init_{n}_b"], 0)
    h = np.tanh(v @ p["ff_state_W"] + p["ff_state_b"])
    c = np.tanh(v @ p["ff_memory_W"] + p["ff_memory_b"])
    logits, attention = [], []
    for t in range(T):
        e = np.zeros(L)
        for i in range(L):
            a = X[t, i] @ p["decoder_Wc_att"] + p["decoder_b_att"]
            for n in range(1, n_att):
                a = a @ p[f"decoder_W_att_{n}"] + p[f"decoder_b_att_{n}"]
                if n <= n_att - 2:
                    a = np.tanh(a)
            e[i] = (np.tanh(a + h @ p["decoder_Wd_att"]) @ p["decoder_U_att"] + p["decoder_c_tt"])[0]
        l = softmax(inverse * e)
        x = sum(l[i] * X[t, i] for i in range(L))
        if selector:
            x = sigma(h @ p["decoder_W_sel"][:, 0] + p["decoder_b_sel"]) * x
        gates = h @ p["decoder_U"] + x @ p["decoder_W"] + p["decoder_b"]
        i, f, o, g = gates[:d], gates[d : 2 * d], gates[2 * d : 3 * d], gates[3 * d :]
        if mask[t]:
            c = sigma(f) * c + sigma(i) * np.tanh(g)
            h = sigma(o) * np.tanh(c)
        z = half * h @ p["ff_logit_lstm_W"] + p["ff_logit_lstm_b"]
        if ctx2out:
            z = z + x @ p["ff_logit_ctx_W"] + p["ff_logit_ctx_b"]
        z = half * np.tanh(z)
        for n in range(1, n_out):
            z = half * np.maximum(z @ p[f"ff_logit_h{n}_W"] + p[f"ff_logit_h{n}_b"], 0)
        logits.append(z @ p["ff_logit_W"] + p["ff_logit_b"])
        attention.append(l)
    return np.stack(logits), np.stack(attention), h


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.slow
def test_equations(options, x64):
    model, X = make(**options), random_input()
    params = random_params(model)
    mask = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]], np.float64)
    logits, out = jax.jit(model.apply)({"params": params}, X, mask=mask)
    for b in range(B):
        expected_logits, expected_attention, last_h = oracle(
            params,
            X[b],
            mask[b],
            model.n_layers_att,
            model.n_layers_out,
            model.n_layers_init,
            model.ctx2out,
            model.selector,
            model.temperature_inverse,
            half=0.5 if model.use_dropout else 1,
        )
        np.testing.assert_allclose(logits[b], expected_logits, rtol=0, atol=1e-12)
        np.testing.assert_allclose(out["attention"][b], expected_attention, rtol=0, atol=1e-12)
        np.testing.assert_allclose(out["h"][b, -1], last_h, rtol=0, atol=1e-12)
    # Masked steps leave the state, and a block that is masked from the start keeps its first state.
    np.testing.assert_array_equal(out["h"][1, 1], out["h"][1, 0])
    np.testing.assert_array_equal(out["c"][1, 3], out["c"][1, 2])
    np.testing.assert_array_equal(out["c"][2], np.stack([out["first_c"][2]] * T))


@pytest.mark.slow
@pytest.mark.parametrize("multi_label", [False, True])
def test_gradient_against_finite_differences(multi_label, x64):
    """Every parameter array, all options on, against central differences along a random direction."""
    model = make(**EVERYTHING, multi_label=multi_label)
    objective = ReleasedObjective(0.3, 0.01, multi_label)
    params, X, rng = random_params(model), random_input(), np.random.RandomState(3)
    labels = np.array([[1, 1], [0, 0], [0, 1.0]]) if multi_label else np.eye(C)[[1, 0, 1]]
    mask = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [1, 1, 0, 0]], np.float64)

    @jax.jit
    @jax.value_and_grad
    def cost_and_gradients(params):
        logits, out = model.apply({"params": params}, X, mask=mask)
        return objective(params, logits, out, labels, jnp.ones(B), mask=mask)[0]

    _, gradients = cost_and_gradients(params)
    assert gradients.keys() == params.keys()
    for name, gradient in gradients.items():
        direction, step = rng.normal(size=params[name].shape), 1e-6
        up, _ = cost_and_gradients(params | {name: params[name] + step * direction})
        down, _ = cost_and_gradients(params | {name: params[name] - step * direction})
        np.testing.assert_allclose(np.sum(gradient * direction), (up - down) / (2 * step), rtol=1e-6, atol=1e-7)


def test_names_and_shapes_of_the_parameters():
    x = jnp.zeros((1, 2, L, D))
    plain = jax.eval_shape(make().init, jax.random.key(0), x)["params"]
    assert {name: leaf.shape for name, leaf in plain.items()} == {
        "ff_state_W": (3, 4),
        "ff_state_b": (4,),
        "ff_memory_W": (3, 4),
        "ff_memory_b": (4,),
        "decoder_W": (3, 16),
        "decoder_U": (4, 16),
        "decoder_b": (16,),
        "decoder_Wc_att": (3, 3),
        "decoder_Wd_att": (4, 3),
        "decoder_b_att": (3,),
        "decoder_U_att": (3, 1),
        "decoder_c_tt": (1,),
        "ff_logit_lstm_W": (4, 6),
        "ff_logit_lstm_b": (6,),
        "ff_logit_W": (6, 2),
        "ff_logit_b": (2,),
    }
    everything = jax.eval_shape(make(**EVERYTHING).init, jax.random.key(0), x)["params"]
    assert {name: leaf.shape for name, leaf in everything.items() if name not in plain} == {
        "ff_init_1_W": (3, 3),
        "ff_init_1_b": (3,),
        "ff_init_2_W": (3, 3),
        "ff_init_2_b": (3,),
        "decoder_W_att_1": (3, 3),
        "decoder_b_att_1": (3,),
        "decoder_W_att_2": (3, 3),
        "decoder_b_att_2": (3,),
        "decoder_W_sel": (4, 1),
        "decoder_b_sel": (),
        "ff_logit_ctx_W": (3, 6),
        "ff_logit_ctx_b": (6,),
        "ff_logit_h1_W": (6, 6),
        "ff_logit_h1_b": (6,),
        "ff_logit_h2_W": (6, 6),
        "ff_logit_h2_b": (6,),
    }


@pytest.mark.slow
def test_initial_values():
    """Square matrices orthogonal, gate by gate; all others N(0, 0.01²), and Wc_att although square; the rest 0."""
    model = ReleasedAttentionLSTM(num_classes=7, hidden_dim=32, dim_out=32, n_layers_att=2, selector=True)
    params = model.init(jax.random.key(0), jnp.zeros((1, 2, 4, 32)))["params"]
    gaussian = {"decoder_Wc_att", "decoder_U_att", "decoder_W_sel", "ff_logit_W"}
    for name, array in params.items():
        if array.ndim < 2:
            assert not np.any(array), name
        elif name in gaussian:
            assert 0.006 < np.std(array) < 0.014, name
        else:
            gates = np.split(np.asarray(array), 4 if name in ("decoder_W", "decoder_U") else 1, axis=1)
            for gate in gates:
                np.testing.assert_allclose(gate.T @ gate, np.eye(32), atol=1e-5, err_msg=name)
            assert not any(np.allclose(gates[0], gate) for gate in gates[1:]), name


@pytest.mark.slow
def test_cells_may_change_places():
    """Without weights of their own the cells are a set: attention moves with them and the prediction stays."""
    model, X, order = make(**EVERYTHING), random_input().astype(np.float32), [3, 0, 4, 1, 2]
    params = {name: value.astype(np.float32) for name, value in random_params(model).items()}
    apply = jax.jit(lambda x: model.apply({"params": params}, x))
    (logits, out), (moved_logits, moved) = apply(X), apply(X[:, :, order])
    np.testing.assert_allclose(moved["attention"], out["attention"][:, :, jnp.array(order)], atol=1e-6)
    np.testing.assert_allclose(moved_logits, logits, atol=1e-5)
    np.testing.assert_allclose(np.sum(out["attention"], axis=-1), 1, atol=1e-6)


class TestDropout:
    model = make(n_layers_init=2, n_layers_out=2)

    def apply(self, model=model, **arguments):
        params = {name: value.astype(np.float32) for name, value in random_params(model).items()}
        return jax.jit(lambda x: model.apply({"params": params}, x, **arguments))(random_input().astype(np.float32))

    def masks(self, fill):
        shapes = {"first_state": [(B, D)], "h": (B, T, d), "hidden": (B, T, O), "out": [(B, T, O)]}
        return jax.tree.map(lambda s: jnp.full(s, fill), shapes, is_leaf=lambda s: isinstance(s, tuple))

    @pytest.mark.slow
    def test_everything_counts_half_at_test_time(self):
        np.testing.assert_allclose(self.apply()[0], self.apply(dropout_masks=self.masks(0.5))[0], rtol=1e-6)

    @pytest.mark.slow
    def test_not_inverted(self):
        """In training nothing is scaled: to keep every unit is to have no dropout."""
        expected, _ = self.apply(self.model.clone(use_dropout=False), train=True)
        np.testing.assert_allclose(self.apply(dropout_masks=self.masks(1.0))[0], expected, rtol=1e-6)

    def test_a_kept_mask_decides_alone(self):
        """All units dropped before the last map: only its bias is left."""
        masks = self.masks(1.0) | {"out": [jnp.zeros((B, T, O))]}
        logits, _ = self.apply(dropout_masks=masks, train=True)
        bias = random_params(self.model)["ff_logit_b"]
        np.testing.assert_allclose(logits, np.broadcast_to(bias, (B, T, C)), rtol=1e-6)

    def test_key_and_example_decide(self):
        params = {name: value.astype(np.float32) for name, value in random_params(self.model).items()}
        x = np.repeat(random_input().astype(np.float32)[:1], B, axis=0)

        @jax.jit
        def apply(seed, index):
            rngs = {"dropout": jax.random.key(seed)}
            return self.model.apply({"params": params}, x, train=True, rngs=rngs, example_index=index)[0]

        logits = np.asarray(apply(5, jnp.arange(B)))
        np.testing.assert_array_equal(apply(5, jnp.array([2, 0, 1])), logits[[2, 0, 1]])
        assert not np.allclose(apply(6, jnp.arange(B)), logits)
        assert not np.allclose(logits[0], logits[1])  # of equal blocks

    @pytest.mark.slow
    def test_the_recurrence_is_spared(self):
        """Without layers in front of the first state no mask reaches state or attention."""
        logits, out = self.apply(make(), train=True, rngs={"dropout": jax.random.key(0)})
        test_logits, test_out = self.apply(make())
        for name in ("h", "c", "x", "attention"):
            np.testing.assert_allclose(out[name], test_out[name], rtol=1e-5)
        assert not np.allclose(logits, test_logits)

    def test_half_of_the_units(self):
        """With h and the tanh layer in one to one relation, a unit comes through both masks with probability 1/4."""
        model = ReleasedAttentionLSTM(num_classes=1, hidden_dim=64, dim_out=64)
        params = {name: np.zeros(shape, np.float32) for name, shape in layout.shapes(1, 64, 64, 1).items()}
        params |= {"ff_state_b": np.full(64, 20, np.float32), "ff_logit_lstm_W": 1e-3 * np.eye(64, dtype=np.float32)}
        params |= {"ff_logit_W": np.ones((64, 1), np.float32)}
        # The mask keeps h at its first value, 1.
        arguments = {"mask": np.zeros((16, 8), np.float32), "rngs": {"dropout": jax.random.key(1)}}
        apply = jax.jit(lambda x: model.apply({"params": params}, x, train=True, **arguments))
        kept = np.asarray(apply(np.zeros((16, 8, 1, 1), np.float32))[0])[..., 0] / 1e-3
        # 128 times 64 units: the mean has a deviation of √(64 · 3/16 / 128) = 0.31.
        assert abs(kept.mean() - 16) < 3 * 0.31
        assert len(np.unique(kept.round())) > 10


def test_type_of_the_parameters_is_that_of_the_input(x64):
    for dtype in ("float32", "float64"):
        params = jax.eval_shape(make().init, jax.random.key(0), jnp.zeros((1, 2, L, D), dtype))["params"]
        assert {leaf.dtype for leaf in params.values()} == {np.dtype(dtype)}


@pytest.mark.slow
def test_saturated_sigmoid(x64):
    """Theano's is 1 above 15 in float32 and above 19 in float64, with gradient 0."""
    for dtype, edge in ((jnp.float32, 15), (jnp.float64, 19)):
        v = jnp.array([0.0, edge - 0.5, edge + 0.5, 800.0, -800.0], dtype)
        np.testing.assert_array_equal(sigmoid(v)[2:], [1, 1, 0])
        assert sigmoid(v)[0] == 0.5 and sigmoid(v)[1] < 1
        gradient = jax.grad(lambda v: jnp.sum(sigmoid(v)))(v)
        np.testing.assert_array_equal(gradient[2:], 0)
        assert np.all(gradient[:2] > 0)


def test_bad_input():
    params = {"params": {name: value.astype(np.float32) for name, value in random_params(make()).items()}}
    with pytest.raises(InputError, match=r"must be \[B, T, K², D\]"):
        make().apply(params, jnp.zeros((2, L, D)))
    with pytest.raises(InputError, match=r"mask of shape \(2, 1\)"):
        make().apply(params, jnp.zeros((1, 2, L, D)), mask=jnp.ones((2, 1)))
    with pytest.raises(InputError, match="n_layers_att=0: must be 1 or greater"):
        make(n_layers_att=0)
