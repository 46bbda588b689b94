"""Records the numbers of a table as a result, and writes the tables of the READMEs anew.

    python -m experiments.record --name=jhmdb_googlenet_table1 jhmdb/table1.json
    python -m experiments.record    # the READMEs, and the table of the paper's claims, again

A table's JSON file has the command, the machine, the versions and the day. It is copied to `experiments/results/`,
without the folders of the machine; the READMEs quote the files there, and a test compares the two.
"""

from absl import flags

from attention_ar.errors import InputError
from data_prep.common.command_line import run


def define_flags():
    flags.DEFINE_string("name", None, "Of the result, such as jhmdb_googlenet_table1; needed beside a JSON file.")


def main(sources):
    from experiments.tables import results

    if len(sources) > 1 or bool(sources) != bool(flags.FLAGS.name):
        raise InputError("give both the JSON file of one table and its --name, or neither")
    written = [results.record(sources[0], flags.FLAGS.name)] if sources else []
    for path in [*written, *results.write_claims(), *results.quote()]:
        print(path)


if __name__ == "__main__":
    run(main, define_flags, takes_arguments=True)
