"""A vision transformer of 16×16 cells, from its ONNX file to every picture: nothing assumes GoogLeNet's 7×7×1024."""

import json
import os
import shutil

import av
import numpy as np
import pytest
from PIL import Image

from attention_ar.errors import InputError
from data_prep.features.opening import open_features
from data_prep.features.record_export import export_records
from experiments.first_steps.synthetic_clips import Sizes, quickstart
from experiments.html_report.contents import report
from experiments.paper_figures.registry import draw_figure
from experiments.prediction.predict_clips import predict
from experiments.runs.config import TrainingConfig
from experiments.runs.evaluation import read_predictions

pytestmark = pytest.mark.slow
SMALL = Sizes(
    clips={"num_groups": 3, "clips_per_group": 1, "num_frames": 9},
    data={"stride": 3, "num_steps": 4, "validation_fraction": 0.5},
    model={"hidden_dim": 8, "num_layers": 1},
    training=TrainingConfig(batch_size=4, epochs=1),
)


@pytest.fixture(scope="module")
def vit(write_vit, tmp_path_factory):
    return write_vit(tmp_path_factory.mktemp("vit") / "vit.onnx", side=16, patch=14, dim=24)


@pytest.fixture(scope="module")
def workdir(vit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart")
    quickstart(folder, "onnx", {"onnx": str(vit)}, SMALL)
    return folder


@pytest.fixture(scope="module")
def clip(workdir):
    return str(workdir / "clips" / "wave" / "wave_03_01.mp4")


def test_features_scores_and_filmstrips(workdir):
    file = open_features(workdir / "features.h5")
    assert file.features.shape == (12 * 9, 16, 16, 24)
    scores = json.loads((workdir / "soft_attention" / "evaluation" / "test" / "scores.json").read_text())
    found = scores["localisation"]  # the share of the boxes does not depend on the grid
    assert 0.04 < found["area"] < 0.4 and found["pointing_chance"] == pytest.approx(found["area"], abs=0.05)
    assert "an ONNX file's network, 16×16×24 numbers a frame" in (workdir / "summary.md").read_text()
    pictures = list((workdir / "figures").glob("*.png"))
    assert pictures
    for picture in pictures:
        with Image.open(picture) as image:
            assert image.width > image.height > 100


def test_data_set_of_tfds(workdir, tmp_path):
    file = open_features(workdir / "features.h5")
    done = export_records(file, tmp_path, "small_vit")
    again = open_features(done.folder)
    np.testing.assert_array_equal(again.features[5:40], file.features[5:40])


def test_report(workdir):
    path, missing = report(workdir / "soft_attention", max_clips=2)
    assert path.stat().st_size > 10_000 and missing == []


def test_a_figure(workdir):
    (picture, *_), _ = draw_figure("5", [workdir / "soft_attention"], glimpse="15,15", output=workdir / "figure5")
    with Image.open(picture) as image:
        assert image.width > 300
    with pytest.raises(InputError, match="rows and columns must be 0 to 15"):
        draw_figure("5", [workdir / "soft_attention"], glimpse="16,0", output=workdir / "figure5")


def test_overlay_of_a_prediction_which_repeats_the_evaluation(workdir, vit, clip, capsys):
    overlay = workdir / "overlay.mp4"
    run = workdir / "soft_attention"
    status = predict(run, [clip], network_options={"onnx": str(vit)}, overlay=str(overlay), stride=3, as_json=True)
    assert status == 0
    (of_clip,) = [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if line["type"] == "clip"]
    with av.open(str(overlay)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 9
    names, stored = read_predictions(run / "evaluation" / "test" / "predictions.csv")
    (row,) = [row for name, row in zip(names, stored, strict=True) if name.endswith("wave_03_01.mp4")]
    found = [of_clip["probabilities"][name] for name in ("bend", "jumping_jack", "walk", "wave")]
    np.testing.assert_allclose(found, row, atol=2e-3)


def test_clips_through_another_network_are_refused(workdir, vit, write_vit, clip, tmp_path):
    run = workdir / "soft_attention"

    def refused(message, **arguments):
        with pytest.raises(InputError, match=message) as caught:
            predict(run, [clip], **arguments)
        assert "\n" not in str(caught.value)

    refused(r"network=onnx: name the file with --onnx=model.onnx")
    refused(
        "network=efficientnet_lite0: its features come from onnx, which is --network=onnx",
        network="efficientnet_lite0",
    )
    other = write_vit(tmp_path / "other.onnx", side=16, patch=14, dim=24, seed=1)
    refused(
        r"was trained on another network's features: weights_sha256 is .*; name that network with --onnx$",
        network_options={"onnx": str(other)},
    )
    refused("onnx_mean is|mean is", network_options={"onnx": str(vit), "onnx_mean": "0,0,0"})
    copy = tmp_path / "renamed.onnx"
    shutil.copy(vit, copy)
    assert predict(run, [clip], network_options={"onnx": os.fspath(copy)}) == 0
