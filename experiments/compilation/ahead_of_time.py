"""The training step, compiled for an absent pod, and its memory, collectives and operations."""

import dataclasses
import functools
import importlib.metadata
import math
import re
import time

import jax
import numpy as np

from attention_ar.errors import InputError, one_line
from attention_ar.loop import loop_for
from attention_ar.training.parallel import check_batch_size, choose
from attention_ar.training.steps import create_train_state
from data_prep.features.opening import open_features
from experiments.compilation.collectives import find_collectives
from experiments.compilation.tpu_topologies import Pod, find_pod
from experiments.runs.build import (
    build_baseline,
    build_model,
    build_objective,
    build_optimizer,
    build_sampling,
    feature_dtype,
)
from experiments.runs.config import RunConfig, as_flags, with_flags
from experiments.runs.models import MODELS


@dataclasses.dataclass(frozen=True)
class Shapes:
    """The facts that a features file would give.

    Attributes:
      num_cells: K².
      input_dim: D.
      num_classes: C.
      multi_label: whether a clip may have several labels.
      num_frames: of a table on the devices; 0 if each batch contains its features.
    """

    num_cells: int = 49
    input_dim: int = 1024
    num_classes: int = 11
    multi_label: bool = False
    num_frames: int = 0


def compile_for(topology: str, config: RunConfig, shapes: Shapes) -> dict:
    """Compiles the step that `experiments.train` runs on all chips of a pod, and reports on it.

    Args:
      topology: see `tpu_topologies.find_pod`.
      config: of the run; its batch is that of the whole pod.
      shapes: of the features.

    Returns:
      The facts that `describe` writes, for JSON.

    Raises:
      InputError: where there is no such pod or no compiler, where the batch cannot be sharded over the chips, and where
        the step needs more memory than they have.
    """
    pod = find_pod(topology)
    if config.runtime.parallel != "auto":
        raise InputError(f"parallel={config.runtime.parallel}: only auto is compiled ahead of time")
    if config.runtime.features_on == "device" and not shapes.num_frames:
        raise InputError("features_on=device: needs --num_frames, the size of the table, or --features")
    if config.runtime.features_on != "device":
        shapes = dataclasses.replace(shapes, num_frames=0)
    check_batch_size(config.training.batch_size, pod)
    parallel = choose("auto", pod.devices())
    begun = time.perf_counter()
    try:
        compiled = lower_train_step(parallel, config, shapes, pod.generation.hbm).compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise does_not_fit(pod, config.training.batch_size, str(error)) from None
    return report(compiled, pod, config, shapes) | {
        "device_kind": parallel.devices[0].device_kind,
        "num_hosts": len({device.process_index for device in parallel.devices}),
        "compile_seconds": time.perf_counter() - begun,
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "libtpu")},
    }


def shapes_of(config: RunConfig) -> Shapes:
    """Returns the shapes of the run's features file; they lie on the devices with --features_on=device."""
    file = open_features(config.data.features)
    num_frames, side, _, input_dim = file.features.shape
    on_device = config.runtime.features_on == "device"
    return Shapes(side**2, input_dim, len(file.class_names), file.multi_label, num_frames if on_device else 0)


def lower_train_step(parallel, config: RunConfig, shapes: Shapes, memory_of_a_chip: int):
    """Returns the training step, lowered for the shapes of a batch; no array is needed.

    Args:
      parallel: of `attention_ar.training.parallel`.
      config, shapes: see `compile_for`.
      memory_of_a_chip: in bytes.
    """
    batch_size, num_steps = config.training.batch_size, config.data.num_steps
    dtype, frame = feature_dtype(config.model), (shapes.num_cells, shapes.input_dim)
    if config.runtime.time_loop == "auto":  # The default would be the loop for the machine that compiles.
        config = with_flags(config, time_loop=loop_for(parallel.devices[0].platform))
    model = build_model(config, shapes.num_classes, shapes.multi_label)
    optimizer = build_optimizer(config.training)
    objective, sampling = build_objective(config, shapes.multi_label), build_sampling(config, batch_size)
    baseline = build_baseline(model, objective, sampling, num_steps)
    init = functools.partial(create_train_state, model, optimizer, baseline=baseline)
    example = jax.ShapeDtypeStruct((1, num_steps, *frame), np.float32)
    state = parallel.abstract(jax.eval_shape(init, jax.random.key(0), example))
    batch = {
        "labels": jax.ShapeDtypeStruct((batch_size, shapes.num_classes), np.float32),
        "weight": jax.ShapeDtypeStruct((batch_size,), np.float32),
        "index": jax.ShapeDtypeStruct((batch_size,), np.int32),
    }
    if shapes.num_frames:
        table = 2 * shapes.num_frames * math.prod(frame)
        if table > memory_of_a_chip:
            raise InputError(
                f"features_on=device: a table of {shapes.num_frames} frames is {table / 2**30:.1f} GiB, a chip has "
                f"{memory_of_a_chip / 2**30:.1f} GiB; use --features_on=host"
            )
        batch["table"] = jax.ShapeDtypeStruct((shapes.num_frames, *frame), np.float16)
        batch["rows"] = jax.ShapeDtypeStruct((batch_size, num_steps), np.int32)
    else:
        batch["features"] = jax.ShapeDtypeStruct((batch_size, num_steps, *frame), dtype)
    step = parallel.compile_train_step(
        dtype,
        model=model,
        objective=objective,
        optimizer=optimizer,
        seed=config.training.seed,
        sampling=sampling,
    )
    return step.lower(state, parallel.abstract_batch(batch))


def does_not_fit(pod: Pod, batch_size: int, message: str) -> InputError:
    """The compiler's out-of-memory error, in one line."""
    # "Used 20.1G of 15.75G hbm", or "temporaries (18.68G) exceeds available HBM (15.75G)".
    needs = re.search(r"(?:Used |\()([\d.]+[KMGT])(?: of |\) exceeds available HBM \()([\d.]+[KMGT])", message)
    numbers = f"{needs[1]}iB of {needs[2]}iB" if needs else one_line(message)
    return InputError(
        f"batch_size={batch_size}: {batch_size // pod.num_devices} blocks a chip do not fit the memory of a chip of "
        f"{pod.name} ({numbers}); take a smaller batch or more chips"
    )


def report(compiled, pod: Pod, config: RunConfig, shapes: Shapes) -> dict:
    """Returns what is known of a compiled step; see `compile_for`."""
    memory = compiled.memory_analysis()
    sizes = {
        "arguments": memory.argument_size_in_bytes,
        "outputs": memory.output_size_in_bytes - memory.alias_size_in_bytes,
        "temporaries": memory.temp_size_in_bytes,
        "program": memory.generated_code_size_in_bytes,
    }
    batch_size = config.training.batch_size
    products = MODELS[config.model.model].products(config, shapes)  # None where they are not counted.
    operations = products and products.training * batch_size
    return {
        "topology": pod.name,
        "num_chips": pod.num_devices,
        "hbm_per_chip": pod.generation.hbm,
        "blocks_per_chip": batch_size // pod.num_devices,
        "features": dataclasses.asdict(shapes),
        "flags": as_flags(config),
        "memory_per_chip": {**sizes, "total": sum(sizes.values())},
        "collectives": [dataclasses.asdict(found) for found in find_collectives(compiled.as_text())],
        "flops": {
            "nominal_per_step": operations,
            "nominal_per_chip": operations and operations / pod.num_devices,
            "cost_analysis_per_chip": (compiled.cost_analysis() or {}).get("flops"),
        },
    }


def describe(found: dict) -> str:
    """Returns the report for people, as Markdown tables."""
    flags, features = found["flags"], found["features"]
    frame = f"[{features['num_cells']}, {features['input_dim']}]"
    where = f"a table of {features['num_frames']} frames on the devices" if features["num_frames"] else "each batch"
    lines = [
        f"{found['topology']}: {found['num_chips']} chips on {found['num_hosts']} hosts ({found['device_kind']}); "
        f"compiled in {found['compile_seconds']:.0f} s by libtpu {found['versions']['libtpu']}",
        f"{flags['model']}, batch {flags['batch_size']} ({found['blocks_per_chip']} blocks a chip), "
        f"T {flags['num_steps']}, {flags['compute_dtype']}, features {frame} in {where}",
        "",
        "| memory of a chip | MiB |",
        "|---|---|",
        *(f"| {name} | {mib(size)} |" for name, size in found["memory_per_chip"].items()),
        f"| there are | {mib(found['hbm_per_chip'])} |",
        "",
    ]
    if found["collectives"]:
        lines += ["| collective | number | MB a chip and step |", "|---|---|---|"]
        for one in found["collectives"]:
            loops = f" ({one['in_loops']} in a loop, counted once)" if one["in_loops"] else ""
            lines.append(f"| {one['kind']} | {one['count']}{loops} | {one['bytes'] / 1e6:.3f} |")
    else:
        lines.append("no collectives")
    operations = found["flops"]
    lines += ["", "| operations | GFLOP |", "|---|---|"]
    if operations["nominal_per_step"] is None:
        lines.append("| nominal matrix products | not counted for these options |")
    else:
        lines.append(f"| nominal matrix products, a step | {operations['nominal_per_step'] / 1e9:.1f} |")
        lines.append(f"| nominal matrix products, a step on one chip | {operations['nominal_per_chip'] / 1e9:.1f} |")
    if operations["cost_analysis_per_chip"]:
        counted = operations["cost_analysis_per_chip"] / 1e9
        lines.append(
            f"| XLA's cost analysis on one chip, which counts one iteration of the time loop | {counted:.1f} |"
        )
    return "\n".join(lines)


def mib(size: int) -> str:
    """Returns bytes as MiB."""
    return f"{size / 2**20:.1f}"
