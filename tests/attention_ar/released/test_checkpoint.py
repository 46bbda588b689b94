"""Checkpoints of the released program: a real one, what may be wrong with one, and ours."""

import io
import pickle
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_ar.errors import InputError
from attention_ar.released import ReleasedAttentionLSTM, layout, read_model, write_model

RECORDED = Path(__file__).parents[2] / "golden/t191_ucf11_adam/run/model_t191.npz"
OPTIONS = {"n_layers_att": 3, "n_layers_out": 2, "n_layers_init": 3, "ctx2out": True, "selector": True}
SHAPES = layout.shapes(num_maps=6, hidden_dim=4, dim_out=5, num_classes=3, **OPTIONS)


@pytest.fixture
def params():
    rng = np.random.RandomState(0)
    return {name: np.asarray(rng.normal(size=shape), np.float32) for name, shape in SHAPES.items()}


def saved(folder, arrays):
    path = folder / "model.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.slow
def test_a_checkpoint_of_the_authors():
    """It has members beside the parameters, one of them pickled, which are left alone."""
    with zipfile.ZipFile(RECORDED) as archive:
        members = {name.removesuffix(".npy") for name in archive.namelist()}
    assert {"zipped_params", "history_errs", "train_err", "valid_err", "test_err"} <= members
    model, params = read_model(RECORDED, use_dropout=False, last_n=6)
    expected = ReleasedAttentionLSTM(num_classes=4, hidden_dim=16, dim_out=12, use_dropout=False, last_n=6)
    assert model == expected
    assert params.keys() == members - {"zipped_params", "history_errs", "train_err", "valid_err", "test_err"}
    assert all(array.dtype == np.float32 for array in params.values())
    logits, out = model.apply({"params": params}, jnp.zeros((2, 3, 49, 32)))
    assert logits.shape == (2, 3, 4) and out["attention"].shape == (2, 3, 49)


def test_options_are_read_off_the_arrays(tmp_path, params):
    model, read = read_model(saved(tmp_path, params), multi_label=True, temperature_inverse=2)
    assert model == ReleasedAttentionLSTM(
        num_classes=3, hidden_dim=4, dim_out=5, multi_label=True, temperature_inverse=2, **OPTIONS
    )
    for name, array in params.items():
        np.testing.assert_array_equal(read[name], array)


def test_written_and_read_again(tmp_path, params):
    write_model(tmp_path / "model.npz", jax.tree.map(jnp.asarray, params))
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:  # As the program does it.
        assert set(file.files) == set(SHAPES)
    _, read = read_model(tmp_path / "model.npz")
    assert all(np.array_equal(read[name], params[name]) for name in params)
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]


def test_everything_wrong_is_named_in_one_line(tmp_path, params):
    del params["decoder_U_att"], params["ff_init_1_b"]
    params |= {"surplus": np.zeros(2, np.float32), "ff_state_W": np.zeros((6, 5), np.float32)}
    with pytest.raises(InputError) as caught:
        read_model(saved(tmp_path, params))
    assert str(caught.value).removeprefix(str(tmp_path)) == (
        "/model.npz: does not fit the released model: ff_init_1_b is missing; decoder_U_att is missing; "
        "surplus is not in the model; ff_state_W is [6, 5], must be [6, 4]"
    )


def test_options_given_are_checked(tmp_path, params):
    path = saved(tmp_path, params)
    with pytest.raises(
        InputError, match=r"ff_logit_W is \[5, 3\], must be \[5, 11\]; ff_logit_b is \[3\], must be \[11\]$"
    ):
        read_model(path, num_classes=11)
    with pytest.raises(InputError, match=r"decoder_W_sel is not in the model; decoder_b_sel is not in the model$"):
        read_model(path, selector=False)


class Evil:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "gotcha")


def test_a_pickled_array_that_is_needed_is_refused(tmp_path, params):
    """The pickled array has the right shape; nothing in it is run."""
    victim = tmp_path / "victim"
    objects = np.empty(16, object)
    objects[:] = [Evil(victim)] * 16
    with pytest.raises(InputError, match=r"decoder_b is pickled; must be float32 or float64, and nothing is unpickled"):
        read_model(saved(tmp_path, params | {"decoder_b": objects}))
    read_model(saved(tmp_path, params | {"zipped_params": objects}))
    assert not victim.exists()


def test_other_types_and_numbers(tmp_path, params):
    with pytest.raises(InputError, match=r"decoder_b is int64; must be float32 or float64"):
        read_model(saved(tmp_path, params | {"decoder_b": np.zeros(16, np.int64)}))
    for bad in (np.nan, np.inf):
        with pytest.raises(InputError, match=r"NaN or Inf in ff_logit_b; all numbers must be finite"):
            read_model(saved(tmp_path, params | {"ff_logit_b": np.array([0, bad, 0], np.float32)}))
    _, read = read_model(saved(tmp_path, {name: array.astype(">f8") for name, array in params.items()}))
    assert all(array.dtype == np.float64 and array.dtype.isnative for array in read.values())


def test_numbers_of_layers_that_nobody_has(tmp_path, params):
    params["ff_logit_h999999999_W"] = np.zeros((5, 5), np.float32)
    with pytest.raises(InputError, match=r"ff_logit_h2_W is missing.*ff_logit_h999999999_W is not in the model"):
        read_model(saved(tmp_path, params))


def test_files_that_are_no_checkpoints(tmp_path):
    with pytest.raises(InputError, match=r"lacks ff_state_W, ff_state_b, .*, ff_logit_W, ff_logit_b$"):
        read_model(saved(tmp_path, {"x": np.zeros(3)}))
    path = tmp_path / "model.npz"
    for content in (b"", b"text", pickle.dumps({"x": 1}), b"PK\x03\x04" + bytes(100)):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"not a readable .npz file"):
            read_model(path)
    with pytest.raises(InputError, match=r"No such file"):
        read_model(tmp_path / "absent.npz")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("decoder_b.npy", b"no array")
    with pytest.raises(InputError, match=r"not a readable .npz file"):
        read_model(path)


def test_damage_is_noticed(tmp_path, params):
    """Flipped bytes and lost ends make an InputError or nothing worse than other numbers, never another exception."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **params)
    whole, rng, path = buffer.getvalue(), np.random.RandomState(0), tmp_path / "model.npz"
    refused = 0
    for trial in range(60):
        content = bytearray(whole)
        if trial % 2:
            content = content[: rng.randint(len(whole))]
        else:
            for position in rng.randint(len(whole), size=8):
                content[position] ^= 1 << rng.randint(8)
        path.write_bytes(content)
        try:
            read_model(path)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 40
