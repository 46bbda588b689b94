"""The paper's Table 2: soft attention on HMDB-51 or Hollywood2, beside what others have published.

    python -m experiments.table2 --features=features.h5 --workdir=tables

Trains soft attention with λ = 0, 1 and 10, or takes the runs that `experiments.table1` has left in the same --workdir,
and marks the λ that was best on what is held out of the training part. Flags are those of experiments.table1.

Killed at any moment, the same command resumes; what is done is not done again, also with more seeds or epochs.
"""

from data_prep.common.command_line import run
from experiments.tables import table_flags

define_flags = table_flags.define_flags


def main():
    from experiments.tables import comparison, paper_tables

    table_flags.make(paper_tables.table2, comparison.ATTENTION)


if __name__ == "__main__":
    run(main, define_flags)
