"""Writes a trained model as one file that JAX alone can run, without this project, on CPUs, GPUs and TPUs.

    python -m experiments.export_predictor --workdir=run

Then, in any program that has JAX:

    predict = jax.export.deserialize(bytearray(open("run/predictor.jaxexport", "rb").read())).call
    results = predict(features)  # <float32>[B, T, K², D], for any B

predictor.jaxexport.json describes these features (T, fps, recipe), the classes, and the results.
"""

import os

from absl import flags

from data_prep.common.command_line import run
from experiments.runs import trained_run_flags


def define_flags():
    trained_run_flags.define("workdir", "checkpoint")
    flags.DEFINE_string("output", None, "File to write; by default predictor.jaxexport in the run's folder.")


def main():
    from experiments.runs.exporting import export_predictor  # Imports JAX, which --help need not wait for.

    output = flags.FLAGS.output or os.path.join(flags.FLAGS.workdir, "predictor.jaxexport")
    about = export_predictor(flags.FLAGS.workdir, output, flags.FLAGS.checkpoint)
    shape = ", ".join(map(str, about["features"]["shape"]))
    print(
        f"{about['model']} of epoch {about['epoch']}, {len(about['class_names'])} classes: features [{shape}] to "
        f"{', '.join(about['results'])}, for {', '.join(about['platforms'])}"
    )
    print(f"predictor: {output}; what it is: {output}.json")


if __name__ == "__main__":
    run(main, define_flags)
