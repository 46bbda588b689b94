"""Makes a run of a checkpoint of the authors' released program, and such a checkpoint of a run.

    python -m experiments.import_released --model=model.npz --features=features.h5 --workdir=run
    python -m experiments.evaluate --workdir=run --protocol=released
    python -m experiments.import_released --workdir=run --export=model.npz

Give the flags that the model was trained with where they differ from the defaults: a checkpoint does not store them.
The authors' HMDB-51 and Hollywood2 scripts have --last_n=16. data_prep.convert_released makes a features file of their
data set.
"""

from absl import flags

from attention_ar.errors import InputError
from data_prep.common.command_line import run
from experiments.runs.flags import values_of

_OPTIONS = ("num_steps", "fps", "stride", "last_n", "temperature_inverse", "use_dropout")


def define_flags():
    flags.DEFINE_string("workdir", None, "Folder of the run: to be made, or to be exported.", required=True)
    flags.DEFINE_string("model", None, "Checkpoint to import (.npz).")
    flags.DEFINE_string("features", None, "Features file of the data set it was trained on.")
    flags.DEFINE_string("export", None, "Checkpoint to write (.npz), of the run's best parameters.")
    flags.DEFINE_integer("num_steps", 30, "T, the frames of a block; their maxlen.", lower_bound=1)
    flags.DEFINE_float("fps", 30.0, "Rate at which a block samples the video; at most 30.")
    flags.DEFINE_integer("stride", 1, "Frames between the starts of two blocks; their testing_stride.", lower_bound=1)
    flags.DEFINE_integer("last_n", 30, "Last steps of a block that make its prediction.", lower_bound=1)
    flags.DEFINE_float("temperature_inverse", 1.0, "Factor on the scores under the location softmax.")
    flags.DEFINE_boolean("use_dropout", True, "Whether it was trained with dropout; its units then count half.")


def main():
    given = {name for name in ("model", "features", "export", *_OPTIONS) if flags.FLAGS[name].present}
    if given == {"export"}:
        export(flags.FLAGS.workdir, flags.FLAGS.export)
    elif {"model", "features"} <= given and "export" not in given:
        import_(
            flags.FLAGS.model,
            flags.FLAGS.features,
            flags.FLAGS.workdir,
            values_of(*_OPTIONS),
        )
    else:
        raise InputError("give either --workdir --model --features, with options if need be, or --workdir --export")


def import_(model, features, workdir, options):
    from experiments.runs.released_checkpoints import import_checkpoint  # Imports JAX, which --help need not wait for.

    config = import_checkpoint(model, workdir, features, **options)
    found = {"hidden_dim": config.model.hidden_dim, "init_layers": config.model.init_layers, **vars(config.released)}
    print(f"read from {model}: {_listed({name: value for name, value in found.items() if name not in options})}")
    print(f"taken from the flags: {_listed(options)}")
    print(f"the run is in {workdir}; python -m experiments.evaluate --workdir={workdir} --protocol=released scores it")


def export(workdir, path):
    from experiments.runs.released_checkpoints import export_checkpoint

    config = export_checkpoint(workdir, path)
    untold = {
        "maxlen": config.data.num_steps,
        "fps": config.data.fps,
        "last_n": config.released.last_n,
        "temperature_inverse": config.released.temperature_inverse,
        "use_dropout": config.model.dropout > 0,
    }
    print(f"{path}: tell their program {_listed(untold)}")


def _listed(options: dict) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())


if __name__ == "__main__":
    run(main, define_flags)
