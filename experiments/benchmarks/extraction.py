"""Feature extraction, from video files to a features file.

The cost of decoding, of the network, and of both together: `the whole` reads clips of `--clips` (synthetic ones by
default) and writes a features file; its share of the network's own rate stands beside it. Every contender gets decoded
frames. The network alone has as many calls in flight as in the extraction; the other contenders use all cores for one
call. For GoogLeNet, onnxruntime runs the same file of weights, torch the same weights in a plain
module with channels last in memory, `experiments/benchmarks/torch_googlenet.py`. For EfficientNet-Lite0, onnxruntime is
what we use on a CPU, and the other contender is our own module in JAX. `peak memory` is the whole process's. The
product rate is that of one square matrix product; of GoogLeNet, only the convolutions' products count against it.
"""

import contextlib
import dataclasses
import functools
import io
import os
import resource
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from data_prep.common.cores import num_cores
from data_prep.networks.network import Network
from experiments.benchmarks.framework import Contender, Skip, Workload, matrix_product, product_name
from experiments.benchmarks.settings import Settings
from experiments.runs.flops import convolutions

BATCHES = 16  # of frames in the clips that are decoded and extracted


def contenders(settings: Settings, platform: str) -> list[Contender]:
    """Decoding, the network and its competitors, and the whole."""
    size = settings.frame_batch
    alone = f"the network alone, batch {size}"
    of = {"reference": product_name()}
    found = [
        matrix_product(settings, platform),
        Contender("decoding alone, one thread", functools.partial(build_decoding, settings)),
        Contender(alone, functools.partial(build_network, settings), **of),
        Contender("the whole", functools.partial(build_whole, settings), compare_to=alone, **of),
    ]
    if platform == "cpu" and settings.network == "efficientnet_lite0":
        found.append(Contender(f"Flax, batch {size}", functools.partial(build_flax, settings), compare_to=alone))
    if platform == "cpu" and settings.network == "googlenet":
        for name, build, needs in (
            ("onnxruntime", build_onnxruntime, "onnxruntime"),
            ("torch, channels last", build_torch, "torch"),
        ):
            if settings.torch or needs != "torch":
                build = functools.partial(build, settings)
                found.append(Contender(f"{name}, batch {size}", build, [needs], compare_to=alone, **of))
    return found


def find_clips(settings: Settings):
    """Returns clips of `BATCHES` batches of frames together, or somewhat more; of a long list, evenly spread ones."""
    from data_prep.datasets.registry import list_clips
    from data_prep.video.clip_frames import probe_clip

    folder = settings.clips
    if not folder:
        from data_prep.datasets.synthetic_clips import write_synthetic_clips

        folder = tempfile.mkdtemp(prefix="benchmark-clips-")
        write_synthetic_clips(folder)
    clips = list_clips("folder", folder)
    order = np.argsort(np.arange(len(clips.clips)) * 0.618 % 1)  # any beginning of it is spread over the list
    chosen, num_frames = [], 0
    for index in order:
        if num_frames >= BATCHES * settings.frame_batch:
            break
        chosen.append(clips.clips[index])
        num_frames += probe_clip(clips.data_dir, chosen[-1].path, None).num_rows
    return dataclasses.replace(clips, clips=tuple(chosen))


def decode(clips, size=(224, 224)):
    """Yields the frames of clips, `<uint8>[n, *size, 3]` at a time."""
    from data_prep.video.frames import read_frames

    for clip in clips.clips:
        yield from read_frames(os.path.join(clips.data_dir, clip.path), size=size)


def batch_of_frames(settings: Settings, size=(224, 224)) -> np.ndarray:
    """Returns the first batch of real frames."""
    frames, count = [], 0
    for some in decode(find_clips(settings), size):
        frames.append(some)
        count += len(some)
        if count >= settings.frame_batch:
            break
    return np.resize(np.concatenate(frames), (settings.frame_batch, *size, 3))


def load(settings: Settings) -> Network:
    """Returns the network; without local weights of GoogLeNet a random one, which is as fast."""
    from data_prep.networks.registry import load_network

    if settings.network == "googlenet":
        path = googlenet_file(settings)
        return load_network("googlenet", {"googlenet": path}) if path else load_network("random")
    return load_network(settings.network, settings.network_options)


def googlenet_file(settings: Settings) -> str:
    """Returns the path of GoogLeNet's local weights, as every program finds them; else ""."""
    from data_prep.networks.weights import ENVIRONMENT_VARIABLE, cached_file

    named = settings.network_options.get("googlenet") or os.environ.get(ENVIRONMENT_VARIABLE, "")
    if named == "random":
        return ""
    return named or (str(cached_file()) if cached_file().exists() else "")


def in_flight(network: Network, frames: np.ndarray, flops: int | None = None) -> Workload:
    """The network alone, with as many calls in flight as keep the machine busy; `flops` are those of one frame."""
    calls = network.calls_in_flight
    pool = ThreadPoolExecutor(calls)
    run = lambda: list(pool.map(network, [frames] * calls))  # noqa: E731
    return Workload(run, calls * len(frames), "frame", flops and flops * calls * len(frames))


def googlenet_flops(settings: Settings) -> int | None:
    """The operations of GoogLeNet's convolutions for one frame; None of another network."""
    import jax

    from attention_ar.googlenet import GoogLeNet

    if settings.network != "googlenet":
        return None
    frame = jax.ShapeDtypeStruct((1, 224, 224, 3), np.float32)
    params = jax.eval_shape(GoogLeNet().init, jax.random.key(0), frame)
    return convolutions(GoogLeNet().apply, params, frame)


def build_decoding(settings: Settings) -> Workload:
    """Frames of all clips, decoded and resized, one after another."""
    clips = find_clips(settings)
    return Workload(lambda: sum(map(len, decode(clips))), sum(map(len, decode(clips))), "frame")


def build_network(settings: Settings) -> Workload:
    """The network as the extraction calls it."""
    network = load(settings)
    return in_flight(network, batch_of_frames(settings, network.input_size), googlenet_flops(settings))


def build_flax(settings: Settings) -> Workload:
    """EfficientNet-Lite0 as accelerators run it."""
    from data_prep.networks import efficientnet_lite0

    params = efficientnet_lite0.read_params(efficientnet_lite0.weights_path())
    recipe = {"random": False, "input_size": [224, 224]}
    run, calls_in_flight = efficientnet_lite0.on_accelerator(params)
    return in_flight(Network(recipe, run, (7, 7, 1280), calls_in_flight), batch_of_frames(settings))


def build_whole(settings: Settings) -> Workload:
    """A whole extraction, without loading and compiling the network."""
    from data_prep.features.extraction import extract

    network, clips = load(settings), find_clips(settings)

    def run():
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            output = Path(folder) / "features.h5"
            return extract(clips, network, output, frame_batch=settings.frame_batch)

    num_frames = run().num_frames
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    flops = googlenet_flops(settings)
    return Workload(run, num_frames, "frame", flops and flops * num_frames, {"peak memory": f"{peak:.0f} MB"})


def build_onnxruntime(settings: Settings) -> Workload:
    """The same file up to the same layer."""
    import onnx
    import onnxruntime

    path = googlenet_file(settings)
    if not path.endswith(".onnx"):
        raise Skip("needs BVLC GoogLeNet's file: --googlenet=FILE.onnx or $ATTENTION_AR_GOOGLENET")
    model = onnx.load(path)
    features = onnx.helper.make_tensor_value_info("inception_5b/output_1", onnx.TensorProto.FLOAT, None)
    del model.graph.output[:]
    model.graph.output.append(features)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_cores()
    # Where it takes batches of one size only, that size is written anew.
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    frames, mean = batch_of_frames(settings), np.array([104, 117, 123], np.float32)

    def run():
        x = np.ascontiguousarray(np.moveaxis(frames.astype(np.float32) - mean, -1, 1))
        (found,) = session.run(["inception_5b/output_1"], {model.graph.input[0].name: x})
        return np.moveaxis(found, 1, -1).astype(np.float16)

    if run().shape != (len(frames), 7, 7, 1024):
        raise Skip(f"gives {run().shape}")
    return Workload(run, len(frames), "frame", googlenet_flops(settings) * len(frames))


def build_torch(settings: Settings) -> Workload:
    """The same weights in torch."""
    import jax
    import torch

    from experiments.benchmarks.torch_googlenet import GoogLeNet

    network, frames = load(settings), batch_of_frames(settings)
    if network.recipe["network"] == "torchvision_googlenet":
        raise Skip("is BVLC's network; --googlenet is torchvision's")
    module = GoogLeNet(jax.tree.map(np.asarray, network.params)).eval().to(memory_format=torch.channels_last)

    def run():
        with torch.inference_mode():
            return module(torch.from_numpy(frames)).numpy()

    return Workload(run, len(frames), "frame", googlenet_flops(settings) * len(frames))
