"""Downloads a data set's files, as far as servers host them, into its folder.

  python -m data_prep.download --dataset=ucf101 --data_dir=ucf101

Interrupted, the same command resumes. If no server hosts a file any more, prints where to get it. The archives need not
be unpacked: the other programs do that.
"""

import os
from pathlib import Path

from absl import flags

from attention_ar.errors import InputError
from data_prep.common import command_line
from data_prep.datasets import dataset_flags
from data_prep.datasets.downloading import download_dataset
from data_prep.datasets.registry import find_dataset


def define_flags():
    dataset_flags.define("dataset", "data_dir")


def main():
    name, folder = flags.FLAGS.dataset, flags.FLAGS.data_dir
    dataset = find_dataset(name)
    if not dataset.downloads:
        named = "ucf11, hmdb51, hollywood2 or ucf101"
        raise InputError(f"dataset={name}: nothing to download; say --dataset={named}")
    if not folder:
        raise InputError("--data_dir: must name the folder to download to")
    folder = Path(os.path.abspath(folder))
    lacking = download_dataset(dataset, folder)
    if lacking:
        raise InputError(f"{name} is not complete: {'; '.join(lacking)}; put it into {folder}")
    print(
        f"{folder} has what {name} needs; next: python -m data_prep.verify_videos --dataset={name} --data_dir={folder}"
    )
    return 0


if __name__ == "__main__":
    command_line.run(main, define_flags)
