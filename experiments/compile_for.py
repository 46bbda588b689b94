"""Compiles the training step for a TPU pod without having it, and says what it would take there.

    python -m experiments.compile_for --topology=v5e:4x4 --batch_size=2048

The step is the one that experiments.train runs with the same flags on all chips of that pod: memory of a chip,
collectives, operations. The flags, and flag files, are those of experiments.train; what does not change the program,
such as --epochs, is ignored. Needs libtpu (pip install libtpu), but no TPU.
"""

import os

from experiments.compilation.tpu_topologies import without_tpu

os.environ.update(without_tpu())  # JAX reads it when it is imported.

from absl import flags

from attention_ar.errors import InputError
from data_prep.common.command_line import run
from data_prep.common.files import write_json
from experiments.runs.config import RunConfig, define_run_flags, from_flags

TOPOLOGY = flags.DEFINE_string(
    "topology", None, "Generation and grid of chips, such as v4:2x2x4, v5e:4x4, v5p:2x2x4, v6e:4x4.", required=True
)
NUM_CELLS = flags.DEFINE_integer("num_cells", 49, "K², cells of a frame; unless --features tells.", lower_bound=1)
INPUT_DIM = flags.DEFINE_integer("input_dim", 1024, "D, feature maps; unless --features tells.", lower_bound=1)
NUM_CLASSES = flags.DEFINE_integer("num_classes", 11, "C; unless --features tells.", lower_bound=1)
MULTI_LABEL = flags.DEFINE_boolean("multi_label", False, "Whether clips have several labels; unless --features tells.")
NUM_FRAMES = flags.DEFINE_integer(
    "num_frames", 0, "Frames of the table that --features_on=device puts there; unless --features tells.", lower_bound=0
)
OUTPUT = flags.DEFINE_string("output", None, "JSON file for the same numbers.")
define_run_flags()


def main(argv):
    if argv[1:]:
        raise InputError(f"{' '.join(argv[1:])}: not a flag; see --help")
    from experiments.compilation.ahead_of_time import Shapes, compile_for, describe, shapes_of

    config = from_flags(RunConfig)
    if config.data.features:
        shapes = shapes_of(config)
    else:
        shapes = Shapes(NUM_CELLS.value, INPUT_DIM.value, NUM_CLASSES.value, MULTI_LABEL.value, NUM_FRAMES.value)
    found = compile_for(TOPOLOGY.value, config, shapes)
    print(describe(found))
    if OUTPUT.value:
        write_json(OUTPUT.value, found)
        print(f"\nnumbers: {OUTPUT.value}")


if __name__ == "__main__":
    run(main)
