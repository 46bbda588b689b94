"""The paper's figures: which clips they choose, what is measured for them, and the pictures, read back."""

import dataclasses
import functools
import json
import re
import shutil

import av
import jax
import numpy as np
import pytest
from PIL import Image

from attention_ar.errors import InputError
from attention_ar.optimizers import adam
from experiments import trained
from experiments.config import build_model, build_objective
from experiments.paper_figures.drawing import draw_figure
from experiments.paper_figures.filmstrips import Figure, choose, with_warning
from experiments.paper_figures.glimpse import GivenGlimpse, parse_glimpse
from experiments.paper_figures.looking import Survey, open_runs, rank
from experiments.paper_figures.penalties import CLAIMS, check_comparable, judge
from experiments.paper_figures.random_glimpse import draw_random_glimpse, optimise_W, random_W, with_W
from experiments.paper_figures.rates import at_rates, parse_rates
from experiments.sheet import MAX_BYTES, Panel, Row, write_sheet
from experiments.visualization import file_stem

COLOURS = {"jump": (200, 40, 40), "run": (40, 200, 40), "wave": (40, 40, 200)}
TEST_CLIPS = [f"{name}/clip {group} (#1).avi" for group in (4, 5) for name in COLOURS]  # of `tiny_features`


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    """Every run is loaded once for all tests here, and so compiled once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trained, "load", functools.cache(trained.load))
        yield


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Folder of the test clips: 7 frames of one colour each, 64×48 pixels."""
    folder = tmp_path_factory.mktemp("clips")
    for name in TEST_CLIPS:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mjpeg", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
            picture = np.full((48, 64, 3), COLOURS[name.partition("/")[0]], np.uint8)
            for _ in range(7):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
    return folder


@pytest.fixture(scope="module")
def run(small_run, clips):
    return open_runs([small_run], data_dir=clips)[0]


@pytest.fixture(scope="module")
def other_run(small_run, tmp_path_factory):
    """The same run, but its configuration says λ = 10."""
    workdir = tmp_path_factory.mktemp("run") / "lambda_10"
    shutil.copytree(small_run, workdir)
    config = json.loads((workdir / "config.json").read_text())
    config["objective"]["attention_penalty"] = 10.0
    (workdir / "config.json").write_text(json.dumps(config))
    return workdir


def pixels(path):
    assert path.stat().st_size <= MAX_BYTES
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


# --- Which clips ------------------------------------------------------------------------------------------------------

LABELS = np.eye(3, dtype=np.uint8)[[0, 0, 1, 2, 1, 2]]
SAID = np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0, 0.7, 0.3], [0.6, 0, 0.4], [0, 0.95, 0.05], [0, 0.51, 0.49]])
SURVEY = Survey(np.arange(6), SAID, {"entropy": np.array([1.0, 2, 3, 4, 0, 5])}, {})


def test_the_surest_come_first_and_one_of_each_class_before_the_second_of_any():
    assert rank(SURVEY, LABELS, True) == [4, 0, 1, 2]
    assert rank(SURVEY, LABELS, False) == [3, 5]


@pytest.mark.parametrize(
    ("right", "count", "changes", "expected"),
    [
        (True, 2, {}, [4, 0]),
        (True, 2, {"after": 2}, [1, 2]),
        (True, 2, {"after": 7}, [1, 2]),
        (True, 2, {"by_entropy": True}, [2, 1]),
        (False, 2, {}, [3, 5]),
        (False, 0, {}, []),
    ],
)
def test_what_a_figure_chooses(right, count, changes, expected):
    assert choose(SURVEY, LABELS, right, count, Figure("", **changes)) == (expected, "")


def test_where_there_are_not_enough_it_says_so_and_takes_the_least_sure():
    found, remark = choose(SURVEY, LABELS, False, 4, Figure(""))
    assert found == [3, 5, 2, 1]
    expected = "2 clips of 6 wrongly classified, 4 wanted; instead, the rightly classified that it is the least sure of"
    assert remark == expected
    survey = dataclasses.replace(SURVEY, predictions=LABELS * 0.9)
    assert choose(survey, LABELS, False, 1, Figure(""))[1].startswith("no clips of 6 wrongly classified, 1 wanted")


def test_no_two_clips_pictures_have_one_name():
    names = ["a/b.mp4", "a_b.mp4", "A/b.mp4", "a/c.mp4", "../é 1.avi", "x" * 300 + ".mp4", "x" * 300 + ".avi"]
    stems = [file_stem(name, names) for name in names]
    assert stems[3:5] == ["a_c_mp4", "_é_1_avi"]
    assert len({stem.casefold() for stem in stems}) == len(names)
    assert all(re.fullmatch(r"[\w-]{1,170}", stem) for stem in stems)
    assert file_stem(names[0], reversed(names)) == stems[0] == "a_b_mp4_b0a066fc"


# --- Fig. 3 -----------------------------------------------------------------------------------------------------------


def surveyed(health, **by_video):
    return Survey(np.arange(2), None, {name: np.array(values) for name, values in by_video.items()}, health)


def test_claims_are_held_against_the_numbers_and_reported_as_found():
    surveys = [
        (10.0, surveyed({"entropy": 3.8, "movement": 0.3}, entropy=[3.7, 3.9], movement=[0.2, 0.4])),
        (0.0, surveyed({"entropy": 2.0, "movement": 0.4}, entropy=[1.0, 3.0], movement=[0.1, 0.7])),
        (1.0, surveyed({"entropy": 3.0, "movement": 0.1}, entropy=[3.8, 2.2], movement=[0.1, 0.1])),
        (1.0, surveyed({"entropy": 3.2, "movement": 0.3}, entropy=[3.8, 2.6], movement=[0.3, 0.3])),
    ]
    everywhere, fixed = (judge(surveys, *claim) for claim in CLAIMS)
    assert everywhere["values"] == [
        {"attention_penalty": 0.0, "mean": 2.0},
        {"attention_penalty": 1.0, "mean": pytest.approx(3.1)},
        {"attention_penalty": 10.0, "mean": 3.8},
    ]
    assert (everywhere["holds"], everywhere["margin"]) == (True, pytest.approx(0.7))
    assert (everywhere["num_clips_it_holds_in"], everywhere["num_clips"]) == (1, 2)
    assert (fixed["holds"], fixed["margin"], fixed["num_clips_it_holds_in"]) == (False, pytest.approx(-0.2), 1)
    assert fixed["verdict"] == (
        "That with the smallest λ it stays fixed (the least movement) does not hold here: "
        "0.4000 at λ = 0, 0.2000 at λ = 1, 0.3000 at λ = 10; in 1 of 2 clips."
    )


def test_figure_3_has_a_row_for_each_run_and_its_numbers_beside_it(small_run, other_run, clips, tmp_path):
    paths, remarks = draw_figure(
        "3", [other_run, small_run], data_dir=clips, clips=["wave/clip 5 (#1).avi"], output=tmp_path
    )
    assert [path.name for path in paths] == [f"figure3_wave_clip_5_1_avi.{ending}" for ending in ("png", "json")]
    numbers = json.loads(paths[1].read_text())
    assert [entry["attention_penalty"] for entry in numbers["runs"]] == [0, 10]
    assert (numbers["clip"], numbers["num_clips"]) == ("wave/clip 5 (#1).avi", 6)
    assert [claim["holds"] for claim in numbers["claims"]] == [False, False]  # It is the same model.
    assert len(remarks) == 2 and all("does not hold here" in line and "0 of 6 clips" in line for line in remarks)
    sheet = pixels(paths[0])
    assert sheet.shape[0] == 32 + 28 + 3 * 124 + 18 + 3 * 16 + 4
    np.testing.assert_allclose(sheet[70:170, -150:-20].mean((0, 1)), COLOURS["wave"], atol=12)


def test_figure_3_refuses_what_cannot_be_compared(run):
    with pytest.raises(InputError, match=r"all runs given have λ = 0: give --workdir for each"):
        check_comparable([run, run])
    for changes, message in (
        ({"class_names": ["a", "b", "c"]}, r"has another set of classes \(a, b, c\) than .* \(jump, run, wave\)"),
        ({}, r"has another features file \(elsewhere.h5\)"),
    ):
        config = dataclasses.replace(
            run.model.config,
            data=dataclasses.replace(run.model.config.data, features="elsewhere.h5"),
            objective=dataclasses.replace(run.model.config.objective, attention_penalty=1.0),
        )
        model = dataclasses.replace(run.model, config=config, **changes)
        file = dataclasses.replace(run.file, names=["x"] * len(run.file.names))
        with pytest.raises(InputError, match=message):
            check_comparable([run, dataclasses.replace(run, model=model, file=file)])


# --- Fig. 5 -----------------------------------------------------------------------------------------------------------


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


def test_figure_5_shows_the_glimpse_where_it_is_said_to_be(small_run, clips, tmp_path):
    paths, remarks = draw_figure("5", [small_run], data_dir=clips, output=tmp_path, glimpse="0,2", num_columns=2)
    assert [path.name for path in paths] == ["figure5.png"]
    sheet = pixels(paths[0])
    last = sheet[60 + 2 * 124 : 60 + 2 * 124 + 120, -164:-4].sum(-1)
    brightest = np.unravel_index(last.argmax(), last.shape)
    assert brightest[0] < 40 and brightest[1] > 107
    assert last[60:, :80].max() < 150
    assert sum("under its own glimpse" in line for line in remarks) == 1


# --- Fig. 7 -----------------------------------------------------------------------------------------------------------


def test_rates(run):
    assert parse_rates("6,29.97") == [6, 29.97]
    for text in ("30", "6,x", "0,30", "inf,3", ""):
        with pytest.raises(InputError, match="must be two or more numbers"):
            parse_rates(text)
    slow, fast = at_rates([run], "5,10")
    video = run.file.names.index("run/clip 4 (#1).avi")
    assert (slow.skip(video), fast.skip(video), run.has_rate(video)) == (2, 1, True)
    assert not run.at_fps(30).has_rate(video)
    np.testing.assert_array_equal(slow.look(video).frames, [0, 2, 4, 6])
    assert at_rates([slow, fast], None) == [slow, fast]
    with pytest.raises(InputError, match="trained at 10, 10 fps"):
        at_rates([run, run], None)
    with pytest.raises(InputError, match="2 runs are shown at the rates that they were trained with"):
        at_rates([slow, fast], "6,30")


def test_figure_7_has_a_panel_for_each_rate(small_run, clips, tmp_path):
    (path,), _ = draw_figure("7", [small_run], data_dir=clips, output=tmp_path, rates="5,10", num_columns=2)
    assert pixels(path).shape[0] == 32 + 2 * (28 + 2 * 124 + 18) + 14 + 36
    with pytest.raises(InputError, match="asks for more frames than the 10 per second that are stored"):
        draw_figure("7", [small_run], data_dir=clips, output=tmp_path)


# --- Fig. 9 -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wanderer(run):
    """A model that has not learnt, with parameters large enough for its glimpse to matter, and a block for it."""
    random = np.random.default_rng(2)
    x = random.uniform(0, 2, (2, 4, 9, 8)).astype(np.float32)
    params = jax.tree.map(lambda p: random.normal(0, 0.7, p.shape).astype(np.float32), jax.device_get(run.model.params))
    config = run.model.config

    model, objective = build_model(config, 3, False), build_objective(config, False)

    def optimise(label, max_steps):
        lines, labels = [], np.eye(3, dtype=np.float32)[label]
        found, right = optimise_W(
            model, objective, params, x, labels, learning_rate=0.05, max_steps=max_steps, log=lines.append
        )
        return found, right, lines

    said, _ = jax.jit(model.apply)({"params": params}, x)
    return params, optimise, np.argsort(-np.asarray(jax.nn.softmax(said).mean((0, 1)))).tolist()


def test_only_W_is_optimised_until_the_clip_is_right(wanderer):
    params, optimise, (_, second, _) = wanderer
    found, right, lines = optimise(second, max_steps=100)
    assert right and 1 < len(lines) < 100
    assert [line["step"] for line in lines] == list(range(len(lines)))
    assert [line["right"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1]["prediction"] == second != lines[0]["prediction"]
    assert lines[-1]["cross_entropy"] < lines[0]["cross_entropy"]
    assert lines[-1]["probability"] > lines[0]["probability"]
    assert jax.tree.structure(found) == jax.tree.structure(params)
    for path, before in jax.tree_util.tree_leaves_with_path(params):
        after = found
        for key in path:
            after = after[key.key if hasattr(key, "key") else key.idx]
        same = np.asarray(after).tobytes() == before.tobytes()
        assert same == (path[0].key != "location_softmax"), path


def test_a_long_clips_gradient_is_that_of_all_its_blocks(run, wanderer):
    """Five blocks in batches of two, of which the last is filled up, against the mean over all five at once."""
    x = np.random.default_rng(3).uniform(0, 2, (5, 4, 9, 8)).astype(np.float32)
    params = wanderer[0]
    model, objective = build_model(run.model.config, 3, False), build_objective(run.model.config, False)

    @jax.jit
    def at_once(W, labels):
        def loss(W):
            logits, _ = model.apply({"params": with_W(params, W)}, x)
            return objective.cross_entropy(logits, labels).mean(), jax.nn.softmax(logits).mean((0, 1))

        return jax.value_and_grad(loss, has_aux=True)(W)

    W = jax.numpy.asarray(params["location_softmax"]["kernel"])
    labels = np.eye(3, dtype=np.float32)
    (_, said), _ = at_once(W, labels[[0] * 5])
    worst = int(said.argmin())
    lines, expected, state = [], [], adam(0.01).init(W)
    found, _ = optimise_W(
        model, objective, params, x, labels[worst], learning_rate=0.01, max_steps=3, log=lines.append, batch_size=2
    )
    for _ in lines:
        (cross_entropy, said), gradient = at_once(W, labels[[worst] * 5])
        expected.append((float(cross_entropy), float(said[worst])))
        last = W
        updates, state = adam(0.01).update(gradient, state, W)
        W = W + updates
    assert len(lines) == 4
    np.testing.assert_allclose([(line["cross_entropy"], line["probability"]) for line in lines], expected, rtol=1e-4)
    np.testing.assert_allclose(found["location_softmax"]["kernel"], last, atol=1e-5)


def test_it_stops_where_told_and_says_that_it_has_not_succeeded(wanderer):
    _, optimise, (best, _, worst) = wanderer
    _, right, lines = optimise(worst, max_steps=2)
    assert (right, len(lines), lines[-1]["right"]) == (False, 3, False)
    found, right, lines = optimise(best, max_steps=2)
    assert (right, len(lines)) == (True, 1)  # Right already: nothing is optimised.
    np.testing.assert_array_equal(found["location_softmax"]["kernel"], wanderer[0]["location_softmax"]["kernel"])


def test_random_W_is_uniform_between_its_extremes(run):
    params = {"location_softmax": {"kernel": np.linspace(-0.3, 0.1, 49 * 64, dtype=np.float32).reshape(64, 49)}}
    W = random_W(params, seed=3)
    assert (W.shape, W.dtype) == ((64, 49), np.float32)
    assert -0.3 <= W.min() < -0.29 and 0.09 < W.max() <= 0.1 and abs(W.mean() + 0.1) < 0.01
    np.testing.assert_array_equal(W, random_W(params, seed=3))
    assert np.any(random_W(params, seed=4) != W)
    assert with_W({**params, "b": 1}, W) == {"location_softmax": {"kernel": W}, "b": 1}


def test_figure_9_keeps_the_log_of_the_optimisation(small_run, clips, tmp_path, run):
    paths, remarks = draw_figure("9", [small_run], data_dir=clips, output=tmp_path, max_steps=3, num_columns=2)
    assert [path.name for path in paths] == ["figure9.png", "figure9.jsonl"]
    lines = [json.loads(line) for line in paths[1].read_text().splitlines()]
    assert lines[0].keys() == {
        "step", "cross_entropy", "probability", "prediction", "right", "entropy", "movement",
    }  # fmt: skip
    assert lines[0]["prediction"] in COLOURS and (lines[-1]["right"] or lines[-1]["step"] == 3)
    assert [line[:3] for line in remarks[-4:-1]] == ["(1)", "(2)", "(3)"]
    assert pixels(paths[0]).shape[0] == 32 + 28 + 4 * 124 + 18 + 36
    assert "the paper's figure 9 is of λ = 1" in remarks[0]
    released = dataclasses.replace(run.model.config.model, model="released")
    model = dataclasses.replace(run.model, config=dataclasses.replace(run.model.config, model=released))
    with pytest.raises(InputError, match=r"figure 9 is about W of Eq\. 4, which model=released does not have"):
        draw_random_glimpse(None, dataclasses.replace(run, model=model), tmp_path, None, split="test", num_columns=2)


# --- Filmstrips, and all of them --------------------------------------------------------------------------------------


def test_filmstrips_stand_side_by_side_with_the_clips_own_frames(small_run, clips, tmp_path):
    names = ["wave/clip 4 (#1).avi", "jump/clip 5 (#1).avi", "run/clip 5 (#1).avi"]
    (path,), remarks = draw_figure("10", [small_run], data_dir=clips, clips=names, output=tmp_path)
    assert path == tmp_path / "figure10.png" and remarks == []
    sheet = pixels(path)
    assert sheet.shape == (32 + 2 * (28 + 2 * 124 + 18) + 14 + 3 * 16 + 4, 2 * 660 + 14, 3)
    for name, left, top in zip(names, (4, 678, 4), (60, 60, 368), strict=True):
        for column in range(4):
            frame = sheet[top : top + 120, left + 164 * column : left + 164 * column + 160]
            np.testing.assert_allclose(frame[5:-5, 5:-5].mean((0, 1)), COLOURS[name.partition("/")[0]], atol=12)
    assert (sheet[-52:] < 150).any()


def test_several_runs_take_turns(small_run, other_run, clips, tmp_path):
    (path,), remarks = draw_figure("1", [small_run, other_run], data_dir=clips, output=tmp_path, num_columns=1)
    assert pixels(path).shape[1] == 2 * 480 + 14
    assert remarks == [f"{other_run}: has λ = 10; the paper's figure 1 is of λ = 0"]


@pytest.mark.parametrize(
    ("figure", "options", "message"),
    [
        ("2", {}, "figure=2: that is the drawing of the model; there are 1, 3, 4, 5, 6, 7, 8, 9, 10, 11"),
        ("12", {}, "figure=12: no such figure; there are 1, 3,"),
        ("1", {"glimpse": "1,1"}, "glimpse=1,1: figure 1 has no use for it; it is of figure 5"),
        ("5", {}, "figure 5 needs --glimpse=row,col"),
        ("3", {}, "figure 3 compares attention penalties, and all runs given have λ = 0"),
        ("1", {"clips": ["nothing.avi"]}, "nothing.avi: no clip of that name"),
        ("1", {"clips": ["x"] * 13}, "13 clips named: at most 12"),
        ("1", {"data_dir": "/nowhere"}, "the clip is not there; --data_dir must name the folder"),
    ],
)
def test_what_cannot_be_drawn(small_run, tmp_path, figure, options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        draw_figure(figure, [small_run], output=tmp_path / "out", **options)
    assert not list(tmp_path.glob("out/*"))


def test_more_runs_than_a_figure_is_of_and_models_without_attention(small_run, run, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="figure 9 is of one run: 2 work folders given"):
        draw_figure("9", [small_run, small_run], output=tmp_path)
    with pytest.raises(InputError, match="name clips with one --workdir"):
        draw_figure("1", [small_run, small_run], output=tmp_path, clips=["x"])
    pooled = dataclasses.replace(run.model, has_attention=False)
    monkeypatch.setattr("experiments.trained.load", lambda workdir, checkpoint: pooled)
    with pytest.raises(InputError, match=r"small: model=soft_attention has no attention to show; train soft_attention"):
        draw_figure("1", ["run_p"], output=tmp_path)


def test_captions(run):
    video = run.file.names.index("run/clip 4 (#1).avi")
    right, wrong = np.array([0.1, 0.625, 0.275]), np.array([0.7, 0.2, 0.1])
    assert run.verdict(video, right) == "correctly classified as “run” (0.62)"
    assert run.verdict(video, wrong) == "“run” misclassified as “jump” (0.70)"
    assert run.predicted(video, right) == ["correctly predicted as “run” (0.62)"]
    assert run.predicted(video, wrong) == ["incorrectly predicted as “jump” (0.70)", "it is “run” (0.20)"]
    assert run.describe() == f"soft_attention, λ = 0, epoch {run.model.epoch}, T = 4 at 10 fps"
    labels = run.file.labels.copy()
    labels[video] = [0, 1, 1]
    several = dataclasses.replace(run, file=dataclasses.replace(run.file, labels=labels))
    assert several.verdict(video, right) == "correctly classified as “run” (0.62); it is all of “run”, “wave”"
    assert several.verdict(video, wrong) == "“run”, “wave” misclassified as “jump” (0.70)"
    assert several.predicted(video, right) == ["correctly predicted as “run” (0.62)", "it is also “wave” (0.28)"]
    random = dataclasses.replace(run, file=dataclasses.replace(run.file, recipe={"random": True}))
    assert with_warning("Figure 1", [run]) == "Figure 1"
    assert with_warning("Figure 1", [run, random]) == "Figure 1 – features of a RANDOM network"


# --- The sheet --------------------------------------------------------------------------------------------------------


def test_texts_beside_rows_have_room_of_their_own_and_rows_room_for_them(tmp_path):
    frames = np.zeros((2, 30, 40, 3), np.uint8)
    beside = ["bold", *["a line that is longer than the bold one"] * 3]
    write_sheet([Panel("", [Row(frames, beside=beside), Row(frames)])], tmp_path / "a.png", height=30)
    sheet = pixels(tmp_path / "a.png")
    assert sheet.shape[0] == 28 + (4 * 16 + 4) + (30 + 4)
    black = (sheet == 0).all(-1)
    left = int(np.flatnonzero(black.any(0))[0])
    assert black[28:58, left : left + 40].all() and black[96:126, left : left + 40].all()
    assert (sheet[28:92, :left] < 150).any() and (sheet[28:92, left - 8 : left] > 200).all()
