"""Makes a data set of TensorFlow Datasets of a features file, without TensorFlow.

    python -m data_prep.export_tfds --features=features.h5 --name=ucf11_googlenet --data_dir=DIR

Training reads `DIR/ucf11_googlenet` as it reads features.h5, and the folder may be copied to a bucket, which an HDF5
file cannot be read from. After `import data_prep.tfds_builders`, tfds.data_source("ucf11_googlenet", data_dir=DIR)
finds it too. Killed, the same command resumes.
"""

import dataclasses

from absl import flags

from attention_ar.errors import InputError
from data_prep.common import command_line


def define_flags():
    flags.DEFINE_string("features", "features.h5", "The features file.")
    flags.DEFINE_string(
        "name", None, "The data set's name: ucf11_googlenet, hmdb51_googlenet … or one of your own.", required=True
    )
    flags.DEFINE_string(
        "data_dir",
        None,
        "Where to; TFDS's data_dir. A bucket's address is passed to array_record as it is; not tested.",
        required=True,
    )
    flags.DEFINE_float(
        "validation_fraction",
        0.0,
        "How much of train to hold out as `validation`, by group, where the features file has no such part. Training "
        "holds out as much as it is told by itself, so it needs none here; other readers of the data set may.",
        lower_bound=0,
        upper_bound=0.99,
    )


def main():
    from data_prep.datasets.splits import hold_out_validation
    from data_prep.features.opening import open_features
    from data_prep.features.record_export import export_records
    from data_prep.features.record_files import check_name
    from data_prep.tfds_builders import check_fits

    check_name(flags.FLAGS.name)
    contents = open_features(flags.FLAGS.features)
    check_fits(flags.FLAGS.name, contents)
    if flags.FLAGS.validation_fraction and contents.mirrored.any():
        raise InputError(
            f"validation_fraction={flags.FLAGS.validation_fraction:g}: {flags.FLAGS.features} has mirrored clips, "
            "which are for training alone; leave it out, training holds out its own"
        )
    splits = hold_out_validation(
        contents.labels, contents.groups, contents.splits, fraction=flags.FLAGS.validation_fraction
    )
    contents = dataclasses.replace(contents, splits=splits)
    done = export_records(contents, flags.FLAGS.data_dir, flags.FLAGS.name)
    parts = ", ".join(f"{count} {split}" for split, count in done.num_videos.items())
    print(f"{done.folder}{' is already complete' if done.already_complete else ''}: {parts}")


if __name__ == "__main__":
    command_line.run(main, define_flags, on_buckets=("features", "data_dir"))
