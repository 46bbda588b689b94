"""The synthetic clips: real video files, boxes that fit, and nothing but the action that gives the class away."""

import csv

import numpy as np
import pytest
from PIL import Image

from attention_ar.errors import InputError
from data_prep.datasets import synthetic_clips
from data_prep.datasets.boxes import box_cell_weights, read_boxes
from data_prep.datasets.registry import list_clips
from data_prep.datasets.synthetic_clips import ACTIONS, HEIGHT, WIDTH, write_synthetic_clips
from data_prep.datasets.synthetic_scenes import SUPERSAMPLING, Pen
from data_prep.video.frames import read_frames
from data_prep.video.probe import probe

FRAMES = 14


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "clips"
    write_synthetic_clips(folder, num_groups=3, clips_per_group=1, num_frames=FRAMES, seed=3)
    return folder


@pytest.fixture(scope="module")
def index(folder):
    with (folder / "index.csv").open() as file:
        return list(csv.DictReader(file))


def test_it_is_a_folder_data_set_with_groups_on_one_side_each(folder, index):
    clips = list_clips("folder", folder)
    assert clips.class_names == ("bend", "jumping_jack", "walk", "wave") == tuple(ACTIONS)
    assert len(clips.clips) == len(index) == 12
    groups = {split: {row["group"] for row in index if row["split"] == split} for split in ("train", "test")}
    assert groups == {"train": {"group_01", "group_02"}, "test": {"group_03"}}
    for group in ("group_01", "group_02", "group_03"):
        assert sorted(row["label"] for row in index if row["group"] == group) == sorted(ACTIONS)


def test_nothing_else_lies_in_the_folder(folder, index):
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {"index.csv", "boxes.csv"} | {row["path"] for row in index}


def test_every_clip_is_a_whole_video(folder, index):
    for row in index:
        found = probe(folder / row["path"])
        assert (found.num_frames, found.fps, found.width, found.height) == (FRAMES, 25, WIDTH, HEIGHT)


def test_every_frame_has_a_box_of_the_right_size_inside_the_frame(folder, index):
    boxes = read_boxes(folder / "boxes.csv", lambda clip: (WIDTH, HEIGHT))
    assert {name: of_clip.frames.tolist() for name, of_clip in boxes.items()} == {
        row["path"]: list(range(FRAMES)) for row in index
    }
    areas = box_cell_weights(np.stack([of_clip.boxes for of_clip in boxes.values()]), WIDTH, HEIGHT).mean(-1)
    assert 0.1 < areas.mean() < 0.25 and areas.min() > 0.04 and areas.max() < 0.4


@pytest.mark.parametrize("action", ACTIONS)
def test_the_box_is_the_one_around_the_drawn_figure(action):
    look = synthetic_clips._look(np.random.default_rng(0), 0)
    for phase in np.linspace(0, 2 * np.pi, 7):
        canvas = Image.new("RGB", (WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING))
        pen = Pen(canvas, WIDTH / 2, 220)
        synthetic_clips._figure(pen, ACTIONS[action](phase), look, facing=-1)
        drawn = np.array(canvas.getbbox()) / SUPERSAMPLING
        np.testing.assert_allclose((*pen.low, *pen.high), drawn, atol=1.5)


def test_the_figure_moves_inside_its_box(folder):
    boxes = read_boxes(folder / "boxes.csv")
    frames = np.concatenate(list(read_frames(folder / "wave/wave_01_01.mp4", size=None, colour="rgb24"))).astype(int)
    x0, y0, x1, y1 = boxes["wave/wave_01_01.mp4"].boxes.mean(0).round().astype(int)
    arms = frames[:, y0 : y0 + (y1 - y0) // 4, x0:x1]
    sky = frames[:, :20, : max(20, x0 - 20)]
    assert np.abs(np.diff(arms, axis=0)).mean() > np.abs(np.diff(sky, axis=0)).mean()


def test_only_walking_moves_along(folder):
    boxes = read_boxes(folder / "boxes.csv")
    for name, of_clip in boxes.items():
        steps = np.diff((of_clip.boxes[:, 0] + of_clip.boxes[:, 2]) / 2)
        assert (abs(steps.mean()) > 2) == name.startswith("walk"), name


def test_long_walks_turn_round_inside_the_frame():
    look = synthetic_clips._look(np.random.default_rng(0), 0)
    clip = synthetic_clips._clip(np.random.default_rng(1), "walk", look, 150)
    boxes = np.array([box for _, box in clip])
    centers = (boxes[:, 0] + boxes[:, 2]) / 2
    assert (np.diff(centers) > 1).any() and (np.diff(centers) < -1).any()
    assert (boxes[:, 2] - boxes[:, 0] > 15).all()


def test_the_seed_decides_everything(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_synthetic_clips(tmp_path / name, num_groups=2, clips_per_group=1, num_frames=2, seed=seed)
    first, again, other = (
        {path.name: path.read_bytes() for path in sorted((tmp_path / name).rglob("*.*"))} for name in "abc"
    )
    assert first == again
    assert first.keys() == other.keys()
    assert [name for name in first if first[name] == other[name]] == ["index.csv"]


def test_groups_have_looks_of_their_own_and_actions_share_them(folder):
    def corner(name):  # above the figure and most of what moves
        return next(iter(read_frames(folder / name, size=None, colour="rgb24")))[0, :40].astype(int)

    means = {
        (action, group): corner(f"{action}/{action}_{group:02d}_01.mp4").mean((0, 1))
        for action in ACTIONS
        for group in (1, 2, 3)
    }
    within = [np.abs(means[a, g] - means["bend", g]).max() for a in ACTIONS for g in (1, 2, 3)]
    across = [np.abs(means["bend", g] - means["bend", h]).max() for g, h in ((1, 2), (1, 3), (2, 3))]
    assert max(within) < min(across)


@pytest.mark.parametrize("wrong", [{"num_groups": 1}, {"clips_per_group": 0}, {"num_frames": 0}, {"seed": -1}])
def test_impossible_numbers_are_refused_before_anything_is_written(tmp_path, wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        write_synthetic_clips(tmp_path / "clips", **wrong)
    assert not (tmp_path / "clips").exists()
