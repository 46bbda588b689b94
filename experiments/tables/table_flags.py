"""What the programs of the two tables share: their flags, and how they end."""

from absl import flags

from experiments.runs.config import RunConfig, define_run_flags, from_flags

flags.disclaim_key_flags()


def define_flags():
    """Defines the flags."""
    flags.DEFINE_string("workdir", None, "Folder for the table and the runs behind it.", required=True)
    flags.DEFINE_integer("seeds", 5, "How many seeds of every model: 0, 1, 2 and so on.", lower_bound=1)
    flags.DEFINE_boolean(
        "retrain_to_cost",
        False,
        "Whether to evaluate models trained again on everything, down to the best epoch's cost.",
    )
    define_run_flags()
    flags.mark_flag_as_required("features")


def make(table):
    """Makes a table as the flags say, and shows it.

    Args:
      table: the function of `paper_tables`.
    """
    values = flags.FLAGS
    paths = table(values.workdir, from_flags(RunConfig), values.seeds, values.retrain_to_cost)
    print(paths[0].read_text(encoding="utf-8"))
    print(f"table: {', '.join(map(str, paths))}; the runs behind it: {values.workdir}/cells")
