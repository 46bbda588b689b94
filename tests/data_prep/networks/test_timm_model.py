"""timm's models: where timm is installed, a convolutional network and a transformer; where it is not, one line."""

import sys

import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.networks import timm_model
from data_prep.networks.registry import load_again


def error_of(**options):
    with pytest.raises(InputError) as caught:
        timm_model.load(**options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setitem(sys.modules, "timm.data", None)
    begin = "network=timm needs timm, the extra [timm] of this package: pip install '.[timm]' ("
    assert error_of(timm="resnet18").startswith(begin)
    recipe = {"network": "timm", "model": "resnet18", "input_size": [224, 224]}
    with pytest.raises(InputError, match=r"the extra \[timm\] of this package"):
        load_again(recipe)


def test_options_that_are_none():
    assert error_of() == "network=timm: name the model with --timm=NAME, such as resnet50.a1_in1k"
    assert error_of(timm="resnet18", timm_size="big") == "timm_size=big: must be a number of pixels, such as 224"


@pytest.fixture
def timm():
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # the latter from a torchvision that does not fit PyTorch
        pytest.skip(f"needs the extra [timm] ({error})")
    return timm


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [
        ("resnet18", None, (7, 7, 512)),
        ("mobilenetv3_small_050", "96", (3, 3, 288)),
        ("vit_tiny_patch16_224", None, (14, 14, 192)),
        ("vit_tiny_patch16_224", "64", (4, 4, 192)),
    ],
)
def test_features_are_the_last_map(timm, tmp_path, name, size, shape):
    import torch

    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False).eval()
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    options = {"timm": name, "timm_weights": str(tmp_path / "weights.pth"), **({"timm_size": size} if size else {})}
    network = timm_model.load(**options)
    assert network.feature_shape == shape
    frames = np.random.default_rng(0).integers(0, 256, (3, *network.input_size, 3), np.uint8)
    found = network(frames)
    assert found.dtype == np.float16 and found.shape == (3, *shape)
    if size is None:
        mean, std = np.float32(network.recipe["mean"]), np.float32(network.recipe["std"])
        x = torch.from_numpy((frames[..., ::-1] / np.float32(255) - mean) / std).permute(0, 3, 1, 2)
        with torch.no_grad():
            expected = model.forward_features(x)
        if expected.ndim == 3:  # tokens, the first of which stands for the class
            expected = expected[:, 1:].transpose(1, 2).reshape(3, shape[2], *shape[:2])
        expected = expected.permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())
    again = load_again(network.recipe, None, {"timm_weights": options["timm_weights"]})
    assert again.recipe == network.recipe


def test_weights_of_another_model(timm, tmp_path):
    import torch

    path = tmp_path / "weights.pth"
    torch.save(timm.create_model("resnet18", pretrained=False).state_dict(), path)
    begin = f"{path}: is not a file of weights of timm's resnet34 ("
    assert error_of(timm="resnet34", timm_weights=str(path)).startswith(begin)
    path.write_bytes(b"garbage")
    assert error_of(timm="resnet18", timm_weights=str(path)).startswith(f"{path}: is no file of weights (")
    assert error_of(timm="my_own", timm_weights=str(path)).endswith("has no such model")
