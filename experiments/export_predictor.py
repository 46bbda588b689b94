"""Writes a trained model as one file that runs without this project: for JAX, or as ONNX.

    python -m experiments.export_predictor --workdir=run                               # for any program that has JAX
    python -m experiments.export_predictor --workdir=run --format=onnx                 # onnxruntime, browsers, …
    python -m experiments.export_predictor --workdir=run --format=onnx --with_network  # takes frames

In a program that has JAX:

    predict = jax.export.deserialize(bytearray(open("run/predictor.jaxexport", "rb").read())).call
    results = predict(features)  # <float32>[B, T, K², D], for any B

In one that has onnxruntime:

    session = onnxruntime.InferenceSession("run/predictor.onnx")
    predictions, block_predictions, attention = session.run(None, {"features": features})

predictor.jaxexport.json, and the metadata in predictor.onnx, describe these features (T, fps, recipe), the classes, and
the results.
"""

import os

from absl import flags

from data_prep.common.command_line import refuse_flags, run
from data_prep.networks import network_flags
from experiments.runs import trained_run_flags

FILES = {"jax": "predictor.jaxexport", "onnx": "predictor.onnx"}


def define_flags():
    trained_run_flags.define("workdir", "checkpoint")
    flags.DEFINE_enum("format", "jax", list(FILES), "jax: for JAX alone, on CPUs, GPUs and TPUs; onnx: an ONNX file.")
    flags.DEFINE_string("output", None, "File to write; by default predictor.jaxexport or .onnx in the run's folder.")
    flags.DEFINE_boolean(
        "with_network",
        False,
        "With --format=onnx: the file takes frames <uint8>[B, T, height, width, 3], RGB, and has the network in it "
        "that makes their features.",
    )
    flags.DEFINE_boolean(
        "check",
        False,
        "With --format=onnx: also print its errors and its speed in onnxruntime beside JAX, on one core.",
    )
    network_flags.define(default=None)


def main():
    name = flags.FLAGS.format
    of_network = ["network", *network_flags.given()[1]]
    if name == "jax":
        refuse_flags("with_network", "check", *of_network, because="without --format=onnx")
    if not flags.FLAGS.with_network:
        refuse_flags(*of_network, because="without --with_network")
    if flags.FLAGS.check and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # Before JAX counts the cores.
    output = flags.FLAGS.output or os.path.join(flags.FLAGS.workdir, FILES[name])
    (_export_jax if name == "jax" else _export_onnx)(output)


def _export_jax(output: str):
    from experiments.runs.exporting import export_predictor  # Imports JAX, which --help need not wait for.

    about = export_predictor(flags.FLAGS.workdir, output, flags.FLAGS.checkpoint)
    shape = ", ".join(map(str, about["features"]["shape"]))
    print(
        f"{about['model']} of epoch {about['epoch']}, {len(about['class_names'])} classes: features [{shape}] to "
        f"{', '.join(about['results'])}, for {', '.join(about['platforms'])}"
    )
    print(f"predictor: {output}; what it is: {output}.json")


def _export_onnx(output: str):
    from experiments.onnx_export.export import export_onnx

    network, options = network_flags.given()
    about, checked = export_onnx(
        flags.FLAGS.workdir,
        output,
        checkpoint=flags.FLAGS.checkpoint,
        with_network=flags.FLAGS.with_network,
        network=network,
        network_options=options,
        check=flags.FLAGS.check,
    )
    shape = ", ".join(map(str, about["input"]["shape"]))
    print(
        f"{about['model']} of epoch {about['epoch']}, {len(about['class_names'])} classes: {about['input']['name']} "
        f"[{shape}] to {', '.join(about['results'])}"
    )
    print(f"predictor: {output}, {os.path.getsize(output) / 1e6:.1f} MB")
    if checked:
        print(checked)


if __name__ == "__main__":
    run(main, define_flags)
