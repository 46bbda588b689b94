"""BVLC GoogLeNet up to its last inception as a plain torch module, with the weights of ours."""

import torch
from torch import nn
from torch.nn import functional as F

from attention_ar.googlenet import INCEPTIONS

MEAN = (104.0, 117.0, 123.0)


class Convolution(nn.Conv2d):
    """A layer under Caffe's name, and ReLU."""

    def __init__(self, params: dict, stride: int = 1):
        kernel = torch.tensor(params["kernel"]).permute(
            3, 2, 0, 1
        )  # ours is rows, columns, input channels, output channels
        maps_out, maps_in, window, _ = kernel.shape
        super().__init__(maps_in, maps_out, window, stride, window // 2)
        with torch.no_grad():
            self.weight.copy_(kernel)
            self.bias.copy_(torch.tensor(params["bias"]))

    def forward(self, x):
        return F.relu(super().forward(x), inplace=True)


class Inception(nn.Module):
    """Four branches, their channels concatenated."""

    def __init__(self, params: dict):
        super().__init__()
        layers = {name: Convolution(of_layer) for name, of_layer in params.items()}
        pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.branches = nn.ModuleList(
            [
                layers["1x1"],
                nn.Sequential(layers["3x3_reduce"], layers["3x3"]),
                nn.Sequential(layers["5x5_reduce"], layers["5x5"]),
                nn.Sequential(pool, layers["pool_proj"]),
            ]
        )

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class GoogLeNet(nn.Module):
    """Frames `<uint8>[B, 224, 224, 3]`, BGR, to features `<float16>[B, 7, 7, 1024]`.

    Args:
      params: of `attention_ar.GoogLeNet`, as NumPy arrays.
    """

    def __init__(self, params: dict):
        super().__init__()

        def pool():
            return nn.MaxPool2d(3, stride=2, ceil_mode=True)

        layers = [
            Convolution(params["conv1"]["7x7_s2"], stride=2),
            pool(),
            nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0),
            Convolution(params["conv2"]["3x3_reduce"]),
            Convolution(params["conv2"]["3x3"]),
            nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0),
        ]
        for name in INCEPTIONS:
            layers += [pool()] if name.endswith("a") else []
            layers.append(Inception(params[name]))
        self.layers = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor(MEAN))

    def forward(self, frames):
        x = (frames.float() - self.mean).permute(0, 3, 1, 2)  # in memory, that is channels-last
        return self.layers(x).permute(0, 2, 3, 1).half()
