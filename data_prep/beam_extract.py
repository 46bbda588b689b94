"""Extracts features on many machines, as an Apache Beam pipeline; `data_prep.extract_features` is for one.

    python -m data_prep.beam_extract --data_dir=my_clips --output_dir=DIR --name=my_googlenet
    … --runner=FlinkRunner -- --flink_master=HOST:8081 --environment_type=LOOPBACK

What follows `--` are Beam's own options. The result, DIR/my_googlenet, is what `data_prep.export_tfds` makes: sharded
array_record files that training and TFDS read. All workers must see both folders under the same paths. After any
failure, the same command resumes after the finished shards. Clips that fail are in dead_letters.csv.

Beam pins older libraries than the rest of this project needs: install it in an environment of its own, with the extra
`beam`.
"""

import functools

from absl import flags

from attention_ar.errors import InputError
from data_prep.common import command_line
from data_prep.datasets import dataset_flags
from data_prep.networks import network_flags


def define_flags():
    dataset_flags.define()
    flags.DEFINE_string(
        "output_dir",
        None,
        "TFDS's data_dir. A bucket's address is passed to array_record as it is; not tested.",
        required=True,
    )
    flags.DEFINE_string("name", None, "The new data set's name, like ucf101_googlenet.", required=True)
    network_flags.define()
    flags.DEFINE_string("fps", "native", "Frames per second to keep, as for data_prep.extract_features.")
    flags.DEFINE_integer("frame_batch", 32, "Frames per call of the network.", lower_bound=1)
    flags.DEFINE_integer("clips_per_shard", 32, "Clips of one file, which is one unit of work.", 1)
    flags.DEFINE_integer("tries", 3, "How often a clip is tried before it is given up.", lower_bound=1)
    flags.DEFINE_boolean("retry_dead_letters", False, "Do shards again in which clips failed.")
    flags.DEFINE_float("max_bad", 0.05, "End with status 1 if more than this share of clips is lost.", 0, 1)
    flags.DEFINE_string("runner", "DirectRunner", "FlinkRunner, SparkRunner, DataflowRunner, ….")


def main(arguments):
    clip_list = dataset_flags.listed_clips()
    from data_prep.features import statistics  # --help need not wait for these.
    from data_prep.features.extraction import parse_fps
    from data_prep.features.opening import open_features
    from data_prep.networks.registry import load_network

    fps = parse_fps(flags.FLAGS.fps)
    try:
        from apache_beam.options.pipeline_options import PipelineOptions

        from data_prep.features.beam_pipeline import extract_with_beam
    except ImportError as error:
        raise InputError(f"{error}: pip install '.[beam]' in an environment of its own") from None

    done = extract_with_beam(
        clip_list,
        functools.partial(load_network, *network_flags.given()),
        flags.FLAGS.output_dir,
        flags.FLAGS.name,
        fps=fps,
        frame_batch=flags.FLAGS.frame_batch,
        clips_per_shard=flags.FLAGS.clips_per_shard,
        tries=flags.FLAGS.tries,
        retry_dead_letters=flags.FLAGS.retry_dead_letters,
        options=PipelineOptions([f"--runner={flags.FLAGS.runner}", *arguments]),
    )
    parts = ", ".join(f"{count} {split}" for split, count in done.num_videos.items())
    state = " is already complete" if done.already_complete else ""
    print(f"{done.folder}{state}: {done.num_frames} frames of {sum(done.num_videos.values())} clips ({parts})")
    statistics.report(open_features(done.folder), done.folder)
    if done.num_dead:
        print(f"{done.num_dead} clips are lost: {done.dead_letters}")
    max_bad = flags.FLAGS.max_bad
    if done.num_dead > max_bad * len(clip_list.clips):
        raise InputError(
            f"{done.num_dead} of {len(clip_list.clips)} clips are lost, more than --max_bad={max_bad:g} allows; "
            f"{done.folder} holds the others"
        )
    return 0


if __name__ == "__main__":
    command_line.run(main, define_flags, takes_arguments=True, on_buckets=("output_dir",))
