"""The paper's Table 1 on any prepared data set: seven rows of five models, several seeds, and whether attention helps.

    python -m experiments.table1 --features=features.h5 --workdir=tables
    python -m experiments.table1 --features=features.h5 --workdir=tables --test_folds=5 --rows=average_pool,attention_0

Rows are the softmax regression, the average- and the max-pooled LSTM, soft attention with λ = 0, 1 and 10, and the
authors' released model; and below them the simplest baseline, a logistic regression on a clip's mean feature. Where the
data set is one of the paper's, its numbers stand beside ours. With --test_folds=5, all clips are cut into five folds by
group, and each is tested by runs on the others. All flags of
experiments.train hold for all rows, so `--flagfile=experiments/configs/ucf11.cfg` may be given; --model,
--attention_penalty and --seed are set by the table. --init_from is for the rows with attention; {row} in it is the
row's name. Each seed holds another share of the training part out, or with
--split_seed all the same one. Every run behind it is a folder in `cells/`, as experiments.train
makes them: evaluate, visualize, figures and report take it.

Killed at any moment, the same command resumes; what is done is not done again, also with more seeds or epochs.
"""

import functools

from absl import flags

from attention_ar.errors import InputError
from data_prep.common.command_line import run
from experiments.tables import table_flags


def define_flags():
    table_flags.define_flags()
    flags.DEFINE_list(
        "rows",
        None,
        "Rows of the table, separated by commas; by default all: softmax_regression, average_pool, max_pool, "
        "attention_0, attention_1, attention_10, released, mean_feature.",
    )


def main():
    from experiments.tables import comparison, paper_tables

    rows = tuple(dict.fromkeys(comparison.ROWS if flags.FLAGS.rows is None else flags.FLAGS.rows))
    if unknown := [row for row in rows if row not in comparison.ROWS] or (not rows and ["nothing"]):
        raise InputError(f"rows={','.join(unknown)}: no such row; there are {', '.join(comparison.ROWS)}")
    table_flags.make(functools.partial(paper_tables.table1, rows=rows), rows)


if __name__ == "__main__":
    run(main, define_flags)
