"""The paper's Table 2: soft attention on HMDB-51 or Hollywood2, beside what others have published.

    python -m experiments.table2 --features=features.h5 --workdir=tables

Trains soft attention with λ = 0, 1 and 10, or takes the runs that `experiments.table1` has left in the same --workdir,
and marks the λ that was best on what is held out of the training part. Flags are those of experiments.table1.

Killed at any moment, the same command goes on; what is done is not done again, also with more seeds or epochs.
"""

from absl import flags

from attention_ar.errors import InputError
from data_prep.command_line import run
from experiments.config import RunConfig, define_run_flags, from_flags

WORKDIR = flags.DEFINE_string("workdir", None, "Folder for the table and the runs behind it.", required=True)
SEEDS = flags.DEFINE_integer("seeds", 5, "How many seeds of every model: 0, 1, 2 and so on.", lower_bound=1)
RETRAIN_TO_COST = flags.DEFINE_boolean(
    "retrain_to_cost", False, "Whether to evaluate models trained again on everything, down to the best epoch's cost."
)
define_run_flags()
flags.mark_flag_as_required("features")


def main(argv):
    if argv[1:]:
        raise InputError(f"{' '.join(argv[1:])}: not a flag; see --help")
    from experiments.paper_tables import table2  # Imports JAX, which --help need not wait for.

    paths = table2(WORKDIR.value, from_flags(RunConfig), SEEDS.value, RETRAIN_TO_COST.value)
    print(paths[0].read_text(encoding="utf-8"))
    print(f"table: {', '.join(map(str, paths))}; the runs behind it: {WORKDIR.value}/cells")


if __name__ == "__main__":
    run(main)
