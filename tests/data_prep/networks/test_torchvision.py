"""torchvision's network, written once more in plain PyTorch, against ours with batch normalisation folded in."""

import os
import sys

import jax
import numpy as np
import pytest

from attention_ar.errors import InputError
from attention_ar.googlenet import INCEPTIONS, GoogLeNet, preprocess
from data_prep.networks.weights import load_googlenet

torch = pytest.importorskip("torch", reason="needs the extra [torch]")
nn = torch.nn


def conv(maps_in, maps_out, window, stride=1):
    layers = nn.Sequential()
    layers.add_module("conv", nn.Conv2d(maps_in, maps_out, window, stride, window // 2, bias=False))
    layers.add_module("bn", nn.BatchNorm2d(maps_out, eps=0.001))
    layers.add_module("relu", nn.ReLU())
    return layers


class TorchInception(nn.Module):
    def __init__(self, maps_in, maps_1x1, reduce_3x3, maps_3x3, reduce_5x5, maps_5x5, pool_proj):
        super().__init__()
        self.branch1 = conv(maps_in, maps_1x1, 1)
        self.branch2 = nn.Sequential(conv(maps_in, reduce_3x3, 1), conv(reduce_3x3, maps_3x3, 3))
        self.branch3 = nn.Sequential(conv(maps_in, reduce_5x5, 1), conv(reduce_5x5, maps_5x5, 3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), conv(maps_in, pool_proj, 1))

    def forward(self, x):
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class TorchGoogLeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = conv(3, 64, 7, 2), conv(64, 64, 1), conv(64, 192, 3)
        maps_in = 192
        for stage, maps in INCEPTIONS.items():
            self.add_module(stage.replace("_", ""), TorchInception(maps_in, *maps))
            maps_in = maps[0] + maps[2] + maps[4] + maps[5]
        self.fc = nn.Linear(1024, 1000)
        self.aux1 = nn.Linear(2, 2)  # stands for the auxiliary classifiers, which are in torchvision's file too

    def forward(self, rgb):
        """Of RGB between 0 and 1: ImageNet's normalisation, `transform_input`, the network. Returns every stage."""
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        x = (rgb - mean) / std
        x = x * (std / 0.5) + (mean - 0.5) / 0.5
        out = {"conv1": self.conv1(x)}
        x = nn.functional.max_pool2d(out["conv1"], 3, 2, ceil_mode=True)
        out["conv2"] = self.conv3(self.conv2(x))
        x = out["conv2"]
        for stage in INCEPTIONS:
            if stage.endswith("a"):
                x = nn.functional.max_pool2d(x, 2 if stage == "inception_5a" else 3, 2, ceil_mode=True)
            x = out[stage] = getattr(self, stage.replace("_", ""))(x)
        out["logits"] = self.fc(x.mean((2, 3)))
        return out


@pytest.fixture(scope="module")
def oracle():
    """A random network whose batch normalisations are far from the identity."""
    torch.manual_seed(0)
    network = TorchGoogLeNet().eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 1e-4, 4e-3)  # so small that the epsilon counts
            nn.init.uniform_(module.weight, 0.03, 0.06)
    return network


@pytest.fixture
def state(oracle):
    return dict(oracle.state_dict())


def error_of(path):
    with pytest.raises(InputError) as caught:
        load_googlenet(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_stage_agrees_with_pytorch(tmp_path, oracle, state):
    torch.save(state, tmp_path / "googlenet.pth")
    network = load_googlenet(tmp_path / "googlenet.pth")
    assert network.recipe["network"] == "torchvision_googlenet"
    assert (network.recipe["colour"], network.recipe["mean"]) == ("rgb", [127.5] * 3)
    assert network.recipe["scale"] * 255 == 2
    frames = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), np.uint8)
    with torch.no_grad():
        expected = oracle(torch.tensor(frames[..., ::-1] / np.float32(255)).permute(0, 3, 1, 2))

    @jax.jit
    def apply(params, frames):
        module = GoogLeNet(variant="torchvision")
        logits, out = module.apply({"params": params}, preprocess(frames, "torchvision"))
        return out | {"logits": logits[:, None, None]}

    out = apply(network.params, frames)
    for stage, reference in expected.items():
        reference = reference.numpy().reshape(1, reference.shape[1], *out[stage].shape[1:3])
        error = np.abs(np.moveaxis(out[stage], -1, 1) - reference).max() / np.abs(reference).max()
        assert error < 1e-4, (stage, error)
    np.testing.assert_array_equal(network(frames), np.float16(out["features"]))


def test_everything_wrong_with_the_arrays_is_in_one_line(tmp_path, state):
    path = tmp_path / "googlenet.pth"
    del state["inception3a.branch2.0.bn.running_var"]
    state["fc.weight"] = state["fc.weight"][:10]
    state["fc2.weight"] = torch.zeros(2)
    torch.save(state, path)
    assert error_of(path) == (
        f"{path}: is not torchvision's googlenet: missing inception3a.branch2.0.bn.running_var; unexpected fc2.weight; "
        "fc.weight is [10, 1024] instead of [1000, 1024]"
    )


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("content", [Hostile(), [1, 2], {"conv1.conv.weight": "text"}, {1: torch.zeros(2)}, nn.ReLU()])
def test_what_is_no_state_dict_is_refused_and_never_executed(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "a.pth")
    assert error_of("a.pth").startswith("a.pth: is not a state dict saved by torch.save, as torchvision's ")
    assert not (tmp_path / "executed").exists()


def test_without_pytorch_the_extra_is_named(tmp_path, monkeypatch):
    path = tmp_path / "googlenet.pth"
    path.touch()
    monkeypatch.setitem(sys.modules, "torch", None)
    assert error_of(path) == (
        f"{path}: reading a PyTorch file needs PyTorch, the extra [torch] of this package: pip install '.[torch]'"
    )
