"""The paper's Table 1 on any prepared data set: seven models, several seeds, and whether attention helps.

    python -m experiments.table1 --features=features.h5 --workdir=tables

Rows are the softmax regression, the average- and the max-pooled LSTM, soft attention with λ = 0, 1 and 10, and the
authors' released model; where the data set is one of the paper's, its figures stand beside ours. All flags of
experiments.train hold for all rows, so `--flagfile=experiments/configs/ucf11.cfg` may be given; --model,
--attention_penalty and --seed are set by the table. Each seed holds another share of the training part out, or with
--split_seed all the same one. Every run behind it is a folder in `cells/`, as experiments.train
makes them: evaluate, visualize, figures and report take it.

Killed at any moment, the same command resumes; what is done is not done again, also with more seeds or epochs.
"""

from data_prep.common.command_line import run
from experiments.tables import comparison, paper_tables, table_flags


def main():
    table_flags.make(paper_tables.table1, comparison.ROWS)


if __name__ == "__main__":
    run(main, table_flags.define_flags)
