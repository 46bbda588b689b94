"""Joins test clips of several classes to one video, and compares what a run sees in it, and when, with the truth.

    python tests/experiments/prediction/measure_segments.py --workdir=run --output=joined -- --min_seconds=0.5

The clips are drawn from the test part of the run's features, neighbours never of one class. What follows `--` are flags
for `experiments.predict`, the program that users start, which writes the segments. Leaves `joined.mp4`, `joined.csv`
(the truth: path,start,end,class) and `segments.json` in the folder --output, and prints the share of the frames whose
class is right, and how far from each true change of class the nearest change of a segment is.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image

from data_prep.common.files import write_csv
from data_prep.features.opening import open_features
from data_prep.video.frames import read_frames
from experiments.pictures.mp4 import Mp4
from experiments.runs.config import read_config

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a trained run.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder for the video and what is found.", required=True)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of the clips, if they have moved.")
NUM_CLIPS = flags.DEFINE_integer("num_clips", 10, "How many clips are joined.", lower_bound=2)
STRIDE = flags.DEFINE_integer("stride", None, "Frames from block to block; by default the run's.", lower_bound=1)
FPS = flags.DEFINE_float("fps", 30.0, "Of the joined video.")
SEED = flags.DEFINE_integer("seed", 0, "Of the choice.")

SIZE = 320, 240


def choose(file) -> list[int]:
    """Returns the clips, in their order: neighbours have different classes."""
    random = np.random.default_rng(SEED.value)
    test = np.flatnonzero(np.array(file.splits) == "test")
    classes = file.labels.argmax(axis=1)
    chosen: list[int] = []
    while len(chosen) < NUM_CLIPS.value:
        left = [clip for clip in test if clip not in chosen and (not chosen or classes[clip] != classes[chosen[-1]])]
        if not left:
            raise SystemExit("too few test clips of other classes")
        chosen.append(int(random.choice(left)))
    return chosen


def join(file, chosen, path: Path) -> list[tuple[str, float, float, str]]:
    """Writes the video, and returns name, start, end and class of each clip in it."""
    truth, num_frames = [], 0
    with Mp4(path, FPS.value) as video:
        for clip in chosen:
            first = num_frames
            for frames in read_frames(file.clip_path(clip, DATA_DIR.value), size=None, colour="rgb24"):
                for frame in frames:
                    video.add(Image.fromarray(frame).resize(SIZE))
                num_frames += len(frames)
            label = file.class_names[int(file.labels[clip].argmax())]
            truth.append((file.names[clip], first / FPS.value, num_frames / FPS.value, label))
    return truth


def main(argv):
    folder = Path(OUTPUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    config = read_config(WORKDIR.value)
    file = open_features(config.data.features)
    truth = join(file, choose(file), folder / "joined.mp4")
    write_csv(folder / "joined.csv", ("path", "start", "end", "class"), truth)
    stride = STRIDE.value or config.data.stride
    command = [sys.executable, "-m", "experiments.predict", f"--workdir={WORKDIR.value}", f"--stride={stride}"]
    command += [f"--segments={folder / 'segments.json'}", *argv[1:], str(folder / "joined.mp4")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    segments = json.loads((folder / "segments.json").read_text(encoding="utf-8"))

    times = (np.arange(round(truth[-1][2] * FPS.value)) + 0.5) / FPS.value
    true, seen = np.full(len(times), "", object), np.full(len(times), "", object)
    for _, start, end, label in truth:
        true[(times >= start) & (times < end)] = label
    for segment in segments:
        seen[(times >= segment["start"]) & (times < segment["end"])] = segment["class"]
    changes = [start for _, start, _, _ in truth[1:]]
    found = [segment["start"] for segment in segments[1:]]
    away = [min((abs(change - other) for other in found), default=np.inf) for change in changes]
    for (_, start, end, label), distance in zip(truth, [0.0, *away], strict=True):
        right = np.mean(seen[(times >= start) & (times < end)] == label)
        print(f"{start:7.2f} to {end:7.2f} s  {label:20}  {right:4.0%} right  boundary {distance:.2f} s away")
    within = np.mean(np.array(away) <= stride / FPS.value + 1e-6)
    print(
        f"{len(truth)} clips, {times[-1]:.1f} s: {np.mean(true == seen):.1%} of the frames right; {len(segments)} "
        f"segments; {within:.0%} of the {len(away)} boundaries within one stride ({stride / FPS.value:.2f} s), median "
        f"{np.median(away):.2f} s away"
    )


if __name__ == "__main__":
    app.run(main)
