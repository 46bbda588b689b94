"""Fig. 5: glimpses as a user gives them, and the prediction under them."""

import re

import jax
import numpy as np
import pytest

from attention_ar.errors import InputError
from experiments.paper_figures.figure5_glimpse import GivenGlimpse, parse_glimpse
from experiments.paper_figures.registry import draw_figure
from experiments.runs.build import build_model


def test_a_cell_and_a_box_as_glimpses():
    cell, name = parse_glimpse("2,5", 3, 7)
    np.testing.assert_array_equal(cell, np.eye(49)[[19] * 3])
    assert name == "at row 2, column 5"
    box, name = parse_glimpse("0, 1, 1, 2", 2, 3)
    np.testing.assert_array_equal(box, [[0, 0.25, 0.25, 0, 0.25, 0.25, 0, 0, 0]] * 2)
    assert name == "at rows 0–1, columns 1–2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3,0", "glimpse=3,0: rows and columns must be 0 to 2"),
        ("-1,0", "rows and columns must be 0 to 2"),
        ("1,1,0,2", "0 to 2, the first corner above and left of the second"),
        ("1", "must be row,col, or row0,col0,row1,col1, or the path of a .npy file"),
        ("1,1,2", "must be row,col"),
        ("middle", "must be row,col"),
        ("none.npy", "none.npy: no such file"),
    ],
)
def test_what_is_no_glimpse(text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        parse_glimpse(text, 4, 3)


def spoilt(row, **values):
    glimpse = np.full((4, 9), 1 / 9)
    for cell, value in values.items():
        glimpse[row, int(cell[1:])] = value
    return glimpse


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (spoilt(2, c1=np.nan), "row 2 has nan at cell 1;"),
        (spoilt(0, c8=np.inf), "row 0 has inf at cell 8;"),
        (spoilt(3, c0=-0.25, c1=0.25 + 2 / 9), "row 3 has -0.25 at cell 0; each must be a distribution"),
        (spoilt(1, c4=0.2), "row 1 sums to 1.08889;"),
        (np.full((4, 9), 1e308), "row 0 sums to inf;"),
        (np.ones((3, 9)) / 9, "<f8 of shape [3, 9]; must be <float>[4, 9]"),
        (np.ones((4, 9), complex) / 9, "<c16 of shape [4, 9]"),
        (np.array([{}], object), "not a .npy file of numbers"),
        (b"", "not a .npy file of numbers"),
        (b"PK\x03\x04 and more", "not a .npy file of numbers"),
        (
            b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 9), }".ljust(
                127
            )
            + b"\n",
            "not a .npy file of numbers",
        ),
    ],
)
def test_a_file_that_is_no_glimpse_is_one_line_about_its_first_bad_row(tmp_path, contents, message):
    path = tmp_path / "l.npy"
    if isinstance(contents, bytes):
        path.write_bytes(contents)
    else:
        np.save(path, contents, allow_pickle=True)
    with pytest.raises(InputError, match=re.escape(f"l.npy: {message}")) as error:
        parse_glimpse(str(path), 4, 3)
    assert "\n" not in str(error.value)


def test_a_file_of_glimpses_is_taken_as_it_is(tmp_path):
    glimpse = np.random.default_rng(0).dirichlet(np.ones(9), 4)
    np.save(tmp_path / "l.npy", 1.0005 * glimpse)
    found, name = parse_glimpse(str(tmp_path / "l.npy"), 4, 3)
    np.testing.assert_allclose(found, glimpse, rtol=1e-6)
    assert (found.dtype, name) == (np.float32, "from l.npy")


@pytest.mark.slow
def test_the_prediction_under_a_glimpse_is_the_models(run):
    """A clip of 7 frames is two blocks of 4, which overlap in one."""
    glimpse = np.random.default_rng(1).dirichlet(np.ones(9), 4).astype(np.float32)
    video = run.file.names.index("run/clip 4 (#1).avi")
    look = run.with_predictor(GivenGlimpse(run.model.predictor, glimpse)).look(video)
    first = run.file.first_row[video]
    x = np.float32(run.file.features[first : first + 7].reshape(7, 9, 8))[[[0, 1, 2, 3], [3, 4, 5, 6]]]
    model = build_model(run.model.config, 3, False)
    logits, _ = jax.jit(model.apply)({"params": jax.device_get(run.model.params)}, x, glimpse=np.stack([glimpse] * 2))
    np.testing.assert_allclose(look.prediction, jax.nn.softmax(logits).mean((0, 1)), atol=1e-6)
    np.testing.assert_array_equal(look.frames, range(7))
    np.testing.assert_array_equal(look.attention, glimpse[[0, 1, 2, 3, 1, 2, 3]])
    assert np.abs(look.prediction - run.look(video).prediction).max() > 1e-5


def test_figure_5_shows_the_glimpse_where_it_is_said_to_be(small_run, clips, tmp_path, pixels):
    paths, remarks = draw_figure("5", [small_run], data_dir=clips, output=tmp_path, glimpse="0,2", num_columns=2)
    assert [path.name for path in paths] == ["figure5.png"]
    sheet = pixels(paths[0])
    last = sheet[60 + 2 * 124 : 60 + 2 * 124 + 120, -164:-4].sum(-1)
    brightest = np.unravel_index(last.argmax(), last.shape)
    assert brightest[0] < 40 and brightest[1] > 107
    assert last[60:, :80].max() < 150
    assert sum("under its own glimpse" in line for line in remarks) == 1
