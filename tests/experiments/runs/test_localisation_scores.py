"""Attention against boxes: averages by hand, a trained model against loops over pixels, and what is refused."""

import csv
import json
import shutil

import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.datasets.synthetic_clips import HEIGHT, WIDTH, write_synthetic_clips
from data_prep.features.opening import open_features
from data_prep.loading.block_table import Blocks, cut_blocks
from data_prep.loading.feature_stores import OnDisk
from experiments.runs import trained
from experiments.runs.config import with_flags
from experiments.runs.evaluation import evaluate
from experiments.runs.localisation_scores import Localisation, describe_localisation
from experiments.runs.video_predictions import predict_blocks

CELLS, FRAMES = 3, 7  # Of the tiny features.
TEST_CLIPS = [f"{name}/clip {group} (#1).avi" for group in (4, 5) for name in ("jump", "run", "wave")]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Folder of 320 × 240 clips under the names of the tiny features' test part."""
    folder = tmp_path_factory.mktemp("clips")
    write_synthetic_clips(folder / "drawn", num_groups=2, clips_per_group=1, num_frames=1)
    for name in TEST_CLIPS:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(folder / "drawn" / "bend" / "bend_01_01.mp4", folder / name)
    return folder


@pytest.fixture
def write_boxes(tmp_path):
    def write(*rows):
        path = tmp_path / "boxes.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["path", "frame", "x0", "y0", "x1", "y1"], *rows])
        return path

    return write


def test_frames_count_once_in_a_clip_and_clips_once_in_all(clips, write_tiny, write_boxes):
    """On 3 × 3 cells of 320/3 × 80 pixels."""
    file = open_features(write_tiny(data_dir=str(clips)))
    first = file.first_row[12]  # The first test clip; the others follow.
    blocks = Blocks(np.array([12, 12, 13, 14]), first + np.array([[0, 1], [1, 1], [7, 8], [14, 15]]))
    boxes = write_boxes(
        [TEST_CLIPS[0], 0, 0, 0, WIDTH / 3, 80],  # The first cell.
        [TEST_CLIPS[0], 1, 0, 0, WIDTH / 3, 80],
        [TEST_CLIPS[0], 5, 0, 0, WIDTH / 3, 80],  # No block sees this frame,
        [TEST_CLIPS[1], 0, 0, 0, WIDTH / 2, HEIGHT],  # One and a half columns.
    )  # and the second frame of the second clip, and the third clip, have no box.
    l = np.zeros((4, 2, 9))
    l[0, 0, [0, 1]] = 0.5, 0.5  # The first of equals lies in the box.
    l[0, 1, [0, 8]] = 0.1, 0.9
    l[1, :, [0, 8]] = [[0.3, 0.2], [0.7, 0.8]]  # A short block repeats its last frame.
    l[2, 0, [0, 4, 8]] = 0.1, 0.6, 0.3  # All of a cell of the first column, half of one of the second.
    l[2, 1, 0] = l[3, :, 0] = 1.0
    localisation = Localisation(boxes, file, blocks)
    for part in (slice(0, 1), slice(1, 4)):
        localisation.add(blocks.rows[part], l[part])
    found = localisation.scores()
    counts = {"num_clips": 2, "num_frames": 3, "clips_without_box": 1, "frames_without_box": 1}
    assert {name: found[name] for name in counts} == counts
    mass = ((0.5 + 0.2) / 2 + 0.4) / 2  # Frame 1: the mean of 0.1, 0.3, 0.2.
    area = (1 / 9 + 1 / 2) / 2
    assert found["mass"] == pytest.approx(mass)
    assert found["area"] == pytest.approx(area)
    assert found["ratio"] == pytest.approx(mass / area)
    assert found["pointing"] == pytest.approx((0.5 + 1) / 2)
    assert found["pointing_chance"] == pytest.approx((1 / 9 + 6 / 9) / 2)

    def entropy(*p):
        return -sum(x * np.log(x) for x in p)

    first_clip = entropy(0.5, 0.5), np.mean([entropy(0.1, 0.9), entropy(0.3, 0.7), entropy(0.2, 0.8)])
    assert found["entropy"] == pytest.approx((np.mean(first_clip) + entropy(0.1, 0.6, 0.3)) / 2)
    assert {name: values["mass"] for name, values in found["by_class"].items()} == pytest.approx(
        {"jump": (0.5 + 0.2) / 2, "run": 0.4}
    )
    # Step 1: the first clip's two blocks, and the second clip. Step 2: the repeated frame is padding.
    assert [(step["step"], step["num_clips"]) for step in found["by_step"]] == [(1, 2), (2, 1)]
    assert [step["mass"] for step in found["by_step"]] == pytest.approx([((0.5 + 0.3) / 2 + 0.4) / 2, 0.1])
    text = describe_localisation({**found, "ratio": 1.23})
    assert "37.5 % of it, in 30.6 % of the frame, 1.23 times as dense" in text
    assert text.endswith("2 clips, 3 frames; without a box, and left out: 1 clips and 1 frames")


def test_uniform_attention_has_the_area_whatever_is_seen_how_often(clips, write_tiny, write_boxes):
    file = open_features(write_tiny(data_dir=str(clips)))
    random = np.random.default_rng(0)
    boxes = write_boxes(
        *(
            [name, frame, *random.integers(0, 100, 2), *random.integers(120, 240, 2)]
            for name in TEST_CLIPS
            for frame in range(FRAMES)
        )
    )
    blocks = Blocks(np.repeat(np.arange(12, 18), 3), 12 * FRAMES + random.integers(0, 6 * FRAMES, (18, 4)))
    localisation = Localisation(boxes, file, blocks)
    localisation.add(blocks.rows, np.full((18, 4, 9), 1 / 9))
    found = localisation.scores()
    assert found["ratio"] == pytest.approx(1, rel=1e-12)
    assert found["num_frames"] == len(np.unique(blocks.rows))


def test_steps_at_which_nothing_speaks_for_the_class_do_not_count(clips, write_tiny, write_boxes):
    file = open_features(write_tiny(data_dir=str(clips)))
    first_cell = [0, 0, WIDTH / 3, 80]
    boxes = write_boxes(*([TEST_CLIPS[0], frame, *first_cell] for frame in range(3)))
    blocks = Blocks(np.array([12, 12]), 12 * FRAMES + np.array([[0, 1, 2, 3], [1, 1, 2, 3]]))
    maps = np.zeros((2, 4, 9))
    maps[0, 0, [0, 4]] = 0.25, 0.75
    maps[1, 0, 0] = 1  # The other steps that see this frame have no place.
    maps[:, 3, 8] = 1  # no box
    localisation = Localisation(boxes, file, blocks, explain="evidence")
    localisation.add(blocks.rows, maps)
    found = localisation.scores()
    assert (found["num_frames"], found["frames_without_evidence"], found["frames_without_box"]) == (2, 1, 1)
    assert (found["num_clips"], found["clips_without_box"], found["explain"]) == (1, 0, "evidence")
    assert found["mass"] == pytest.approx((0.25 + 1) / 2)
    assert found["pointing"] == pytest.approx(0.5)
    text = describe_localisation(found)
    assert text.startswith("evidence in the boxes: 62.5 % of it, in 11.1 % of the frame")
    assert text.endswith("; where no cell speaks for the class, and left out: 1 frames")
    nothing = Localisation(boxes, file, blocks, explain="evidence")
    nothing.add(blocks.rows, np.zeros((2, 4, 9)))
    with pytest.raises(InputError, match="no cell speaks for the class in any frame that has a box; try --explain=att"):
        nothing.scores()


@pytest.mark.slow
def test_the_evidence_of_a_trained_model_is_where_its_class_is(small_run, clips, write_boxes, tmp_path):
    """The class of a clip is the map that is active in one cell of the middle row, the same in every frame."""
    rows = [[name, frame, 0, 80, WIDTH, 160] for name in TEST_CLIPS for frame in range(FRAMES)]
    arguments = {"boxes": write_boxes(*rows), "data_dir": clips, "output": tmp_path / "scores.json"}
    scores, folder, _ = evaluate(small_run, explain="evidence", **arguments)
    found = scores["localisation"]
    assert found["area"] == pytest.approx(1 / 3)
    assert found["mass"] > 0.8 and found["pointing"] > 0.9
    assert (folder / "localisation_evidence.csv").exists()


@pytest.mark.slow
def test_a_trained_model_against_loops_over_pixels(small_run, clips, write_boxes, write_tiny, tmp_path):
    """Rows are every second frame of the clips: box 2n belongs to row n, and odd ones to none."""
    features = write_tiny(native_fps=np.full(18, 20.0), data_dir="/nowhere")
    random = np.random.default_rng(1)
    rows = []
    for name in TEST_CLIPS[:5]:
        for frame in range(2 * FRAMES):
            (x0, x1), (y0, y1) = np.sort(random.choice(WIDTH + 1, 2, False)), np.sort(random.choice(HEIGHT, 2, False))
            rows.append([name, frame, x0, y0, x1, y1])
    arguments = {"boxes": write_boxes(*rows), "data_dir": clips, "features": features, "output": tmp_path / "s.json"}
    scores, folder, output = evaluate(small_run, batch_size=5, **arguments)
    found = json.loads(output.read_text())["localisation"]
    assert found == scores["localisation"]

    model = trained.load(small_run)
    file = model.open_features(features)
    blocks = cut_blocks(file, range(12, 18), 4, 10.0, 1)
    store = OnDisk(file, np.float32)
    attention = predict_blocks(model.predictor, model.params, store, blocks, 24, explain="attention")["maps"]
    by_frame = {}
    for block, l in enumerate(attention):
        for row, step in zip(blocks.rows[block], l, strict=True):
            by_frame.setdefault(int(row), []).append(step)
    # Enlarged to 960 × 720 pixels, cells and boxes have whole numbers of them.
    mass = {name: [] for name in TEST_CLIPS[:5]}
    area = {name: [] for name in TEST_CLIPS[:5]}
    for name, frame, x0, y0, x1, y1 in rows:
        row = file.first_row[file.names.index(name)] + frame // 2
        if frame % 2 or row not in by_frame:
            continue
        l = np.mean(by_frame[row], axis=0, dtype=float).reshape(CELLS, CELLS)
        pixels = np.kron(l, np.full((HEIGHT, WIDTH), 1 / (HEIGHT * WIDTH)))
        inside = np.zeros_like(pixels)
        inside[3 * y0 : 3 * y1, 3 * x0 : 3 * x1] = 1
        mass[name].append((pixels * inside).sum())
        area[name].append(inside.mean())
    assert found["mass"] == pytest.approx(np.mean([np.mean(values) for values in mass.values()]), rel=1e-5)
    assert found["area"] == pytest.approx(np.mean([np.mean(values) for values in area.values()]), rel=1e-9)
    assert (found["num_clips"], found["clips_without_box"]) == (5, 1)
    assert found["num_frames"] == sum(len(values) for values in area.values()) == 5 * FRAMES
    with (folder / "localisation.csv").open(encoding="utf-8") as lines:
        by_clip = list(csv.DictReader(lines))
    assert [line["path"] for line in by_clip] == TEST_CLIPS[:5]
    assert float(by_clip[3]["mass"]) == pytest.approx(np.mean(mass[TEST_CLIPS[3]]), abs=2e-6)


def test_what_fits_nothing_is_said(clips, write_tiny, write_boxes, capsys):
    file = open_features(write_tiny(data_dir=str(clips)))
    blocks = Blocks(np.array([12]), 12 * FRAMES + np.arange(4)[None])
    box = [1, 2, 3, 4]
    boxes = write_boxes([TEST_CLIPS[0], 1, *box], [TEST_CLIPS[0], FRAMES, *box], ["jump/\x1b[2Jelse\n.avi", 0, *box])
    Localisation(boxes, file, blocks)
    out = capsys.readouterr().out
    assert "1 of 2 clips are not in the features file, first jump/\\x1b[2Jelse\\n.avi\n" in out
    assert (
        f"1 box is of frames that do not exist: {TEST_CLIPS[0]} has a box for frame 7; frames count from 0, and it has "
        "7 at most\n" in out
    )
    with pytest.raises(
        InputError, match=r"no box in any frame of the 1 clips to be evaluated; its paths must be as in"
    ):
        Localisation(write_boxes([TEST_CLIPS[1], 0, *box]), file, blocks)
    with pytest.raises(InputError, match="line 2: the box leaves the frame; must lie within 0 and 320 across and 240"):
        Localisation(write_boxes([TEST_CLIPS[0], 0, 0, 0, 321, 4]), file, blocks)
    with pytest.raises(InputError, match=r"clip 4 \(#1\).avi: the clip is missing; --data_dir must name the folder"):
        Localisation(boxes, file, blocks, data_dir=clips / "drawn")


def test_a_model_without_attention_has_none_to_compare(small_run, write_boxes, monkeypatch):
    model = trained.load(small_run)
    object.__setattr__(model, "config", with_flags(model.config, model="average_pool"))
    monkeypatch.setattr(trained, "load", lambda *_: model)
    with pytest.raises(InputError, match="has no attention to compare with boxes; train soft_attention or released"):
        evaluate(small_run, boxes=write_boxes([TEST_CLIPS[0], 1, 1, 2, 3, 4]))
