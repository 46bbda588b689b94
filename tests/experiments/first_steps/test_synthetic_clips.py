"""The quickstart, small and with the random network: every file that it promises, and what it says."""

import io
import json
import threading

import av
import numpy as np
import pytest
from PIL import Image

from attention_ar.errors import InputError
from data_prep.features.opening import open_features
from data_prep.networks import weights
from experiments.first_steps.network_choice import begun_recipe, choose_network
from experiments.first_steps.synthetic_clips import Sizes, quickstart, summarise
from experiments.html_report.contents import gather
from experiments.runs import trained
from experiments.runs.config import TrainingConfig
from experiments.runs.visualization import covering_blocks, find_clips, most_confident, original_frames, visualize

SMALL = Sizes(
    clips={"num_groups": 3, "clips_per_group": 1, "num_frames": 9},
    data={"stride": 3, "num_steps": 4, "validation_fraction": 0.5},
    model={"hidden_dim": 8, "num_layers": 1},
    training=TrainingConfig(batch_size=4, epochs=1),
)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart")
    quickstart(folder, "random", sizes=SMALL)
    return folder


@pytest.mark.slow
def test_it_leaves_what_it_promises_and_says_that_the_network_is_random(workdir, capsys):
    assert open_features(workdir / "features.h5").recipe["random"]
    scores = json.loads((workdir / "soft_attention" / "evaluation" / "test" / "scores.json").read_text())
    assert scores["num_videos"] == 4
    assert scores["random_network"]
    found = scores["localisation"]
    assert (found["num_clips"], found["num_frames"]) == (4, 4 * 7)  # Of 9 frames, blocks of 4 begin at 0 and 3.
    assert (found["clips_without_box"], found["frames_without_box"]) == (0, 0)
    assert 0.04 < found["area"] < 0.4
    assert found["mass"] == pytest.approx(found["area"] * found["ratio"])
    summary = (workdir / "summary.md").read_text()
    assert "**The network is RANDOM**" in summary
    assert "| soft attention | " in summary
    assert "| average-pooled LSTM | " in summary
    assert "chance is 25%. Features: an untrained GoogLeNet, 7×7×1024 numbers a frame." in summary
    pictures = list((workdir / "figures").glob("*.png"))
    assert pictures
    for picture in pictures:
        assert picture.name in summary
        assert picture.stat().st_size < 300_000
        assert picture.with_suffix(".gif").exists()
        with av.open(str(picture.with_suffix(".mp4"))) as film:
            assert sum(1 for _ in film.decode(video=0)) == 9
    # A second call finds everything done and says the same.
    again = quickstart(workdir, "random", sizes=SMALL)
    assert again["soft_attention"]["accuracy"] == scores["accuracy"]
    assert "drawing clips" not in capsys.readouterr().out


def test_summary_says_what_fell_short():
    scores = {
        name: {"class_names": list("abcd"), "num_videos": 16, "accuracy": accuracy, "epoch": 3}
        for name, accuracy in (("soft_attention", 0.4), ("average_pool", 0.6))
    }
    found = {"mass": 0.1, "area": 0.2, "ratio": 0.5, "pointing": 0.3, "pointing_chance": 0.15}
    scores["soft_attention"]["localisation"] = found
    text = summarise(scores, "EfficientNet-Lite0, 7×7×1280 numbers a frame", False, [], 60)
    assert "RANDOM" not in text
    assert "chance is 25%. Features: EfficientNet-Lite0, 7×7×1280 numbers a frame.\n" in text
    assert text.count("**Below expectation**") == 2
    assert "soft attention should reach twice chance" in text
    assert "0.50 times as dense" in text
    assert "30.0% of the frames, as a random one would in 15.0%" in text
    good = {**scores["average_pool"], "localisation": {**found, "mass": 0.3, "ratio": 1.5}}
    assert "Below expectation" not in summarise(scores | {"soft_attention": good}, "", False, [], 60)


@pytest.mark.slow
def test_pictures_of_named_clips(workdir, tmp_path):
    (picture,) = visualize(workdir / "soft_attention", clips=["bend_03_01.mp4"], output=tmp_path)
    assert picture == tmp_path / "bend_bend_03_01_mp4.png"
    with Image.open(picture) as image:
        assert image.width > image.height


@pytest.mark.slow
def test_frames_of_a_picture_are_those_of_the_features(workdir):
    """The random network is deterministic: its features of the frames that are shown are the stored ones."""
    from data_prep.networks.weights import load_googlenet
    from data_prep.video.frames import read_frames

    file = open_features(workdir / "features.h5")
    frames = original_frames(file, 2, np.array([3, 7]))
    assert frames.shape == (2, 240, 320, 3)
    path = workdir / "clips" / file.names[2]
    rgb = np.concatenate(list(read_frames(path, size=None, colour="rgb24")))
    np.testing.assert_array_equal(frames, rgb[[3, 7]])
    small = np.concatenate(list(read_frames(path)))[[3, 7]]
    stored = file.features[file.first_row[2] + np.array([3, 7])].astype(np.float32)
    found = load_googlenet("random")(small).astype(np.float32)
    np.testing.assert_allclose(found, stored, atol=2e-3 * stored.max())


@pytest.mark.slow
def test_reports_of_models_without_attention_play_the_frames(workdir):
    model = trained.load(workdir / "average_pool")
    contents, pictures = gather(model, workdir / "features.h5", max_clips=3)
    assert not contents["has_attention"] and contents["spread"] == {} and "attention" not in contents["scores"]
    assert len(pictures) == 3 < contents["scores"]["num_videos"]
    for clip, picture in zip(contents["clips"], pictures, strict=True):
        assert "attention" not in clip and not clip["missing"]
        assert (clip["height"], clip["width"]) == (180, 240)
        with Image.open(io.BytesIO(picture)) as sheet:
            assert sheet.size == (8 * 240, -(-len(clip["numbers"]) // 8) * 180)


@pytest.mark.slow
def test_bad_requests_for_pictures(workdir, tmp_path):
    cases = [
        ({"clips": ["nothing.mp4"]}, "nothing.mp4: no clip of that name"),
        ({"clips": ["_03_01.mp4"]}, "_03_01.mp4: 4 clips of that name"),
        ({"data_dir": tmp_path}, "the clip is missing; --data_dir must name"),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError, match=message):
            visualize(workdir / "soft_attention", output=tmp_path, **arguments)
    with pytest.raises(InputError, match="model=average_pool has no attention to show"):
        visualize(workdir / "average_pool", output=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("num_frames", "skip", "expected"),
    [
        (9, 1, [[0, 1, 2, 3], [4, 5, 6, 7], [5, 6, 7, 8]]),
        (8, 1, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (3, 1, [[0, 1, 2, 2]]),
        (12, 2, [[0, 2, 4, 6], [4, 6, 8, 10]]),
    ],
)
def test_a_clip_is_covered_to_its_end(num_frames, skip, expected):
    class File:
        first_row = np.array([100])

    File.num_frames = np.array([num_frames])
    blocks = covering_blocks(File, 0, num_steps=4, skip=skip)
    assert (blocks.rows - 100).tolist() == expected


@pytest.mark.slow
def test_features_of_another_network_are_not_mixed_in(workdir):
    with pytest.raises(InputError, match="another network than efficientnet_lite0; name another --workdir"):
        quickstart(workdir, "efficientnet_lite0", sizes=SMALL)


@pytest.fixture
def nothing_at_hand(tmp_path, monkeypatch):
    """No GoogLeNet on disk, and none to be had."""
    monkeypatch.delenv("ATTENTION_AR_GOOGLENET", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "MIRRORS", ())
    monkeypatch.setattr(weights.download, "__defaults__", ((), *weights.download.__defaults__[1:]))


def test_without_a_choice_it_is_googlenet_where_it_is_at_hand(nothing_at_hand, monkeypatch, capsys):
    assert choose_network({}).recipe["network"] == "efficientnet_lite0"
    assert "NOTE: no GoogLeNet in " in capsys.readouterr().out
    assert choose_network({"googlenet": "random"}).recipe["network"] == "random_googlenet"
    monkeypatch.setenv("ATTENTION_AR_GOOGLENET", "random")
    assert choose_network({}).recipe["network"] == "random_googlenet"
    monkeypatch.setenv("ATTENTION_AR_GOOGLENET", "/nothing.onnx")
    with pytest.raises(InputError, match=r"^/nothing.onnx: GoogLeNet cannot be read"):
        choose_network({})


def test_a_server_that_does_not_answer_is_not_waited_for(nothing_at_hand, monkeypatch, capsys):
    answer = threading.Event()
    monkeypatch.setattr("experiments.first_steps.network_choice.load_googlenet", lambda seconds: answer.wait(60))
    monkeypatch.setattr("experiments.first_steps.network_choice.PATIENCE", -4.9)
    assert choose_network({}).recipe["network"] == "efficientnet_lite0"
    assert "NOTE: no GoogLeNet is found or downloaded in time\n" in capsys.readouterr().out
    answer.set()


def test_what_the_user_has_named_is_waited_for(nothing_at_hand, monkeypatch):
    monkeypatch.setenv("ATTENTION_AR_GOOGLENET", "random")
    monkeypatch.setattr("experiments.first_steps.network_choice.PATIENCE", -5.0)  # It takes longer than the patience.
    assert choose_network({}).recipe["network"] == "random_googlenet"


@pytest.mark.slow
def test_an_interrupted_quickstart_resumes_with_its_own_network(workdir, nothing_at_hand, tmp_path):
    begun = begun_recipe(workdir / "features.h5")
    assert choose_network({}, begun).recipe["network"] == "random_googlenet"
    assert begun_recipe(tmp_path / "features.h5") is None
    (tmp_path / "features.h5.partial").mkdir()
    (tmp_path / "features.h5.partial" / "plan.json").write_text(json.dumps({"recipe": begun}))
    assert begun_recipe(tmp_path / "features.h5") == begun


def test_most_confident_right_and_wrong():
    class Found:
        predictions = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]])

    labels = np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    assert most_confident(Found, labels, True, 5) == [0, 3]
    assert most_confident(Found, labels, False, 1) == [2]
    assert find_clips(["a/x.avi", "b/x.avi", "x.avi"], ["x.avi", "b/x.avi"]) == [2, 1]
