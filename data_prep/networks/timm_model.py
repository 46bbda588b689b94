"""Any of timm's models, in PyTorch."""

import hashlib
import io
from collections.abc import Mapping

import numpy as np

from attention_ar.errors import InputError, one_line
from data_prep.common.cores import num_cores
from data_prep.networks.network import Kind, Network, grid_shape, in_pieces, normalised, read_file

ACCELERATOR_CALLS = 3


def load(timm: str | None = None, timm_weights: str | None = None, timm_size: str | None = None) -> Network:
    """Returns a model of timm; its features are its last map, `forward_intermediates` with `norm=True`.

    Frames are prepared as timm's data config of the model says, but for the resizing: they are never cropped.

    Args:
      timm: the model's name, with the weights' tag where there are several, such as "resnet50.a1_in1k".
      timm_weights: a file of weights, .safetensors or what torch.save wrote of a state dict. By default those in timm's
        cache, downloaded if need be.
      timm_size: pixels on a side of the frames; by default what the data config says.

    Raises:
      InputError: timm is not installed, has no such model, or the weights are not available or another model's.
    """
    if not timm:
        raise InputError("network=timm: name the model with --timm=NAME, such as resnet50.a1_in1k")
    if timm_size is not None and not (timm_size.isdigit() and int(timm_size)):
        raise InputError(f"timm_size={timm_size}: must be a number of pixels, such as 224")
    try:
        import torch
        from timm.data import resolve_model_data_config
    except (ImportError, RuntimeError) as error:  # the latter from a torchvision that does not fit PyTorch
        raise InputError(
            f"network=timm needs timm, the extra [timm] of this package: pip install '.[timm]' ({one_line(error)})"
        ) from None

    model, sha256 = _model(timm, timm_weights, timm_size)
    config = resolve_model_data_config(model)
    size = int(timm_size) if timm_size else config["input_size"][-1]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
    recipe = {
        "network": "timm",
        "model": timm,
        "weights_sha256": sha256,
        "random": False,
        "colour": "rgb",
        "mean": list(map(float, config["mean"])),
        "std": list(map(float, config["std"])),
        "input_size": [size, size],
    }

    def run(frames):
        # In memory that is channels last. One thread a call: the bits do not depend on how many cores there are.
        x = torch.from_numpy(normalised(frames, recipe)).permute(0, 3, 1, 2).to(device)
        with torch.inference_mode():
            maps = model.forward_intermediates(x, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True)[-1]
            return maps.permute(0, 2, 3, 1).to(torch.float16).cpu().numpy()

    if device == "cpu":
        torch.set_num_threads(1)
    try:
        feature_shape = grid_shape(run(np.zeros((1, size, size, 3), np.uint8)).shape, f"timm={timm}: its last map")
    except (AttributeError, AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"timm={timm}: gives no map of {size}×{size} frames ({one_line(error)}); see --timm_size"
        ) from None
    if device == "cuda":
        return Network(recipe, run, feature_shape, ACCELERATOR_CALLS)
    return Network(recipe, lambda frames: in_pieces(run, frames), feature_shape, num_cores())


def _model(name: str, weights: str | None, size: str | None):
    """Returns the model with its weights, and a hash of these."""
    import timm

    if not timm.is_model(name):
        alike = timm.list_models(f"*{name.partition('.')[0]}*")[:5]
        raise InputError(f"timm={name}: timm {timm.__version__} has no such model{_such_as(alike)}")
    options = {"pretrained": True}  # With the classifier: without it timm would silently load only what fits.
    if weights is not None:
        options["pretrained_cfg_overlay"] = {"state_dict": _read_weights(weights)}
    try:
        try:
            model = timm.create_model(name, **options, **({"img_size": int(size)} if size else {}))
        except TypeError:  # a convolutional network takes frames of any size, and no such argument
            model = timm.create_model(name, **options)
    except Exception as error:  # what hubs, caches and PyTorch raise is not documented
        if weights is not None:
            raise InputError(f"{weights}: is not a file of weights of timm's {name} ({one_line(error)})") from None
        raise InputError(
            f"timm={name}: its weights are neither in timm's cache nor available ({one_line(error)}); "
            "name a file of them with --timm_weights=PATH"
        ) from None
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(f"{key} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return model, digest.hexdigest()


def _read_weights(path: str) -> dict:
    """Returns the state dict in a file, as far as it is one; nothing of the file is executed."""
    import torch
    from safetensors.torch import load as read_safetensors

    data, _ = read_file(path, "the file of weights", "name another with --timm_weights=PATH")
    try:
        if path.endswith(".safetensors"):
            return read_safetensors(data)
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        for inner in ("state_dict", "model"):
            state = state[inner] if isinstance(state.get(inner), dict) else state
        return {key.removeprefix("module."): tensor for key, tensor in state.items()}
    except Exception as error:  # PyTorch's errors on third-party files are not documented
        reason = one_line(error).partition(". ")[0]  # what follows advises to trust the file
        raise InputError(f"{path}: is no file of weights ({reason})") from None


def options_of(recipe: Mapping) -> dict[str, str]:
    """Returns the options that a recipe stores: all but a file of weights."""
    return {"timm": recipe["model"], "timm_size": str(recipe["input_size"][0])}


def _such_as(names: list[str]) -> str:
    return f"; it has {', '.join(names)}" if names else ""


KIND = Kind(
    title="a model of timm's",
    about="any, named by --timm; needs the extra [timm]",
    load=load,
    recipes=("timm",),
    options={
        "timm": "With --network=timm: the model's name, such as resnet50.a1_in1k.",
        "timm_weights": "Its weights, .safetensors or .pth; by default those in timm's cache, downloaded if need be.",
        "timm_size": "Pixels on a side of its frames; by default what timm says.",
    },
    options_of=options_of,
)
