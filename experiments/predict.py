"""Class names and probabilities for any video, block by block as it comes, and for the whole clip.

    python -m experiments.predict --workdir=run clip.mp4
    python -m experiments.predict --workdir=run --overlay=overlays clips/
    python -m experiments.predict --workdir=run --output=predictions.csv --reject_below=0.6 clips/
    python -m experiments.predict --workdir=run --segments=match.srt --min_seconds=2 match.mp4
    ffmpeg -i rtsp://… -f matroska - | python -m experiments.predict --workdir=run --json -
    python -m experiments.predict --workdir=run /dev/video0

Clips are files, folders of them, folders of numbered pictures, - for a pipe, or a camera. A video of any length takes
the same memory. Ctrl-C ends it with the clip's result so far.
"""

from absl import flags

from data_prep.common.command_line import refuse_flags, run
from data_prep.datasets import dataset_flags
from data_prep.networks import network_flags
from experiments.runs import trained_run_flags
from experiments.runs.flags import values_of


def define_flags():
    trained_run_flags.define("workdir", "checkpoint", "explain")
    network_flags.define(default=None)
    flags.DEFINE_boolean(
        "json", False, "Print JSON and nothing else: one object a line, for every block and every clip."
    )
    flags.DEFINE_integer("top", 3, "How many classes the text names.", lower_bound=1)
    flags.DEFINE_float(
        "print_seconds",
        1.0,
        "In the text, seconds of video from one block's line to the next; 0 prints every block.",
        lower_bound=0,
    )
    flags.DEFINE_string(
        "overlay",
        None,
        "Video with the attention overlaid: a file ending in .mp4 for one clip; any other name is a folder with one "
        "video per clip.",
    )
    flags.DEFINE_integer(
        "stride",
        None,
        "Frames from block to block; by default the run's. A longer one saves the model's time, and the network's "
        "where frames are in no block.",
        lower_bound=1,
    )
    flags.DEFINE_enum(
        "protocol",
        None,
        ["paper", "released"],
        "From steps to clips: means, or the votes of the authors' program; by default as the run's blocks were cut.",
    )
    flags.DEFINE_integer(
        "frame_batch",
        None,
        "Frames per call of the network; more keep a GPU busier, and answer later. By default 8, of a live source 1.",
        lower_bound=1,
    )
    flags.DEFINE_boolean(
        "live",
        None,
        "Whether pipes and cameras do not wait: frames that come too fast for the network are dropped, and counted. By "
        "default cameras do not.",
    )
    flags.DEFINE_boolean("calibrate", True, "Whether probabilities are those at the temperature of the run.")
    trained_run_flags.define("reject_below")
    flags.DEFINE_string("output", None, "CSV file with one line per clip.")
    flags.DEFINE_string(
        "segments",
        None,
        "File of start, end, class and confidence of what happens in the clips; .csv, .json, or .srt (subtitles of one "
        "clip).",
    )
    flags.DEFINE_integer(
        "smooth_blocks", 1, "In the segments, blocks over which a block's probabilities are averaged.", lower_bound=1
    )
    flags.DEFINE_float(
        "min_seconds", 0.0, "In the segments, the shortest one; shorter ones join a neighbour.", lower_bound=0
    )
    dataset_flags.define("image_fps")


def main(arguments):
    if flags.FLAGS.json:
        refuse_flags("top", "print_seconds", because="with --json, which has all classes of every block")
    if not flags.FLAGS.segments:
        refuse_flags("smooth_blocks", "min_seconds", because="without --segments")
    if not flags.FLAGS.overlay:
        refuse_flags("explain", because="without --overlay")
    from experiments.prediction.predict_clips import predict
    from experiments.prediction.segments import SegmentRule

    name, options = network_flags.given()
    return predict(
        flags.FLAGS.workdir,
        arguments,
        checkpoint=flags.FLAGS.checkpoint,
        network=name,
        network_options=options,
        stride=flags.FLAGS.stride,
        protocol=flags.FLAGS.protocol,
        frame_batch=flags.FLAGS.frame_batch,
        image_fps=flags.FLAGS.image_fps,
        overlay=flags.FLAGS.overlay,
        explain=flags.FLAGS.explain,
        as_json=flags.FLAGS.json,
        top=flags.FLAGS.top,
        seconds=flags.FLAGS.print_seconds,
        **values_of("calibrate", "reject_below", "live", "output", "segments"),
        segment_rule=SegmentRule(**values_of("smooth_blocks", "reject_below", "min_seconds")),
    )


if __name__ == "__main__":
    run(main, define_flags, takes_arguments=True)
