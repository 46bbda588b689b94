"""Cross-validation by group inside the training part, over a grid of any flags; the test part is never touched.

    python -m experiments.sweep --features=features.h5 --workdir=sweep --grid=num_layers=1,2,3,4,5
    python -m experiments.sweep --features=features.h5 --workdir=sweep --grid=attention_penalty=0,1,10 --grid=fps=6,30

Every point of the grid (all combinations of the values) is trained once for every fold, on all other folds, and
scored on that fold. All flags of experiments.train hold for all points, so `--flagfile=experiments/configs/ucf11.cfg`
may be given; --folds and --seeds say what is held out and how often. A flag without effect at a point of the grid is
refused. Leaves `sweep.md`, `.csv` and `.json`; every run behind them is a folder in `points/`, as experiments.train
makes them.

With --retrain_to_cost, the author's own protocol: the best point is trained again on everything, down to the training
cost that it had at its best epoch.

Killed at any moment, the same command resumes; what is done is not done again, also with more values, seeds or epochs.
With --nokeep_checkpoints, more epochs start again at the first one.
"""

from absl import flags

from data_prep.common.command_line import run
from experiments.runs.config import RunConfig, as_flags, define_run_flags, from_flags
from experiments.runs.flag_effects import given
from experiments.runs.flags import values_of


def define_flags():
    flags.DEFINE_string("workdir", None, "Folder for the table and the runs behind it.", required=True)
    flags.DEFINE_multi_string("grid", [], "A flag and its values, name=value,value,…; may be given several times.")
    flags.DEFINE_integer("seeds", 1, "How many seeds on every fold: 0, 1, 2 and so on.", lower_bound=1)
    flags.DEFINE_boolean(
        "retrain_to_cost", False, "Whether to train the best point again, on everything, down to its training cost."
    )
    flags.DEFINE_boolean(
        "keep_checkpoints",
        True,
        "Whether runs that are done keep their checkpoints: each six times its parameters' size. A run that has none "
        "is trained from its first epoch again when more --epochs are asked for.",
    )
    define_run_flags()
    flags.FLAGS.set_default("folds", 5)
    flags.mark_flag_as_required("features")


def main():
    from experiments.runs.work_folder import work_folder
    from experiments.tables.grid import parse_grid, refuse_flags_without_effect
    from experiments.tables.sweep_table import sweep

    grid, config = parse_grid(flags.FLAGS.grid), from_flags(RunConfig)
    refuse_flags_without_effect(config, grid, given(as_flags(config)))
    with work_folder(flags.FLAGS.workdir):
        paths, retrained = sweep(
            *(flags.FLAGS.workdir, config, grid, config.data.folds, flags.FLAGS.seeds),
            **values_of("retrain_to_cost", "keep_checkpoints"),
        )
    print(paths[0].read_text(encoding="utf-8"))
    print(f"table: {', '.join(map(str, paths))}; the runs behind it: {flags.FLAGS.workdir}/points")
    for one in retrained:
        print(f"its test score: python -m experiments.evaluate --workdir={one.trial.folder}")


if __name__ == "__main__":
    run(main, define_flags)
