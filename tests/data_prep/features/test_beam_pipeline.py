"""The Beam pipeline, with real runners and worker processes that are really killed.

Skipped where Apache Beam is not installed; tests/README.md has the command that makes its environment and runs them.
"""

import csv
import dataclasses
import hashlib
import itertools
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.features.extraction import extract
from data_prep.features.opening import open_features
from data_prep.networks.network import Network

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    beam = pytest.importorskip(
        "apache_beam", reason="needs apache_beam, in an environment of its own: see tests/README.md"
    )
    from data_prep.features import beam_pipeline
    from data_prep.features.beam_pipeline import cut_shards, extract_with_beam

pytestmark = pytest.mark.filterwarnings("ignore")  # Beam's own
REPOSITORY = Path(__file__).resolve().parents[3]


class MeanColours:
    """Maps 0, 1, 2: the mean blue, green, red of each cell. Picklable, unlike the other tests' stand-in."""

    recipe = {"network": "fake", "weights_sha256": "", "random": True}  # noqa: RUF012
    feature_shape, input_size, calls_in_flight = (7, 7, 1024), (224, 224), 1

    def __call__(self, frames):
        features = np.zeros((len(frames), 7, 7, 1024), np.float16)
        features[..., :3] = frames.reshape(-1, 7, 32, 7, 32, 3).mean(axis=(2, 4), dtype=np.float32)
        return features


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(beam_pipeline, "_RETRY_SECONDS", 0.0)


@pytest.fixture(scope="module")
def in_one_file(clips, tmp_path_factory):
    """What `extract_features` makes of the same clips."""
    output = tmp_path_factory.mktemp("whole") / "features.h5"
    extract(clips, MeanColours(), output, frame_batch=8)
    return open_features(output)


def assert_same(found, expected):
    for field in dataclasses.fields(found):
        if field.name not in ("features", "levels", "plan_sha256"):
            np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name), field.name)
    np.testing.assert_array_equal(found.features[:], expected.features)


def contents(folder) -> dict[str, str]:
    """The hash of every file in a folder, but TFDS's, which holds the time."""
    files = [path for path in Path(folder).rglob("*") if path.is_file() and path.name != "dataset_info.json"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_features_as_on_one_machine(clips, in_one_file, tmp_path):
    done = extract_with_beam(
        clips, MeanColours, tmp_path, "drift_googlenet", frame_batch=8, clips_per_shard=2, fps=None
    )
    assert (done.num_videos, done.num_frames, done.num_dead) == ({"train": 6, "test": 2}, 100, 0)
    assert_same(open_features(done.folder), in_one_file)
    assert [path.name for path in sorted(Path(done.folder).glob("*array_record*"))] == [
        "drift_googlenet-test.array_record-00000-of-00001",
        "drift_googlenet-train.array_record-00000-of-00003",
        "drift_googlenet-train.array_record-00001-of-00003",
        "drift_googlenet-train.array_record-00002-of-00003",
    ]
    assert (Path(done.folder) / "dead_letters.csv").read_text() == "path,reason\n"
    before = contents(done.folder)
    again = extract_with_beam(clips, MeanColours, tmp_path, "drift_googlenet", frame_batch=8, clips_per_shard=2)
    assert again == dataclasses.replace(done, already_complete=True)
    assert contents(done.folder) == before


class TwoLevels(Network):
    """The mean colours of 7×7 and of 14×14 cells."""

    def __init__(self):
        recipe = MeanColours.recipe | {"input_size": [224, 224], "levels": ["inception_5b", "inception_4e"]}
        super().__init__(recipe, self.flat, (7, 7, 3), levels={"inception_4e": (14, 14, 3)})

    @staticmethod
    def flat(frames):
        cells = [frames.reshape(-1, n, 224 // n, n, 224 // n, 3).mean(axis=(2, 4), dtype=np.float32) for n in (7, 14)]
        return np.concatenate([level.reshape(len(frames), -1) for level in cells], axis=1).astype(np.float16)


def test_every_level_as_on_one_machine(clips, tmp_path):
    extract(clips, TwoLevels(), tmp_path / "one.h5", frame_batch=8)
    expected = open_features(tmp_path / "one.h5")
    done = extract_with_beam(clips, TwoLevels, tmp_path, "two_levels", frame_batch=8, clips_per_shard=2)
    found = open_features(done.folder)
    assert found.level_names == expected.level_names == ["inception_5b", "inception_4e"]
    np.testing.assert_array_equal(found.features[:], expected.features)
    np.testing.assert_array_equal(found.levels["inception_4e"][:], expected.levels["inception_4e"])


def test_shards_are_of_one_split(clips):
    shards = cut_shards(clips, 4)
    assert [(shard.name, [clip.path[-5:-4] for clip in shard.clips]) for shard in shards] == [
        ("train-00000-of-00002", ["0", "1", "2", "3"]),
        ("train-00001-of-00002", ["4", "5"]),
        ("test-00000-of-00001", ["6", "7"]),
    ]


def test_another_plan_is_refused(clips, tmp_path):
    arguments = dict(frame_batch=8, clips_per_shard=2)
    extract_with_beam(clips, MeanColours, tmp_path, "drift_googlenet", **arguments)
    for changed, message in (
        (dict(fps=6.0), "extraction_fps is 'native' instead of 6.0"),
        (dict(frame_batch=4), "was begun with other clips, another split, --frame_batch or --clips_per_shard"),
        (dict(clips_per_shard=3), "was begun with other clips"),
    ):
        with pytest.raises(InputError, match=message):
            extract_with_beam(clips, MeanColours, tmp_path, "drift_googlenet", **arguments | changed)
    (tmp_path / "x_googlenet" / "1.0.0").mkdir(parents=True)
    (tmp_path / "x_googlenet" / "1.0.0" / "letter.txt").touch()
    with pytest.raises(InputError, match="holds other files"):
        extract_with_beam(clips, MeanColours, tmp_path, "x_googlenet", **arguments)


def test_bad_clips_are_dead_letters_and_the_rest_is_kept(bad_clips, tmp_path):
    done = extract_with_beam(bad_clips, MeanColours, tmp_path / "out", "bad_googlenet", frame_batch=8, tries=2)
    with open(done.dead_letters, newline="", encoding="utf-8") as file:
        dead = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    damaged = "not a video file, or one whose header is cut off or damaged"
    assert dead == {
        "run/empty.mp4": "the file is empty",
        "run/line\nbreak.mp4": "the file is empty",
        "run/garbage.mp4": damaged,
        "run/text.mp4": damaged,
        "run/zero.mkv": "a video file without a single frame",
        "run/sound.mp4": "no moving pictures in it, only audio",
    }
    found = open_features(done.folder)
    assert done.num_dead == 6 and len(found.names) == 6
    assert found.truncated.tolist() == [name == "run/short.avi" for name in found.names]
    assert len(found.features[:]) == found.num_frames.sum()


class Failing(MeanColours):
    """Fails for clips that are in a list of names, as often as that file says; counts in a file, for there is a
    process or thread of its own behind every call."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def __call__(self, frames):
        left = self.folder / "left"
        if left.exists() and int(left.read_text()):
            left.write_text(str(int(left.read_text()) - 1))
            raise RuntimeError("the accelerator\nwent away")
        return super().__call__(frames)


def failing(folder):
    return lambda: Failing(folder)


@pytest.mark.parametrize("failures", [2, 3])
def test_a_clip_is_tried_again(clips, in_one_file, tmp_path, failures):
    """Three tries: two failures are forgotten; with three, the first clip that has them is dead."""
    (tmp_path / "left").write_text(str(failures))
    arguments = dict(frame_batch=8, clips_per_shard=100, tries=3)
    done = extract_with_beam(clips, failing(tmp_path), tmp_path, "drift_googlenet", **arguments)
    assert done.num_dead == failures - 2
    if not done.num_dead:
        assert_same(open_features(done.folder), in_one_file)
        return
    dead = (Path(done.folder) / "dead_letters.csv").read_text().splitlines()[1]
    assert dead.endswith(",RuntimeError: the accelerator went away")
    name = dead.split(",")[0]
    assert sorted([*open_features(done.folder).names, name]) == sorted(in_one_file.names)
    # What was wrong is mended: the same command leaves it, --retry_dead_letters does it again.
    assert extract_with_beam(clips, failing(tmp_path), tmp_path, "drift_googlenet", **arguments).already_complete
    arguments["retry_dead_letters"] = True
    done = extract_with_beam(clips, failing(tmp_path), tmp_path, "drift_googlenet", **arguments)
    assert done.num_dead == 0
    assert_same(open_features(done.folder), in_one_file)


def test_nothing_usable(tmp_path, clips):
    class Broken(MeanColours):
        def __call__(self, frames):
            raise RuntimeError("no")

    with pytest.raises(InputError, match=r"no frame of 8 clips could be read; see .*dead_letters.csv"):
        extract_with_beam(clips, Broken, tmp_path, "drift_googlenet", tries=1)


def test_too_long_a_clip_is_a_dead_letter(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(beam_pipeline, "RECORD_LIMIT", 33 * 7 * 7 * 1024 * 2)
    done = extract_with_beam(clips, MeanColours, tmp_path, "drift_googlenet", frame_batch=8, tries=1)
    assert done.num_dead == 1
    assert "run/2.mpg,40 frames; a record holds 33, use a lower --fps" in Path(done.dead_letters).read_text().replace(
        '"', ""
    )


def test_a_damaged_shard_is_made_again(clips, in_one_file, tmp_path):
    """The report says that it is done, but the disk has lost a part of it, or all; another process begun it too."""
    arguments = dict(frame_batch=8, clips_per_shard=2)
    done = extract_with_beam(clips, MeanColours, tmp_path, "drift_googlenet", **arguments)
    before = contents(done.folder)
    folder = Path(done.folder)
    shard, other, _ = sorted(folder.glob("*-train*"))
    shard.write_bytes(shard.read_bytes()[:100])
    other.unlink()
    (folder / "shards" / "train-00002-of-00003.json").unlink()
    (folder / "x.json.0123abcd.partial").touch()
    (folder / "dataset_info.json").unlink()
    extract_with_beam(clips, MeanColours, tmp_path, "drift_googlenet", **arguments)
    assert contents(done.folder) == before
    assert_same(open_features(done.folder), in_one_file)


_RUN = """
import os, signal, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from data_prep.features.beam_pipeline import extract_with_beam
from data_prep.datasets.registry import list_clips

class Network:
    recipe = {"network": "fake", "weights_sha256": "", "random": True}
    feature_shape, input_size, calls_in_flight = (7, 7, 1024), (224, 224), 1

    def __init__(self):
        self.calls = 0

    def __call__(self, frames):
        self.calls += 1
        if self.calls == int(os.environ["DIE_AT"]):
            os.kill(os.getpid(), signal.SIGKILL)
        features = np.zeros((len(frames), 7, 7, 1024), np.float16)
        features[..., :3] = frames.reshape(-1, 7, 32, 7, 32, 3).mean(axis=(2, 4), dtype=np.float32)
        return features

if __name__ == "__main__":
    data_dir, output_dir, *flags = sys.argv[1:]
    done = extract_with_beam(
        list_clips("folder", data_dir), Network, output_dir, "drift_googlenet", frame_batch=8, clips_per_shard=2,
        options=PipelineOptions(flags),
    )
    print(done.num_frames, done.num_dead)
"""


def run(data_dir, output_dir, die_at, *flags):
    return subprocess.run(
        [sys.executable, "-c", _RUN, str(data_dir), str(output_dir), *flags],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=REPOSITORY,
        env={**os.environ, "DIE_AT": str(die_at), "PYTHONPATH": str(REPOSITORY)},
    )


def test_killed_at_any_moment_and_run_again(clips, data_dir, in_one_file, tmp_path):
    """The whole pipeline dies with SIGKILL, four times, each time a little later."""
    folder = tmp_path / "drift_googlenet" / "1.0.0"
    done = []
    for die_at in (1, 4, 4, 7):
        assert run(data_dir, tmp_path, die_at).returncode == -9
        assert not (folder / "dataset_info.json").exists()
        done.append(sorted(path.name for path in (folder / "shards").glob("*.json")))
    assert all(set(before) <= set(after) for before, after in itertools.pairwise(done))
    assert len(done[0]) < len(done[-1])
    found = run(data_dir, tmp_path, 0)
    assert found.stdout == "100 0\n", found.stderr
    assert_same(open_features(folder), in_one_file)
    assert not list(folder.rglob("*.partial"))
    extract_with_beam(clips, MeanColours, tmp_path / "whole", "drift_googlenet", frame_batch=8, clips_per_shard=2)
    assert contents(folder) == contents(tmp_path / "whole" / "drift_googlenet" / "1.0.0")


def test_several_worker_processes(data_dir, in_one_file, tmp_path):
    flags = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    found = run(data_dir, tmp_path, 0, *flags)
    assert found.stdout.splitlines()[-1:] == ["100 0"], found.stderr
    assert_same(open_features(tmp_path / "drift_googlenet"), in_one_file)


def test_program(data_dir, tmp_path):
    """The real program with the random network, as data_prep/README.md says it, and what bad input looks like."""

    def program(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "data_prep.beam_extract", f"--data_dir={data_dir}", *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=REPOSITORY,
        )

    arguments = [f"--output_dir={tmp_path}", "--name=drift_googlenet", "--googlenet=random", "--fps=6"]
    found = program(*arguments, "--", "--direct_num_workers=1")
    assert found.returncode == 0, found.stderr
    assert f"{tmp_path}/drift_googlenet/1.0.0: 28 frames of 8 clips (6 train, 2 test)\n" in found.stdout
    assert json.loads((tmp_path / "drift_googlenet" / "1.0.0" / "statistics.json").read_text())["num_frames"] == 25
    found = program("--output_dir=x", "--name=../x", "--googlenet=random")
    assert (found.returncode, found.stderr.splitlines()[-1]) == (
        1,
        "error: name='../x': must be lower-case words joined by _, like ucf11_googlenet",
    )
