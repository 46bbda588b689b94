"""The paper's Table 1 on any prepared data set: seven models, several seeds, and whether attention helps.

    python -m experiments.table1 --features=features.h5 --workdir=tables

Rows are the softmax regression, the average- and the max-pooled LSTM, soft attention with λ = 0, 1 and 10, and the
authors' released model; where the data set is one of the paper's, its figures stand beside ours. All flags of
experiments.train hold for all rows, so `--flagfile=experiments/configs/ucf11.cfg` may be given; --model,
--attention_penalty and --seed are set by the table. Every run behind it is a folder in `cells/`, as experiments.train
makes them: evaluate, visualize, figures and report take it.

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
    from experiments.paper_tables import table1  # Imports JAX, which --help need not wait for.

    paths = table1(WORKDIR.value, from_flags(RunConfig), SEEDS.value, RETRAIN_TO_COST.value)
    print(paths[0].read_text(encoding="utf-8"))
    print(f"table: {', '.join(map(str, paths))}; the runs behind it: {WORKDIR.value}/cells")


if __name__ == "__main__":
    run(main)
