"""torchvision's `googlenet` state dict, for users who have only PyTorch's weights."""

import io

import numpy as np

from attention_ar.errors import InputError
from data_prep.networks.arrays import as_params, check_arrays, fold_batch_norm, layer_shapes

_STEM = {"conv1": "conv1/7x7_s2", "conv2": "conv2/3x3_reduce", "conv3": "conv2/3x3"}
_BRANCHES = {
    "1x1": "branch1",
    "3x3_reduce": "branch2.0",
    "3x3": "branch2.1",
    "5x5_reduce": "branch3.0",
    "5x5": "branch3.1",
    "pool_proj": "branch4.1",
}


def read_torchvision(data: bytes, path) -> dict:
    """Returns the parameters of `GoogLeNet(variant="torchvision")`, batch normalisation folded into them.

    Args:
      data: the bytes of the file.
      path: its name, for errors.

    Raises:
      InputError: PyTorch is not installed; the file is no state dict, or one of another network.
    """
    arrays = _state_dict(data, path)
    shapes = layer_shapes("torchvision")
    torch_names = {_torch_name(layer): layer for layer in shapes}
    expected = {}
    for name, layer in torch_names.items():
        maps_out = shapes[layer][:1]
        if name == "fc":
            expected |= {"fc.weight": shapes[layer], "fc.bias": maps_out}
        else:
            expected[f"{name}.conv.weight"] = shapes[layer]
            expected |= {f"{name}.bn.{of}": maps_out for of in ("weight", "bias", "running_mean", "running_var")}
    check_arrays(path, "torchvision's googlenet", arrays, expected)

    layers = {
        layer: fold_batch_norm(arrays, f"{name}.conv", f"{name}.bn")
        for name, layer in torch_names.items()
        if name != "fc"
    }
    return as_params(layers | {"loss3/classifier": (arrays["fc.weight"], arrays["fc.bias"])})


def _torch_name(layer: str) -> str:
    """inception_3a/3x3_reduce → inception3a.branch2.0"""
    if layer == "loss3/classifier":
        return "fc"
    stage, branch = layer.split("/")
    if stage.startswith("inception_"):
        return f"{stage.replace('_', '')}.{_BRANCHES[branch]}"
    return next(name for name, stem in _STEM.items() if stem == layer)


def _state_dict(data: bytes, path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError:
        raise InputError(
            f"{path}: reading a PyTorch file needs PyTorch, the extra [torch] of this package: pip install '.[torch]'"
        ) from None
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return {
            name: tensor.float().numpy(force=True)
            for name, tensor in state.items()
            # the auxiliary classifiers served training alone, and so did the counters
            if not name.startswith(("aux1.", "aux2.")) and not name.endswith(".num_batches_tracked")
        }
    except Exception as error:  # PyTorch's errors on third-party files are not documented
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{path}: is not a state dict saved by torch.save, as torchvision's googlenet().state_dict() would be "
            f"({type(error).__name__}: {reason})"
        ) from None
