"""Decodes every clip once and reports those that are unreadable, truncated, short, without frame rate or duplicate.

  python -m data_prep.verify_videos my_clips
  python -m data_prep.verify_videos --dataset=ucf11 --data_dir=ucf11

A folder's video files, or the clips that a data set lists (then those missing on disk are reported too). Ends with
status 0 if all clips are sound and with 1 if not. The CSV has all clips, with frames, rate, size and a hash of the
decoded frames.
"""

import os

from absl import flags

from attention_ar.errors import InputError
from data_prep.common import command_line
from data_prep.datasets import dataset_flags
from data_prep.datasets.registry import list_clips
from data_prep.datasets.verification import format_faults, summary, verify, videos_below, write_verdicts
from data_prep.video.parts import video_of


def define_flags():
    dataset_flags.define("dataset", "data_dir", "split")
    flags.DEFINE_string("output", "videos.csv", "The table to write.")
    flags.DEFINE_integer("min_frames", 16, "A clip with fewer frames counts as short.", lower_bound=1)


def main(arguments):
    listed = flags.FLAGS.data_dir is not None
    if len(arguments) != (not listed):
        raise InputError("give either one folder of clips, or --data_dir=DIR and --dataset")
    if listed:
        clip_list = list_clips(
            flags.FLAGS.dataset,
            flags.FLAGS.data_dir,
            split=flags.FLAGS.split,
            allow_missing=True,
        )
        folder = clip_list.data_dir
        paths = list(dict.fromkeys(video_of(folder, clip.path)[0] for clip in clip_list.clips))
        missing = [clip.path for clip in clip_list.missing]
    else:
        command_line.refuse_flags("dataset", "split", because="without --data_dir")
        folder, missing = arguments[0], []
        paths = videos_below(folder)

    verdicts = verify(folder, paths, min_frames=flags.FLAGS.min_frames, missing=missing)
    write_verdicts(flags.FLAGS.output, verdicts)
    if table := format_faults(verdicts):
        print(table)
    print(f"{summary(verdicts)}; {os.path.abspath(flags.FLAGS.output)} has them all")
    at_fault = sum(bool(verdict.faults) for verdict in verdicts)
    if at_fault:
        raise InputError(f"{at_fault} of {len(verdicts)} clips are at fault")
    return 0


if __name__ == "__main__":
    command_line.run(main, define_flags, takes_arguments=True)
