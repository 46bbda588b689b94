"""The statistics, by hand and by the real network, right and with the mistakes that are made."""

import dataclasses
import json
import re

import jax
import numpy as np
import pytest
from PIL import Image

from attention_ar.googlenet import GoogLeNet
from data_prep.features import statistics
from data_prep.features.statistics import FeatureStatistics, deviations, drawn_pictures, measure, network_fault, sample
from data_prep.networks.weights import read_googlenet

BVLC = {"network": "bvlc_googlenet"}
MEAN = np.array([104, 117, 123], np.float32)


def test_statistics_by_hand():
    rows = np.zeros((2, 2, 2, 3), np.float16)
    rows[0, 0, 1, 2] = 6
    rows[1, 0, 1, 0] = 18
    found = measure(rows)
    assert found == FeatureStatistics(
        num_frames=2,
        mean=1.0,
        zeros=22 / 24,
        not_finite=0.0,
        dead_maps=1,
        num_maps=3,
        cell_means=[[0.0, 4.0], [0.0, 0.0]],
    )
    assert str(found) == "mean 1.000, 91.7 % zeros, 1 of 3 channels dead, cells' means 0.00 to 4.00"


def test_numbers_that_are_not_finite_are_counted():
    rows = np.ones((1, 2, 2, 5), np.float16)
    rows[0, 1, 1, 4] = np.inf
    found = measure(rows)
    assert found.not_finite == 0.05
    assert deviations(found, {"network": "fake"}) == ["5 % are not finite"]


def test_what_is_unexpected():
    good = FeatureStatistics(100, mean=0.8, zeros=0.84, not_finite=0.0, dead_maps=3, num_maps=1024, cell_means=[[0.8]])
    assert deviations(good, BVLC) == []
    bad = dataclasses.replace(good, mean=0.46, zeros=0.726, dead_maps=330)
    assert deviations(bad, BVLC) == [
        "mean 0.46 instead of 0.5 to 0.95",
        "zeros 0.726 instead of 0.77 to 0.88",
        "dead maps 330 instead of 0 to 150",
    ]
    assert deviations(bad, {"network": "random_googlenet"}) == []
    assert deviations(dataclasses.replace(good, num_frames=2, dead_maps=330), BVLC) == []


@dataclasses.dataclass
class Contents:
    features: np.ndarray
    num_frames: np.ndarray
    recipe: dict = dataclasses.field(default_factory=lambda: BVLC)
    levels: dict = dataclasses.field(default_factory=dict)

    @property
    def names(self):
        return [str(n) for n in self.num_frames]

    @property
    def first_row(self):
        return np.cumsum(self.num_frames) - self.num_frames


def test_the_sample_is_spread_evenly():
    """300 clips of 20 frames, each row full of its clip's number: 256 of them, the first and the last included."""
    num_frames = np.full(300, 20)
    rows = np.repeat(np.arange(300), num_frames).astype(np.float16)
    found = sample(Contents(np.broadcast_to(rows[:, None, None, None], (len(rows), 1, 1, 2)), num_frames))
    assert found.num_frames == 2048
    assert found.mean == pytest.approx(149.5)
    few = sample(Contents(np.ones((3, 1, 1, 2), np.float16), np.array([1, 2])))
    assert few.num_frames == 3


def test_report(tmp_path, capsys):
    rows = np.zeros((20, 1, 1, 10), np.float16)
    rows[..., :2] = 4
    statistics.report(Contents(rows, np.array([20])), tmp_path / "my.features.h5")
    assert capsys.readouterr().out == (
        "features of 8 frames: mean 0.800, 80.0 % zeros, 8 of 10 channels dead, cells' means 0.80 to 0.80\n"
        "that is as expected of bvlc_googlenet\n"
    )
    kept = json.loads((tmp_path / "my.features.statistics.json").read_text())
    assert (kept["num_frames"], kept["dead_maps"], kept["cell_means"], kept["unexpected"]) == (8, 8, [[0.8]], [])
    statistics.report(Contents(rows / 2, np.array([20])), tmp_path)
    printed = capsys.readouterr().out
    assert "NOTE: unlike real video through bvlc_googlenet: mean 0.4 instead of 0.5 to 0.95. Synthetic clips" in printed
    assert json.loads((tmp_path / "statistics.json").read_text())["unexpected"] == ["mean 0.4 instead of 0.5 to 0.95"]


def test_drawn_pictures_are_the_same_everywhere():
    pictures = drawn_pictures()
    assert pictures.shape == (3, 224, 224, 3) and pictures.dtype == np.uint8
    assert pictures[0, 45, 167].tolist() == [30, 60, 240]  # the sun is red
    assert pictures[0, 0, 0].tolist() == [220, 120, 40] and pictures[1, 120, 112].tolist() == [160, 40, 30]
    means = [[123.5, 134.0, 79.0], [121.2, 130.4, 154.4], [127.7, 126.9, 128.7]]
    assert pictures.mean(axis=(1, 2)).round(1).tolist() == means


@pytest.fixture(scope="module")
def network(shared):
    return read_googlenet(shared("weights/bvlc_googlenet.onnx"))


@pytest.fixture(scope="module")
def mistaken(network):
    """The real network, given frames as a function of them in the place of frames minus mean; batches of 4."""

    @jax.jit
    def features(params, x):
        return GoogLeNet().apply({"params": params}, x)[1]["features"]

    def make(wrong):
        def call(frames):
            assert len(frames) == 4
            return np.asarray(features(network.params, wrong(frames.astype(np.float32)))).astype(np.float16)

        call.recipe = network.recipe
        return call

    return make


MISTAKES = {
    "RGB for BGR": lambda frames: frames[..., ::-1] - MEAN,
    "no mean": lambda frames: frames,
    "mean of the other order": lambda frames: frames - MEAN[::-1],
    "one mean for all colours": lambda frames: frames - np.float32(128),
    "0 to 1": lambda frames: frames / np.float32(255),
    "-1 to 1": lambda frames: frames / np.float32(127.5) - np.float32(1),
    "twice the scale": lambda frames: 2 * (frames - MEAN),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.slow
def test_mistakes_are_caught_before_the_first_frame(mistaken, mistake):
    fault = network_fault(mistaken(MISTAKES[mistake]), frame_batch=4)
    assert re.fullmatch(r"drawn picture [12] has mean .* through bvlc_googlenet instead of .*must be BGR.*", fault)


@pytest.mark.slow
def test_the_right_network_passes(mistaken):
    assert network_fault(mistaken(lambda frames: frames - MEAN), frame_batch=4) == ""


@pytest.mark.slow
def test_photographs(mistaken, shared):
    """84 % zeros and a mean of 0.8, more or less; the mistakes show."""
    photos = [Image.open(path).convert("RGB") for path in sorted(shared("weights/photos").iterdir())]
    frames = np.stack([np.asarray(photo.resize((224, 224), Image.Resampling.BILINEAR))[..., ::-1] for photo in photos])
    frames = np.concatenate([frames, frames])

    def statistics(wrong):
        return measure(mistaken(wrong)(frames)[:2])

    right = statistics(lambda frames: frames - MEAN)
    assert right.zeros == pytest.approx(0.832, abs=0.003) and right.mean == pytest.approx(0.700, abs=0.005)
    assert deviations(right, BVLC) == []
    rgb, no_mean, unit = (statistics(MISTAKES[mistake]) for mistake in ("RGB for BGR", "no mean", "0 to 1"))
    assert rgb.mean == pytest.approx(0.777, abs=0.005) and rgb.zeros == pytest.approx(0.813, abs=0.003)
    assert no_mean.zeros == pytest.approx(0.816, abs=0.003)
    assert [fault.split()[0] for fault in deviations(unit, BVLC)] == ["mean", "zeros"]


def test_real_video_is_as_expected(mistaken, shared):
    """Four frames of a real clip, decoded as the extraction does."""
    from data_prep.video.frames import read_frames

    clip = shared("data/clips/v_biking_01_01.mpg")
    frames = np.concatenate(list(read_frames(clip, every=40)))[:4]
    found = measure(mistaken(lambda frames: frames - MEAN)(frames))
    assert deviations(found, BVLC) == []


def test_a_network_that_is_not_known_is_not_judged(fake_network):
    assert network_fault(fake_network) == ""
    assert fake_network.num_calls == 0
