"""Converts the data sets of the authors' released program to a features file, and back.

    python -m data_prep.convert_released --from_released=DIR --output=features.h5
    python -m data_prep.convert_released --features=features.h5 --to_released=DIR

DIR holds train_, valid_ and test_, or some of them: features.h5, framenum.txt, filename.txt and labels.txt. Their
numbers are float32; a features file rounds them to float16, by one part in 2048 at most.
"""

from absl import flags

from attention_ar.errors import InputError
from data_prep.common import command_line


def define_flags():
    flags.DEFINE_string("from_released", None, "Folder with the authors' files, to be converted.")
    flags.DEFINE_string("output", None, "The features file to write (.h5).")
    flags.DEFINE_list("class_names", None, "Names of class 0, 1, …; by default class00, class01, ….")
    flags.DEFINE_float("fps", 30.0, "Frames per second of the videos, which the authors' files do not store.", 0)
    flags.DEFINE_string("features", None, "Features file to be converted to the authors' layout.")
    flags.DEFINE_string("to_released", None, "Folder for the authors' files.")


def main():
    names = ("from_released", "output", "class_names", "fps", "features", "to_released")
    given = {name for name in names if flags.FLAGS[name].present}
    if {"from_released", "output"} <= given <= {"from_released", "output", "class_names", "fps"}:
        convert_from(flags.FLAGS.from_released, flags.FLAGS.output)
    elif given == {"features", "to_released"}:
        convert_to(flags.FLAGS.features, flags.FLAGS.to_released)
    else:
        raise InputError(
            "give either --from_released=DIR --output=FILE, with --class_names and --fps if need be, "
            "or --features=FILE --to_released=DIR"
        )


def convert_from(folder, output):
    from data_prep.released.conversion import from_released  # Imports the decoder, which --help need not wait for.

    made = from_released(folder, output, flags.FLAGS.class_names, flags.FLAGS.fps)
    parts = ", ".join(f"{made.splits.count(split)} {split}" for split in dict.fromkeys(made.splits))
    print(f"{output}: {parts}; classes {', '.join(made.class_names)}; float32 was rounded to float16 (0.05 % at most)")


def convert_to(features, folder):
    from data_prep.released.conversion import RELEASED_FPS, to_released

    file = to_released(features, folder)
    print(f"{folder}: classes by number: {', '.join(f'{i} {name}' for i, name in enumerate(file.class_names))}")
    if set(file.fps) != {RELEASED_FPS}:
        lowest, highest = min(file.fps), max(file.fps)
        print(
            f"NOTE: their program takes all videos to have 30 frames per second; these have {lowest:g} to {highest:g}"
        )


if __name__ == "__main__":
    command_line.run(main, define_flags)
