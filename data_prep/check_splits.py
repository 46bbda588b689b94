"""Prints the counts of a data set's split and refuses one in which train and test share a group or a clip's content.

  python -m data_prep.check_splits --dataset=hmdb51 --data_dir=hmdb51 --split=1

Two clips have the same content if all their decoded frames are the same. In official lists, such clips are reported and
not refused. Ends with status 0 if the split may be used.
"""

from absl import flags

from attention_ar.errors import InputError
from data_prep.common import command_line
from data_prep.datasets import dataset_flags
from data_prep.datasets.registry import find_dataset
from data_prep.datasets.split_report import count_table, find_leaks, validation_line


def define_flags():
    dataset_flags.define()
    flags.DEFINE_bool("contents", True, "Compare the clips' decoded frames, not only their groups.")


def main():
    clip_list = dataset_flags.listed_clips()
    print(count_table(clip_list))
    print(f"{len(clip_list.class_names)} classes; split {clip_list.split_id}")
    print(validation_line(clip_list), flush=True)
    leaks = find_leaks(clip_list, flags.FLAGS.contents)
    compared = "groups and contents" if flags.FLAGS.contents else "groups"
    if not leaks:
        print(f"no clip of one part is in another ({compared} compared)")
        return 0
    for leak in leaks:
        print(leak)
    if find_dataset(clip_list.dataset).official_split:
        print(f"{len(leaks)} leaks, which the official lists have; the split may be used as it is")
        return 0
    raise InputError(f"{len(leaks)} leaks between the parts of the split; the first: {leaks[0]}")


if __name__ == "__main__":
    command_line.run(main, define_flags)
