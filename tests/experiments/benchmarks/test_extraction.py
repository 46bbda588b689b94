"""The rivals in the benchmark of the extraction compute what ours computes."""

import numpy as np
import pytest

from data_prep.networks.weights import read_googlenet
from experiments.benchmarks import extraction
from experiments.benchmarks.settings import Settings


@pytest.fixture
def settings(shared):
    path = str(shared("weights/bvlc_googlenet.onnx"))
    return Settings(clips=str(shared("data/weizmann")), frame_batch=4, network_options={"googlenet": path})


@pytest.mark.slow
def test_torch_and_onnxruntime_give_our_features(settings):
    network = read_googlenet(settings.network_options["googlenet"])
    frames = extraction.batch_of_frames(settings)
    assert frames.shape == (4, 224, 224, 3) and frames.std() > 10
    ours = network(frames).astype(np.float32)
    for name, build in (("torch", extraction.build_torch), ("onnxruntime", extraction.build_onnxruntime)):
        pytest.importorskip(name)
        workload = build(settings)
        assert (workload.amount, workload.unit) == (4, "frame")
        theirs = workload.run()
        assert theirs.dtype == np.float16
        assert np.abs(theirs.astype(np.float32) - ours).max() / ours.max() < 2e-3, name  # float16's rounding


def test_the_whole_counts_every_frame(settings, monkeypatch):
    monkeypatch.setattr(extraction, "BATCHES", 1)
    monkeypatch.setattr(extraction, "load", lambda settings: Mean())
    clips = extraction.find_clips(settings)
    num_frames = sum(len(frames) for frames in extraction.decode(clips))
    assert extraction.build_decoding(settings).amount == num_frames
    workload = extraction.build_whole(settings)
    assert workload.amount == num_frames and workload.facts["peak memory"].endswith(" MB")


class Mean:
    recipe = {"network": "fake", "weights_sha256": "", "random": True}  # noqa: RUF012
    feature_shape, input_size, calls_in_flight = (7, 7, 1024), (224, 224), 1

    def __call__(self, frames):
        return np.zeros((len(frames), 7, 7, 1024), np.float16)


def test_weights_are_looked_for_where_every_program_looks(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ATTENTION_AR_GOOGLENET", raising=False)
    assert extraction.googlenet_file(Settings()) == ""
    (tmp_path / "attention_ar").mkdir()
    (tmp_path / "attention_ar" / "googlenet-12.onnx").touch()
    assert extraction.googlenet_file(Settings()) == f"{tmp_path}/attention_ar/googlenet-12.onnx"
    monkeypatch.setenv("ATTENTION_AR_GOOGLENET", "named.onnx")
    assert extraction.googlenet_file(Settings()) == "named.onnx"
    assert extraction.googlenet_file(Settings(network_options={"googlenet": "random"})) == ""


def test_every_network_has_its_rivals():
    def names(network):
        return [contender.name for contender in extraction.contenders(Settings(network=network), "cpu")]

    ours = ["decoding alone, one thread", "the network alone, batch 32", "the whole"]
    assert names("googlenet") == [*ours, "onnxruntime, batch 32", "torch, channels last, batch 32"]
    assert names("efficientnet_lite0") == [*ours, "Flax, batch 32"]
    assert names("timm") == ours
