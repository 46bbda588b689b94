"""Compiles the training step for an absent TPU pod, and prints its memory and operations there.

    python -m experiments.compile_for --topology=v5e:4x4 --batch_size=2048

The step is the one that experiments.train runs with the same flags on all chips of that pod: memory of a chip,
collectives, operations. The flags, and flag files, are those of experiments.train; flags that do not change the
program, such as --epochs, are ignored. Needs libtpu (pip install libtpu), but no TPU.
"""

import os

from absl import flags

from data_prep.common.command_line import refuse_flags, run
from data_prep.common.files import write_json
from experiments.compilation.tpu_topologies import without_tpu

_SHAPES = ("num_cells", "input_dim", "num_classes", "multi_label", "num_frames")


def define_flags():
    os.environ.update(without_tpu())  # Before JAX is imported, which reads it then.
    from experiments.runs.config import define_run_flags

    flags.DEFINE_string(
        "topology", None, "Generation and grid of chips, such as v4:2x2x4, v5e:4x4, v5p:2x2x4, v6e:4x4.", required=True
    )
    flags.DEFINE_integer("num_cells", 49, "K², cells of a frame; unless --features gives it.", lower_bound=1)
    flags.DEFINE_integer("input_dim", 1024, "D, channels of the features; unless --features gives it.", lower_bound=1)
    flags.DEFINE_integer("num_classes", 11, "C; unless --features gives it.", lower_bound=1)
    flags.DEFINE_boolean("multi_label", False, "Whether clips have several labels; unless --features gives it.")
    flags.DEFINE_integer(
        "num_frames",
        0,
        "Frames of the table that --features_on=device puts there; unless --features gives it.",
        lower_bound=0,
    )
    flags.DEFINE_string("output", None, "JSON file for the same numbers.")
    define_run_flags()


def main():
    from experiments.compilation.ahead_of_time import Shapes, compile_for, describe, shapes_of
    from experiments.runs.flag_effects import checked_run_config
    from experiments.runs.flags import values_of

    config = checked_run_config()
    if config.data.features:
        refuse_flags(*_SHAPES, because="with --features, which gives it")
        shapes = shapes_of(config)
    else:
        shapes = Shapes(**values_of(*_SHAPES))
    found = compile_for(flags.FLAGS.topology, config, shapes)
    print(describe(found))
    if flags.FLAGS.output:
        write_json(flags.FLAGS.output, found)
        print(f"\nnumbers: {flags.FLAGS.output}")


if __name__ == "__main__":
    run(main, define_flags)
