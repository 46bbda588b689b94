"""Which clips the figures choose, filmstrips, captions, and what cannot be drawn."""

import dataclasses
import re

import numpy as np
import pytest

from attention_ar.errors import InputError
from experiments.paper_figures.filmstrips import Figure, choose, with_warning
from experiments.paper_figures.registry import draw_figure
from experiments.paper_figures.runs_shown import Survey, rank
from experiments.pictures.sheet import Panel, Row, write_sheet
from experiments.runs.config import with_flags
from experiments.runs.file_names import file_stem

LABELS = np.eye(3, dtype=np.uint8)[[0, 0, 1, 2, 1, 2]]
SAID = np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0, 0.7, 0.3], [0.6, 0, 0.4], [0, 0.95, 0.05], [0, 0.51, 0.49]])
SURVEY = Survey(np.arange(6), SAID, {"entropy": np.array([1.0, 2, 3, 4, 0, 5])}, {})


def test_the_surest_come_first_and_every_class_before_any_twice():
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
    expected = "2 clips of 6 wrongly classified, 4 wanted; instead, the least confident correctly classified"
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


@pytest.mark.slow
def test_filmstrips_stand_side_by_side_with_the_clips_own_frames(small_run, clips, tmp_path, pixels, colours):
    names = ["wave/clip 4 (#1).avi", "jump/clip 5 (#1).avi", "run/clip 5 (#1).avi"]
    (path,), remarks = draw_figure("10", [small_run], data_dir=clips, clips=names, output=tmp_path)
    assert path == tmp_path / "figure10.png" and remarks == []
    sheet = pixels(path)
    assert sheet.shape == (32 + 2 * (28 + 2 * 124 + 18) + 14 + 3 * 16 + 4, 2 * 660 + 14, 3)
    for name, left, top in zip(names, (4, 678, 4), (60, 60, 368), strict=True):
        for column in range(4):
            frame = sheet[top : top + 120, left + 164 * column : left + 164 * column + 160]
            np.testing.assert_allclose(frame[5:-5, 5:-5].mean((0, 1)), colours[name.partition("/")[0]], atol=12)
    assert (sheet[-52:] < 150).any()


def test_several_runs_take_turns(small_run, other_run, clips, tmp_path, pixels):
    (path,), remarks = draw_figure("1", [small_run, other_run], data_dir=clips, output=tmp_path, num_columns=1)
    assert pixels(path).shape[1] == 2 * 480 + 14
    assert remarks == [f"{other_run}: has λ = 10; the paper's figure 1 is of λ = 0"]


@pytest.mark.parametrize(
    ("figure", "options", "message"),
    [
        ("2", {}, "figure=2: that is the drawing of the model; there are 1, 3, 4, 5, 6, 7, 8, 9, 10, 11"),
        ("12", {}, "figure=12: no such figure; there are 1, 3,"),
        ("1", {"glimpse": "1,1"}, "glimpse=1,1: figure 1 does not take it; figure 5 does"),
        ("5", {}, "figure 5 needs --glimpse=row,col"),
        ("3", {}, "figure 3 compares attention penalties, and all runs given have λ = 0"),
        ("1", {"clips": ["nothing.avi"]}, "nothing.avi: no clip of that name"),
        ("1", {"clips": ["x"] * 13}, "13 clips named: at most 12"),
        ("1", {"data_dir": "/nowhere"}, "the clip is missing; --data_dir must name the folder"),
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
    pooled = dataclasses.replace(run.model, config=with_flags(run.model.config, model="average_pool"))
    monkeypatch.setattr("experiments.runs.trained.load", lambda workdir, checkpoint: pooled)
    with pytest.raises(
        InputError, match=r"small: model=average_pool has no attention to show; train soft_attention or"
    ):
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


def test_texts_beside_rows_have_room_of_their_own_and_rows_room_for_them(tmp_path, pixels):
    frames = np.zeros((2, 30, 40, 3), np.uint8)
    beside = ["bold", *["a line that is longer than the bold one"] * 3]
    write_sheet([Panel("", [Row(frames, beside=beside), Row(frames)])], tmp_path / "a.png", height=30)
    sheet = pixels(tmp_path / "a.png")
    assert sheet.shape[0] == 28 + (4 * 16 + 4) + (30 + 4)
    black = (sheet == 0).all(-1)
    left = int(np.flatnonzero(black.any(0))[0])
    assert black[28:58, left : left + 40].all() and black[96:126, left : left + 40].all()
    assert (sheet[28:92, :left] < 150).any() and (sheet[28:92, left - 8 : left] > 200).all()
