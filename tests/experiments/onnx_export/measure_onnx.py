"""Runs as ONNX files: how far their numbers are from JAX's, how large they are, and how fast they run on one core.

    python tests/experiments/onnx_export/measure_onnx.py --output=onnx.json run other_run

Each run is exported as by `experiments.export_predictor --format=onnx`; with --with_network with its network, too. The
table is printed, and written with the command and the machine, for `experiments.record`.
"""

import os
import tempfile
from pathlib import Path

from absl import app, flags, logging

from data_prep.common.files import markdown_table, write_json
from experiments.runs.config import as_flags
from experiments.runs.provenance import provenance

OUTPUT = flags.DEFINE_string("output", "onnx.json", "JSON file of the table.")
WITH_NETWORK = flags.DEFINE_boolean("with_network", False, "Whether the files take frames.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "Blocks at once.", lower_bound=1)
HEADER = ["model", "d", "T", "file, MB", "largest error", "onnxruntime, blocks/s", "JAX, blocks/s"]


def row(workdir, folder: Path) -> list[str]:
    """Exports a run and measures it."""
    from experiments.onnx_export import check  # Imports JAX, which counts the cores.
    from experiments.onnx_export.export import export_onnx
    from experiments.runs import trained
    from experiments.runs.matching_network import matching_network
    from experiments.runs.models import MODELS, describe_looking

    run = trained.load(workdir)
    export_onnx(workdir, folder / "predictor.onnx", with_network=WITH_NETWORK.value)
    network = matching_network(run, None, {}) if WITH_NETWORK.value else None
    found = check.compare(run, folder / "predictor.onnx", network, BATCH_SIZE.value)
    seconds = check.seconds_of({name: found[name] for name in ("onnxruntime", "jax")})
    config, looking = as_flags(run.config), describe_looking(run.config)
    return [
        MODELS[config["model"]].title + (f", {looking}" if looking else ""),
        str(config["hidden_dim"]),
        str(config["num_steps"]),
        f"{found['megabytes']:.1f}",
        f"{max(found['errors'].values()):.1e}",
        *(f"{BATCH_SIZE.value / seconds[name]:.1f}" for name in ("onnxruntime", "jax")),
    ]


def main(argv):
    logging.set_verbosity(logging.WARNING)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        rows = [row(workdir, Path(folder)) for workdir in argv[1:]]
    table = {"header": HEADER, "rows": rows}
    write_json(Path(OUTPUT.value), {"made": provenance(), "batch_size": BATCH_SIZE.value, "table": table})
    print(markdown_table(**table))


if __name__ == "__main__":
    app.run(main)
