"""The flags of the two tables' programs, and their common end."""

from absl import flags

from experiments.runs.config import RunConfig, as_flags, define_run_flags, from_flags
from experiments.runs.flag_effects import given, refuse_without_effect

flags.disclaim_key_flags()


def define_flags():
    """Defines the flags of both tables."""
    flags.DEFINE_string("workdir", None, "Folder for the table and the runs behind it.", required=True)
    flags.DEFINE_integer("seeds", 5, "How many seeds of every model: 0, 1, 2 and so on.", lower_bound=1)
    flags.DEFINE_boolean(
        "retrain_to_cost",
        False,
        "Whether to evaluate models trained again on everything, down to the best epoch's cost.",
    )
    define_run_flags()
    flags.mark_flag_as_required("features")


def make(table, rows):
    """Makes a table as the flags say, and shows it.

    Args:
      table: the function of `paper_tables`.
      rows: names of its rows. A flag that has no effect on any of them is refused.
    """
    from experiments.runs.work_folder import work_folder
    from experiments.tables.comparison import ROWS
    from experiments.tables.mean_feature import DATA_FLAGS

    values, config = flags.FLAGS, from_flags(RunConfig)
    set_by = dict.fromkeys(("model", "attention_penalty"), "has no effect: every row of the table has its own")
    set_by["seed"] = "has no effect: the table's seeds are 0, 1, 2 and so on, see --seeds"
    set_by["test_fold"] = "has no effect: the table tests on every one of the --test_folds"
    configs = [ROWS[row].configure(config, seed=0) for row in rows if ROWS[row].model]
    if not configs:
        without = "has no effect: the only row is mean_feature, which trains no model"
        set_by |= {name: without for name in as_flags(config) if name not in (*DATA_FLAGS, *set_by)}
        configs = [config]
    if not any(one.attention.init_from for one in configs):
        set_by["init_from"] = "has no effect: only rows with attention begin with another run"
    refuse_without_effect(config, configs, given(as_flags(config)), set_by)
    with work_folder(values.workdir):
        paths = table(values.workdir, config, values.seeds, values.retrain_to_cost)
    print(paths[0].read_text(encoding="utf-8"))
    runs = f"test_folds_{config.data.test_folds}" if config.data.test_folds else "cells"
    print(f"table: {', '.join(map(str, paths))}; the runs behind it: {values.workdir}/{runs}")
