"""The rivals in the benchmark of the extraction compute what ours computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_prep.networks.weights import read_googlenet
from experiments.benchmarks import extraction
from experiments.benchmarks.settings import Settings


@pytest.fixture
def settings(shared):
    path = str(shared("weights/bvlc_googlenet.onnx"))
    return Settings(clips=str(shared("data/weizmann")), frame_batch=4, network_options={"googlenet": path})


def test_operations_of_googlenets_convolutions():
    def two(x, kernel):
        for _ in range(2):  # 5×5 positions, 3×3 windows, 4 maps to 4
            x = jax.jit(jax.lax.conv_general_dilated, static_argnums=(2, 3))(x, kernel, (1, 1), "SAME")
        return x

    of_two = extraction.convolutions(two, jnp.ones((1, 4, 5, 5)), jnp.ones((4, 4, 3, 3)))
    assert of_two == 2 * (2 * 5 * 5 * 3 * 3 * 4 * 4)
    # By layer, from the published table: conv1, conv2, nine inceptions of 1×1; 3×3; 5×5; pooled 1×1.
    by_hand = 112**2 * 49 * 3 * 64 + 56**2 * (64 * 64 + 9 * 64 * 192)
    for side, maps, a, b, c, d, e, f in (
        (28, 192, 64, 96, 128, 16, 32, 32),
        (28, 256, 128, 128, 192, 32, 96, 64),
        (14, 480, 192, 96, 208, 16, 48, 64),
        (14, 512, 160, 112, 224, 24, 64, 64),
        (14, 512, 128, 128, 256, 24, 64, 64),
        (14, 512, 112, 144, 288, 32, 64, 64),
        (14, 528, 256, 160, 320, 32, 128, 128),
        (7, 832, 256, 160, 320, 32, 128, 128),
        (7, 832, 384, 192, 384, 48, 128, 128),
    ):
        by_hand += side**2 * (maps * (a + b + d + f) + 9 * b * c + 25 * d * e)
    assert extraction.googlenet_flops(Settings()) == 2 * by_hand
    assert extraction.googlenet_flops(Settings(network="efficientnet_lite0")) is None


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

    ours = ["float32 matrix product", "decoding alone, one thread", "the network alone, batch 32", "the whole"]
    assert names("googlenet") == [*ours, "onnxruntime, batch 32", "torch, channels last, batch 32"]
    assert names("efficientnet_lite0") == [*ours, "Flax, batch 32"]
    assert names("timm") == ours
