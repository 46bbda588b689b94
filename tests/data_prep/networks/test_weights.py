"""The network against onnxruntime on the real file, and files and servers that are not what they should be."""

import contextlib
import hashlib
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jax
import numpy as np
import onnx
import pytest
from PIL import Image

from attention_ar.errors import InputError
from attention_ar.googlenet import INCEPTIONS, GoogLeNet, preprocess
from data_prep.networks.arrays import layer_shapes
from data_prep.networks.weights import cache_directory, download, load_googlenet, random_googlenet


@pytest.fixture(scope="module")
def real_file(shared):
    return shared("weights/bvlc_googlenet.onnx")


@pytest.fixture(scope="module")
def real_network(real_file):
    return load_googlenet(real_file)


@pytest.fixture(scope="module")
def random_network():
    return random_googlenet()


@pytest.fixture(scope="module")
def photos(shared):
    """A cat and a parrot, `<uint8>[2, 224, 224, 3]`, BGR."""
    folder = shared("weights/photos")
    pictures = [Image.open(folder / name).convert("RGB").resize((224, 224)) for name in ("cat.bmp", "parrot.jpg")]
    return np.stack([np.asarray(picture)[..., ::-1] for picture in pictures])


@pytest.fixture(autouse=True)
def a_user_with_nothing(tmp_path, monkeypatch):
    """No variable set, an empty cache directory, and no way to the network but loopback."""
    monkeypatch.delenv("ATTENTION_AR_GOOGLENET", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def noise(seed, batch=2):
    return np.random.default_rng(seed).integers(0, 256, (batch, 224, 224, 3), np.uint8)


def error_of(function, *args):
    with pytest.raises(InputError) as caught:
        function(*args)
    message = str(caught.value)
    assert "\n" not in message
    return message


# The network


@pytest.mark.slow
def test_every_stage_agrees_with_onnxruntime(real_file, real_network, photos):
    runtime = pytest.importorskip("onnxruntime")
    model = onnx.load(real_file, load_external_data=False)
    names = {"conv1": "conv1/7x7_s2_2", "conv2": "conv2/3x3_2"} | {stage: f"{stage}/output_1" for stage in INCEPTIONS}
    for name in names.values():
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.moveaxis(photos.astype(np.float32) - np.array([104, 117, 123], np.float32), -1, 1)
    *expected, probabilities = session.run([*names.values(), "prob_1"], {"data_0": x})

    logits, out = apply(real_network.params, photos)
    for stage, reference in zip(names, expected, strict=True):
        assert relative_error(np.moveaxis(out[stage], -1, 1), reference) < 1e-4, stage
    np.testing.assert_array_equal(real_network(photos), np.float16(out["features"]))
    assert relative_error(jax.nn.softmax(logits), probabilities) < 1e-4


@jax.jit
def apply(params, frames):
    return GoogLeNet().apply({"params": params}, preprocess(frames))


def relative_error(array, reference):
    assert array.shape == reference.shape
    return np.abs(array - reference).max() / np.abs(reference).max()


@pytest.mark.slow
def test_a_cat_and_a_parrot(shared, real_network, photos):
    words = shared("weights/synset_words.txt").read_text().splitlines()
    probabilities = jax.nn.softmax(apply(real_network.params, photos)[0])
    assert probabilities.shape == (2, 1000)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    cat, parrot = (words[best].partition(" ")[2] for best in probabilities.argmax(1))
    assert cat in ("Egyptian cat", "tabby, tabby cat")
    assert parrot == "macaw"


def test_recipe_of_a_file(real_file, real_network):
    assert not real_network.is_random
    assert real_network.recipe == {
        "network": "bvlc_googlenet",
        "weights_sha256": hashlib.sha256(real_file.read_bytes()).hexdigest(),
        "random": False,
        "colour": "bgr",
        "mean": [104.0, 117.0, 123.0],
        "scale": 1.0,
        "input_size": [224, 224],
    }


@pytest.mark.slow
def test_a_frame_has_the_same_features_in_any_company(random_network):
    frames, others = noise(0), noise(1)
    others[1] = frames[1]
    features = random_network(frames)
    assert features.shape == (2, 7, 7, 1024)
    assert features.dtype == np.float16
    np.testing.assert_array_equal(random_network(others)[1], features[1])
    assert (random_network(others)[0] != features[0]).any()


@pytest.mark.slow
def test_the_random_network_says_so_and_is_the_same_again(random_network):
    again, other = load_googlenet("random"), random_googlenet(seed=1)
    assert again.is_random
    assert again.recipe == json.loads(json.dumps(again.recipe))
    assert again.recipe == random_network.recipe != other.recipe
    assert {key: again.recipe[key] for key in ("network", "random", "seed", "weights_sha256")} == {
        "network": "random_googlenet",
        "random": True,
        "seed": 0,
        "weights_sha256": "",
    }
    jax.tree.map(np.testing.assert_array_equal, again.params, random_network.params)
    kernels = [network.params["inception_4c"]["5x5"]["kernel"] for network in (again, other)]
    assert (kernels[0] != kernels[1]).all()
    features = random_network(noise(0)).astype(np.float32)
    assert 1 < features.std() < 1000
    assert features.max() < 10_000  # float16 ends at 65504


# Files


def onnx_arrays():
    rng = np.random.default_rng(0)
    arrays = {}
    for layer, shape in layer_shapes("bvlc").items():
        arrays[f"{layer}_w_0"] = rng.normal(size=shape).astype(np.float32)
        arrays[f"{layer}_b_0"] = rng.normal(size=shape[:1]).astype(np.float32)
    return arrays


def write_onnx(path, arrays):
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    tensors.append(onnx.numpy_helper.from_array(np.array([1, 1024]), "shape_of_a_reshape"))
    path.write_bytes(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], tensors)).SerializeToString())
    return path


def test_arrays_reach_their_layers(tmp_path):
    arrays = onnx_arrays()
    params = load_googlenet(write_onnx(tmp_path / "a.onnx", arrays)).params
    assert params.keys() == {"conv1", "conv2", "loss3", *INCEPTIONS}
    kernel = params["inception_3a"]["5x5"]["kernel"]
    assert kernel.shape == (5, 5, 16, 32)
    assert kernel[1, 2, 3, 4] == arrays["inception_3a/5x5_w_0"][4, 3, 1, 2]
    assert params["loss3"]["classifier"]["kernel"][7, 8] == arrays["loss3/classifier_w_0"][8, 7]
    np.testing.assert_array_equal(params["conv2"]["3x3"]["bias"], arrays["conv2/3x3_b_0"])


def test_everything_wrong_with_the_arrays_is_in_one_line(tmp_path):
    arrays = onnx_arrays()
    del arrays["conv1/7x7_s2_b_0"], arrays["inception_5b/pool_proj_w_0"]
    arrays["inception_6a/1x1_w_0"] = np.zeros(3, np.float32)
    arrays["conv2/3x3_w_0"] = arrays["conv2/3x3_w_0"][:100]
    arrays["loss3/classifier_b_0"][5] = np.nan
    path = write_onnx(tmp_path / "a.onnx", arrays)
    assert error_of(load_googlenet, path) == (
        f"{path}: is not BVLC GoogLeNet: missing conv1/7x7_s2_b_0, inception_5b/pool_proj_w_0; unexpected "
        "inception_6a/1x1_w_0; conv2/3x3_w_0 is [100, 64, 3, 3] instead of [192, 64, 3, 3]; loss3/classifier_b_0 holds "
        "values that are not finite"
    )


def test_another_network_does_not_list_all_of_googlenet(tmp_path):
    path = write_onnx(tmp_path / "resnet.onnx", {"resnet_w": np.zeros(3, np.float32)})
    assert error_of(load_googlenet, path) == (
        f"{path}: is not BVLC GoogLeNet: it has none of the 116 arrays, conv1/7x7_s2_w_0 and so on; unexpected resnet_w"
    )


@pytest.mark.parametrize("name", ["a.onnx", "a.pth"])
@pytest.mark.parametrize("data", [b"", b"garbage", b"\x00" * 1000, bytes(range(256)) * 50])
def test_garbage(tmp_path, name, data):
    if name == "a.pth":
        pytest.importorskip("torch")
    path = tmp_path / name
    path.write_bytes(data)
    assert error_of(load_googlenet, path).startswith(f"{path}: is not ")


def test_a_truncated_file(tmp_path, real_file):
    path = tmp_path / "half.onnx"
    path.write_bytes(real_file.read_bytes()[:14_000_000])
    assert error_of(load_googlenet, path).startswith(f"{path}: is not an ONNX file, or a damaged one (")


def test_no_file_beside_is_opened(tmp_path):
    arrays = onnx_arrays()
    path = write_onnx(tmp_path / "a.onnx", arrays)
    model = onnx.load(path)
    onnx.save_model(model, path, save_as_external_data=True, location="beside.bin", size_threshold=3_000_000)
    (tmp_path / "beside.bin").unlink()
    assert error_of(load_googlenet, path) == (
        f"{path}: keeps loss3/classifier_w_0 in other files; one file with everything is needed"
    )


@pytest.mark.parametrize(("name", "reason"), [("nothing.onnx", "No such file or directory"), (".", "Is a directory")])
def test_no_file(tmp_path, name, reason):
    assert error_of(load_googlenet, tmp_path / name) == (
        f"{tmp_path / name}: GoogLeNet cannot be read ({reason}); take --network=efficientnet_lite0, which needs no "
        "download; or name GoogLeNet's file with --googlenet=PATH or in $ATTENTION_AR_GOOGLENET; or take "
        "--network=random, for trials"
    )


@pytest.mark.slow
def test_the_variable_and_then_the_cache(tmp_path, monkeypatch, real_file, real_network):
    cache_directory().mkdir(parents=True)
    shutil.copy(real_file, cache_directory() / "googlenet-12.onnx")
    assert load_googlenet().recipe == real_network.recipe
    monkeypatch.setenv("ATTENTION_AR_GOOGLENET", str(tmp_path / "other.onnx"))
    assert error_of(load_googlenet).startswith(f"{tmp_path / 'other.onnx'}: GoogLeNet cannot be read")
    monkeypatch.setenv("ATTENTION_AR_GOOGLENET", "random")
    assert load_googlenet().is_random
    assert not load_googlenet(real_file).is_random


# Downloads

BODY = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(scope="module")
def server():
    """An address whose pages are: the file, half of it, too much of it, another file, and none."""
    bodies = {"/good": BODY, "/half": BODY[:100_000], "/long": BODY * 2, "/other": BODY[::-1], "/empty": b""}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path not in bodies:
                return self.send_error(404)
            self.send_response(200)
            body = bodies[self.path]
            self.send_header("Content-Length", str(max(len(BODY), len(body))))  # a promise that /half does not keep
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

        def handle(self):
            with contextlib.suppress(ConnectionError):  # the client had enough of /long
                super().handle()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("first", ["/good", "/half", "/long", "/other", "/empty", "/absent"])
def test_the_next_mirror_is_taken(tmp_path, server, first):
    target = tmp_path / "new" / "net.onnx"
    download(target, [server + first, server + "/good"], SHA256, len(BODY))
    assert target.read_bytes() == BODY
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("page", ["/half", "/long", "/other", "/empty", "/absent"])
def test_a_broken_download_leaves_nothing(tmp_path, server, page):
    target = tmp_path / "net.onnx"
    message = error_of(download, target, [server + page], SHA256, len(BODY))
    assert message.startswith(f"no GoogLeNet in {tmp_path}, and no download ({server}{page}: ")
    assert list(tmp_path.iterdir()) == []


def test_a_broken_download_leaves_what_was_there(tmp_path, server):
    target = tmp_path / "net.onnx"
    target.write_bytes(b"old")
    error_of(download, target, [server + "/other"], SHA256, len(BODY))
    assert target.read_bytes() == b"old"


def test_without_a_network_the_ways_out_are_named(tmp_path):
    nobody_listens = "http://127.0.0.1:9/net.onnx"
    message = error_of(download, tmp_path / "net.onnx", [nobody_listens] * 2)
    assert message.count(nobody_listens) == 2
    ways_out = ("--network=efficientnet_lite0", "--googlenet=PATH", "$ATTENTION_AR_GOOGLENET", "--network=random")
    places = [message.index(way_out) for way_out in ways_out]
    assert places == sorted(places)


def test_a_cache_directory_that_cannot_be_made(tmp_path, server):
    (tmp_path / "file").touch()
    message = error_of(download, tmp_path / "file" / "cache" / "net.onnx", [server + "/good"], SHA256, len(BODY))
    assert "Not a directory" in message
    assert "--googlenet=PATH" in message
