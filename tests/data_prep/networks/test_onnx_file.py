"""Networks in ONNX files: which tensor, which frames, and files that are no such thing."""

import hashlib
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from attention_ar.errors import InputError
from data_prep.networks import onnx_file
from data_prep.networks.onnx_file import as_cubes, load, options_of
from data_prep.networks.registry import load_again


def error_of(**options):
    with pytest.raises(InputError) as caught:
        load(**{name: str(value) for name, value in options.items()})
    message = str(caught.value)
    assert "\n" not in message
    return message


def write_graph(path, nodes, arrays=(), *, shape=("batch", 3, 8, 8), dtype=TensorProto.FLOAT, outputs=("y",)):
    """Writes a graph from "x" to outputs."""
    inputs = [helper.make_tensor_value_info("x", dtype, shape)]
    tensors = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in arrays]
    made = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph([helper.make_node(*node) for node in nodes], "g", inputs, made, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def noise(batch, size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (batch, size, size, 3), np.uint8)


@pytest.fixture(scope="module")
def vit(write_vit, tmp_path_factory):
    return write_vit(tmp_path_factory.mktemp("vit") / "vit.onnx")


def test_tokens_become_a_grid_without_the_class_token(vit):
    network = load(str(vit))
    assert network.feature_shape == (16, 16, 32) and network.input_size == (224, 224)
    assert network.recipe == {
        "network": "onnx",
        "weights_sha256": hashlib.sha256(vit.read_bytes()).hexdigest(),
        "random": False,
        "colour": "rgb",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "output": "tokens",
        "input_size": [224, 224],
    }
    frames = noise(11, 224)
    x = frames[..., ::-1] / np.float32(255)
    x = np.moveaxis((x - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225]), -1, 1)
    (tokens,) = onnx_file.open_session(vit.read_bytes()).run(["tokens"], {"frames": x})
    features = network(frames)
    assert features.dtype == np.float16 and features.shape == (11, 16, 16, 32)
    expected = tokens[:, 1:].reshape(11, 16, 16, 32)  # row by row
    np.testing.assert_allclose(features.astype(np.float32), expected, rtol=1e-3, atol=2e-3)


def test_a_recipe_and_the_file_give_the_network_again(vit, write_vit, tmp_path):
    options = {"onnx_mean": "0.5,0.5,0.25", "onnx_std": "1,0.5,2e-1", "onnx_colour": "bgr", "onnx_output": "tokens"}
    network = load(str(vit), **options)
    assert network.recipe["std"] == [1.0, 0.5, 0.2] and network.recipe["colour"] == "bgr"
    assert load_again(network.recipe, None, {"onnx": str(vit)}).recipe == network.recipe
    assert options_of(network.recipe)["onnx_std"] == "1.0,0.5,0.2"
    with pytest.raises(InputError, match=r"^network=onnx: name the file with --onnx=model.onnx$"):
        load_again(network.recipe)
    other = write_vit(tmp_path / "other.onnx", seed=1)
    assert load_again(network.recipe, None, {"onnx": str(other)}).recipe != network.recipe


def test_a_graph_of_one_batch_size_takes_any_number_of_frames(write_vit, tmp_path):
    fixed = load(str(write_vit(tmp_path / "fixed.onnx", side=4, patch=8, batch=3)))
    free = load(str(write_vit(tmp_path / "free.onnx", side=4, patch=8)))
    frames = noise(7, 32)
    found = fixed(frames)
    assert found.shape == (7, 4, 4, 32)
    np.testing.assert_allclose(found.astype(np.float32), free(frames).astype(np.float32), atol=2e-3)


def test_what_can_be_a_cube():
    maps = np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2)
    np.testing.assert_array_equal(as_cubes(maps)[1, 0, 1], maps[1, :, 0, 1])
    np.testing.assert_array_equal(as_cubes(np.moveaxis(maps, 1, -1)), np.moveaxis(maps, 1, -1))
    tokens = np.arange(2 * 5 * 3).reshape(2, 5, 3)
    np.testing.assert_array_equal(as_cubes(tokens)[0], tokens[0, 1:].reshape(2, 2, 3))
    np.testing.assert_array_equal(as_cubes(tokens[:, 1:])[0], tokens[0, 1:].reshape(2, 2, 3))
    for shape in ((2, 3), (2, 3, 2, 4), (2, 7, 3), (2, 0, 3)):
        assert as_cubes(np.zeros(shape)) is None


def test_channels_last_and_half_precision(tmp_path):
    """Both as some exporters have them: the output is the input, x = (pixel / 255 − mean) / std, and rounded."""
    path = write_graph(
        tmp_path / "a.onnx", [("Identity", ["x"], ["y"])], shape=("batch", 8, 8, 3), dtype=TensorProto.FLOAT16
    )
    network = load(str(path), onnx_mean="0.5,0.5,0.5", onnx_std="0.5,0.25,1")
    assert network.feature_shape == (8, 8, 3)
    frames = np.zeros((1, 8, 8, 3), np.uint8)
    frames[0, 2, 5] = (255, 0, 51)  # blue, green, red
    np.testing.assert_allclose(network(frames)[0, 2, 5].astype(float), [-0.6, -2, 0.5], atol=1e-3)


def test_a_tensor_inside_by_its_name(tmp_path):
    nodes = [("Relu", ["x"], ["inner/map"]), ("GlobalAveragePool", ["inner/map"], ["y"])]
    path = write_graph(tmp_path / "a.onnx", nodes, shape=("batch", 3, None, None))
    assert load(str(path), onnx_output="inner/map", onnx_size="64").feature_shape == (64, 64, 3)
    assert load(str(path), onnx_output="inner/map").feature_shape == (224, 224, 3)  # the file leaves it open
    assert error_of(onnx=path, onnx_output="map") == (
        f"{path}: has no tensor onnx_output=map; it has 2, such as inner/map"
    )


def test_outputs_that_are_no_square_grid(tmp_path, vit, write_vit):
    assert error_of(onnx=vit, onnx_output="logits") == (
        f"{vit}: logits [2, 5]: must be a square grid of features, [B, D, K, K] or tokens [B, 1 + K², D]; name a "
        "tensor that is one with --onnx_output=NAME"
    )
    registers = write_vit(tmp_path / "registers.onnx", side=4, patch=8, extra=4)
    assert "logits [2, 5], tokens [2, 21, 32]: must be a square grid" in error_of(onnx=registers)
    strip = write_graph(tmp_path / "a.onnx", [("Reshape", ["x", "s"], ["y"])], [("s", np.array([0, 3, 4, 16]))])
    assert "y [2, 3, 4, 16]: must be a square grid" in error_of(onnx=strip)


def test_frames_of_another_size_than_is_said(tmp_path, vit):
    assert error_of(onnx=vit, onnx_size="256") == (
        f"{vit}: takes frames of 224 pixels a side, and not of onnx_size=256"
    )
    silent = write_graph(
        tmp_path / "a.onnx",
        [("Reshape", ["x", "s"], ["y"])],
        [("s", np.array([0, 3, 64, 64]))],
        shape=("b", 3, "h", "w"),
    )
    assert error_of(onnx=silent).startswith(f"{silent}: does not run on 224×224 frames (")
    assert load(str(silent), onnx_size="64").input_size == (64, 64)
    wide = write_graph(tmp_path / "wide.onnx", [("Relu", ["x"], ["y"])], shape=("b", 3, 8, 16))
    assert error_of(onnx=wide) == f"{wide}: takes frames of 8×16; must be squares"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("onnx_mean", "1,2", "onnx_mean=1,2: must be three numbers by commas, one a channel, like 0.485,0.456,0.406"),
        ("onnx_mean", "a,b,c", "onnx_mean=a,b,c: must be three numbers"),
        ("onnx_std", "1,nan,1", "onnx_std=1,nan,1: must be three numbers"),
        ("onnx_std", "1,0,1", "onnx_std=1,0,1: none may be 0, as they are divisors"),
        ("onnx_colour", "yuv", "onnx_colour=yuv: must be rgb or bgr"),
        ("onnx_size", "-3", "onnx_size=-3: must be a number of pixels, such as 224"),
        ("onnx", "nothing.onnx", "nothing.onnx: the ONNX file cannot be read (No such file or directory)"),
    ],
)
def test_bad_options(vit, option, value, message):
    assert error_of(**{"onnx": vit, option: value}).startswith(message)


def test_files_that_are_no_networks(tmp_path, vit):
    path = tmp_path / "a.onnx"
    for data in (b"", b"garbage", vit.read_bytes()[:5000]):
        path.write_bytes(data)
        assert error_of(onnx=path).startswith(f"{path}: ")
    two = write_graph(path, [("Relu", ["x"], ["y"])], shape=("batch", 3))
    assert error_of(onnx=two) == f"{path}: takes x [None, 3]; must take frames alone, <float>[B, 3, height, width]"
    four = write_graph(path, [("Relu", ["x"], ["y"])], shape=("batch", 4, 8, 8))
    assert "must take frames of 3 channels" in error_of(onnx=four)
    unknown = write_graph(path, [("NoSuchThing", ["x"], ["y"])])
    assert error_of(onnx=unknown).startswith(f"{path}: onnxruntime cannot run it (")
    model = onnx.load(vit)
    onnx.save_model(model, path, save_as_external_data=True, location="beside.bin", size_threshold=100)
    (tmp_path / "beside.bin").unlink()
    assert "in other files; one file with everything is needed" in error_of(onnx=path)


def outside(name):
    """A tensor whose bytes are those of a file beside the ONNX file, or anywhere on the disk."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="beside.bin")
    return tensor


@pytest.mark.parametrize("within", [False, True])
def test_a_constant_is_in_no_other_file(tmp_path, monkeypatch, within):
    """onnxruntime would look for it in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beside.bin").write_bytes(np.ones(3, np.float32).tobytes())
    node = helper.make_node("Constant", [], ["c"], value=outside("secret"))
    if within:
        branch = helper.make_graph([node], "branch", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, [3])])
        node = helper.make_node("If", ["yes"], ["c"], then_branch=branch, else_branch=branch)
    path = write_graph(tmp_path / "a.onnx", [("Relu", ["x"], ["y"])], [("yes", np.array(True))])
    model = onnx.load(path)
    model.graph.node.append(node)
    path.write_bytes(model.SerializeToString())
    assert error_of(onnx=path).startswith(f"{path}: keeps secret")


def test_without_onnxruntime_its_package_is_named(vit, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert error_of(onnx=vit) == "network=onnx needs onnxruntime: pip install onnxruntime"


def test_features_do_not_depend_on_the_company(vit):
    network = load(str(vit))
    frames = noise(12, 224)
    np.testing.assert_array_equal(network(frames)[9:10], network(frames[9:10]))
