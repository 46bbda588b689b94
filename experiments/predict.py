"""Class names and probabilities for any video, block by block as it comes, and for the whole clip.

    python -m experiments.predict --workdir=run clip.mp4
    python -m experiments.predict --workdir=run --overlay=films clips/
    ffmpeg -i rtsp://… -f matroska - | python -m experiments.predict --workdir=run --json -
    python -m experiments.predict --workdir=run /dev/video0

Clips are files, folders of them, - for a pipe, or a camera. A video of any length takes the same memory. Ctrl-C ends it
with the clip's result so far.
"""

from absl import flags

from data_prep.common.command_line import run

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a trained run.", required=True)
CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Which checkpoint of the run.")
GOOGLENET = flags.DEFINE_string(
    "googlenet",
    None,
    "The network that the run's features were made with: its file, or `random`. Otherwise $ATTENTION_AR_GOOGLENET, or "
    "the file in your cache directory, downloaded if need be.",
)
JSON = flags.DEFINE_boolean(
    "json", False, "Print JSON and nothing else: one object a line, for every block and every clip."
)
TOP = flags.DEFINE_integer("top", 3, "How many classes the text names.", lower_bound=1)
PRINT_SECONDS = flags.DEFINE_float(
    "print_seconds", 1.0, "In the text, seconds of video from one block's line to the next; 0: all.", lower_bound=0
)
OVERLAY = flags.DEFINE_string(
    "overlay",
    None,
    "Film of the clip under its attention: a file that ends in .mp4, for one clip; any other name is a folder, which "
    "gets one film a clip.",
)
STRIDE = flags.DEFINE_integer(
    "stride",
    None,
    "Frames from block to block; by default the run's. A longer one saves the model's time, and the network's where "
    "frames are in no block.",
    lower_bound=1,
)
PROTOCOL = flags.DEFINE_enum(
    "protocol",
    None,
    ["paper", "released"],
    "From steps to clips: means, or the votes of the authors' program; by default as the run's blocks were cut.",
)
FRAME_BATCH = flags.DEFINE_integer(
    "frame_batch", 8, "Frames per call of the network; more keep a GPU busier, and answer later.", lower_bound=1
)


def main(argv):
    from experiments.prediction.predict_clips import predict

    return predict(
        WORKDIR.value,
        argv[1:],
        checkpoint=CHECKPOINT.value,
        googlenet=GOOGLENET.value,
        stride=STRIDE.value,
        protocol=PROTOCOL.value,
        frame_batch=FRAME_BATCH.value,
        overlay=OVERLAY.value,
        as_json=JSON.value,
        top=TOP.value,
        seconds=PRINT_SECONDS.value,
    )


if __name__ == "__main__":
    run(main)
