"""Extracts features of every frame of a data set into one HDF5 file.

  python -m data_prep.extract_features --data_dir=my_clips --output=features.h5
  python -m data_prep.extract_features --dataset=ucf11 --data_dir=ucf11 --output=ucf11.h5
  python -m data_prep.extract_features --dataset=hmdb51 --split=1 --data_dir=hmdb51 --output=hmdb51.h5
  python -m data_prep.extract_features --network=efficientnet_lite0 --data_dir=my_clips --output=features.h5

`my_clips` holds one folder of video files per class, or an index.csv (path,label,group,split). The published data sets
are read as they are distributed; archives are unpacked beside where they lie. With
--mirror, training clips are stored a second time with left and right swapped. Killed at any moment,
the same command resumes after the last finished clip. Clips that cannot be read, or not to their end, are listed in
skipped.csv beside the output.
"""

import time

from absl import flags

from attention_ar.errors import InputError
from data_prep.common import command_line
from data_prep.datasets import dataset_flags
from data_prep.datasets.mirrors import parse_mirror_labels, with_mirrored
from data_prep.features.extraction import check_output, extract, parse_fps
from data_prep.networks import network_flags


def define_flags():
    dataset_flags.define()
    flags.DEFINE_string("output", "features.h5", "The file to write.")
    network_flags.define()
    flags.DEFINE_string(
        "fps",
        "native",
        "Frames per second to keep: every k-th frame, k = round(native / fps); of a clip whose rate varies, the frames "
        "nearest to the times 0, 1/fps, 2/fps, …; `native` keeps all of them.",
    )
    flags.DEFINE_boolean(
        "mirror", False, "Whether to store the features of training clips with left and right swapped, too."
    )
    flags.DEFINE_string(
        "mirror_labels", "", "Classes that swap in a mirrored clip, as in left:right,turn_left:turn_right."
    )
    flags.DEFINE_float("max_bad", 0.05, "End with status 1 if more than this share of clips is lost.", 0, 1)
    flags.DEFINE_integer("frame_batch", 32, "Frames per call of the network.", lower_bound=1)
    flags.DEFINE_integer(
        "decode_workers", None, "Clips decoded at a time, in threads; by default one a core, 2 to 16.", lower_bound=1
    )


def main():
    fps = parse_fps(flags.FLAGS.fps)
    if not flags.FLAGS.mirror:
        command_line.refuse_flags("mirror_labels", because="without --mirror")
    swaps = parse_mirror_labels(flags.FLAGS.mirror_labels) if flags.FLAGS.mirror else None
    output = check_output(flags.FLAGS.output)
    clip_list = dataset_flags.listed_clips()
    if swaps:
        with_mirrored(clip_list, swaps)  # Raises before the network is loaded.
    from data_prep.features import statistics  # Imports that --help need not wait for.
    from data_prep.features.opening import open_features
    from data_prep.networks.registry import load_network

    network = load_network(*network_flags.given())
    if network.is_random:
        print("the network is RANDOM: these features are for trials, not for results")

    if not output.exists() and (fault := statistics.network_fault(network, flags.FLAGS.frame_batch)):
        print(f"NOTE: {fault}")

    begun = time.monotonic()
    done = extract(
        clip_list,
        network,
        output,
        fps=fps,
        frame_batch=flags.FLAGS.frame_batch,
        decode_workers=flags.FLAGS.decode_workers,
        mirror_labels=swaps,
    )
    held = f"{done.num_frames} frames of {done.num_clips - done.num_lost} clips"
    if done.already_complete:
        print(f"{output} is already complete: {held}")
    else:
        print(f"{output}: {held} in {time.monotonic() - begun:.0f} s")
    statistics.report(open_features(output), output)
    if done.num_lost or done.num_cut_short:
        skipped = output.with_name("skipped.csv")
        print(f"{done.num_lost} clips are lost and {done.num_cut_short} are cut short: {skipped}")
    if done.num_lost > flags.FLAGS.max_bad * done.num_clips:
        raise InputError(
            f"{done.num_lost} of {done.num_clips} clips are lost, more than --max_bad={flags.FLAGS.max_bad:g} allows; "
            f"{output} holds the others"
        )
    return 0


if __name__ == "__main__":
    command_line.run(main, define_flags)
