import csv
import math
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.common.read_ahead import read_ahead
from data_prep.datasets.registry import list_clips
from data_prep.features import extraction, probing
from data_prep.features.extraction import check_output, extract, parse_fps
from data_prep.features.opening import open_features
from data_prep.networks.network import Network
from data_prep.video.clip_frames import probe_clip
from data_prep.video.frames import read_frames

LENGTHS = (7, 1, 40, 3, 2, 33, 5, 9)  # frames of the clips that `data_dir` holds


def by_a_plain_loop(clips, network, keep_every):
    """Frame after frame, no threads, one batch of 8 after the other."""
    frames = []
    for clip in clips.clips:
        of_clip = np.concatenate(list(read_frames(f"{clips.data_dir}/{clip.path}")))
        frames.append(of_clip[:: keep_every(clip)])
    frames = np.concatenate(frames)
    num_batches = math.ceil(len(frames) / 8)
    padded = np.concatenate([frames, np.zeros((8 * num_batches - len(frames), 224, 224, 3), np.uint8)])
    return np.concatenate([network(batch) for batch in np.split(padded, num_batches)])[: len(frames)]


@pytest.mark.parametrize("workers", [1, 3])
def test_every_frame_once_in_order_in_batches_that_span_clips(clips, fake_network, tmp_path, workers, capsys):
    output = tmp_path / "features.h5"
    fake_network.calls_in_flight = workers
    done = extract(clips, fake_network, output, frame_batch=8, decode_workers=workers)
    assert done == extraction.Extraction(num_clips=8, num_lost=0, num_cut_short=0, num_frames=sum(LENGTHS))
    assert fake_network.num_calls == math.ceil(sum(LENGTHS) / 8)
    assert f"8 clips, {sum(LENGTHS)} frames: {output} will take 0.01 GB" in capsys.readouterr().out

    found = open_features(output)
    np.testing.assert_array_equal(found.features, by_a_plain_loop(clips, fake_network, lambda clip: 1))
    assert found.names == [clip.path for clip in clips.clips]
    np.testing.assert_array_equal(found.num_frames, LENGTHS)
    np.testing.assert_allclose(found.native_fps, [50] + 7 * [25])
    np.testing.assert_array_equal(found.fps, found.native_fps)
    np.testing.assert_array_equal(found.labels, [[0, 1], [1, 0]] * 4)
    assert found.class_names == ["jump", "run"] and not found.multi_label
    assert found.groups == clips.groups and found.splits == clips.splits
    assert not found.truncated.any()
    assert found.split_id == clips.split_id and found.data_dir == clips.data_dir
    assert found.recipe["network"] == "fake" and found.recipe["random"] is True
    assert found.recipe["extraction_fps"] == "native" and found.recipe["decoder"].startswith("PyAV ")
    assert sorted(os.listdir(tmp_path)) == ["features.h5", "skipped.csv"]
    assert (tmp_path / "skipped.csv").read_text() == "path,reason,kept_frames\n"


def test_clips_are_probed_side_by_side_in_order_and_an_error_ends_it(clips, monkeypatch):
    together, last = threading.Barrier(2, timeout=20), clips.clips[-1].path

    def probe(data_dir, name, *rest):
        together.wait()  # Raises, unless another thread comes here, too.
        if name == bad:
            raise InputError(f"{name}: no clip")
        return probe_clip(data_dir, name, *rest)

    monkeypatch.setattr(probing, "probe_clip", probe)
    bad = None
    assert [source.num_rows for source in probing.probe_clips(clips, 2, None, workers=2)] == list(LENGTHS[2:])
    bad = last
    with pytest.raises(InputError, match=f"{last}: no clip"):
        probing.probe_clips(clips, 0, None, workers=2)


@pytest.mark.parametrize("cores, threads", [(1, 2), (5, 5), (64, 16)])
def test_by_default_as_many_clips_are_decoded_at_a_time_as_there_are_cores(
    clips, fake_network, tmp_path, cores, threads, monkeypatch
):
    begun = []

    def noted(*arguments, workers):
        begun.append(workers)
        return read_ahead(*arguments, workers=workers)

    monkeypatch.setattr(extraction, "num_cores", lambda: cores)
    monkeypatch.setattr(extraction, "read_ahead", noted)
    extract(clips, fake_network, tmp_path / "features.h5", frame_batch=8)
    assert begun == [threads]


def test_reduced_frame_rate(clips, fake_network, tmp_path):
    """At 6 frames per second, every 8th of 50 and every 4th of 25 are kept."""
    extract(clips, fake_network, tmp_path / "six.h5", fps=6, frame_batch=8)
    found = open_features(tmp_path / "six.h5")
    first = clips.clips[0]
    expected = by_a_plain_loop(clips, fake_network, lambda clip: 8 if clip == first else 4)
    np.testing.assert_array_equal(found.features, expected)
    np.testing.assert_array_equal(found.num_frames, [1, 1, 10, 1, 1, 9, 2, 3])
    np.testing.assert_allclose(found.native_fps, [50] + 7 * [25])
    np.testing.assert_allclose(found.fps, [50 / 8] + 7 * [25 / 4])
    assert found.recipe["extraction_fps"] == 6.0


def test_a_clip_slower_than_wanted_keeps_all_its_frames(clips, fake_network, tmp_path):
    extract(clips, fake_network, tmp_path / "fast.h5", fps=60, frame_batch=8)
    found = open_features(tmp_path / "fast.h5")
    np.testing.assert_array_equal(found.num_frames, LENGTHS)
    np.testing.assert_array_equal(found.fps, found.native_fps)


def read_skipped(folder):
    with open(folder / "skipped.csv", encoding="utf-8", newline="") as file:
        return {row["path"]: (row["reason"], int(row["kept_frames"])) for row in csv.DictReader(file)}


def test_bad_clips_are_reported_and_the_rest_is_kept(bad_clips, fake_network, tmp_path):
    done = extract(bad_clips, fake_network, tmp_path / "features.h5", frame_batch=8)
    skipped = read_skipped(tmp_path)
    reason, kept = skipped.pop("run/short.avi")
    assert 10 <= kept < 60 and reason.startswith(f"cut short: {kept} of 60 frames are whole (the file ends ")
    assert skipped == {
        "run/empty.mp4": ("the file is empty", 0),
        "run/line\nbreak.mp4": ("the file is empty", 0),
        "run/garbage.mp4": ("not a video file, or one whose header is cut off or damaged", 0),
        "run/text.mp4": ("not a video file, or one whose header is cut off or damaged", 0),
        "run/zero.mkv": ("a video file without a single frame", 0),
        "run/sound.mp4": ("no moving pictures in it, only audio", 0),
    }
    assert (done.num_clips, done.num_lost, done.num_cut_short) == (12, 6, 1)
    found = open_features(tmp_path / "features.h5")
    assert dict(zip(found.names, found.num_frames.tolist(), strict=True)) == {
        "run/a#b(c)!&.mp4": 3,
        "run/one.mp4": 1,
        'run/quo"te,.mp4': 2,
        "run/schön.webm": 3,
        "run/short.avi": kept,
        "run/two words.mkv": 3,
    }
    assert found.truncated.tolist() == [name == "run/short.avi" for name in found.names]


def test_nothing_usable_leaves_no_file(fake_network, tmp_path):
    (tmp_path / "bad" / "run").mkdir(parents=True)
    for index in range(3):
        (tmp_path / "bad" / "run" / f"{index}.mp4").touch()
    with pytest.raises(InputError, match=r"no frame of 3 clips could be read; see .*skipped.csv"):
        extract(list_clips("folder", tmp_path / "bad"), fake_network, tmp_path / "features.h5")
    assert sorted(os.listdir(tmp_path)) == ["bad", "skipped.csv"]
    assert len(read_skipped(tmp_path)) == 3


def test_outputs_that_cannot_be(tmp_path):
    with pytest.raises(InputError, match=r"features.npy: must end in .h5"):
        check_output(tmp_path / "features.npy")
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(InputError, match="is a folder; name a file"):
        check_output(tmp_path / "folder.h5")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="its folder cannot be made"):
        check_output(tmp_path / "file" / "features.h5")
    assert check_output(tmp_path / "new" / "deep" / "features.h5").parent.is_dir()


def test_too_small_a_disk_is_noticed_first(clips, fake_network, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=9_000_000)
    monkeypatch.setattr(extraction.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(InputError, match=r"needs 0.01 GB and .* has 0.01 GB free; make room"):
        extract(clips, fake_network, tmp_path / "features.h5")
    assert fake_network.num_calls == 0 and os.listdir(tmp_path) == []


def test_a_network_of_another_kind_is_a_bug_and_not_bad_input(clips, fake_network, tmp_path):
    def single(frames):
        return np.zeros((len(frames), 7, 7, 1024), np.float32)

    single = Network(fake_network.recipe, single, (7, 7, 1024))
    with pytest.raises(TypeError, match="the network gave float32"):
        extract(clips, single, tmp_path / "features.h5")


@pytest.fixture
def run_main(fake_network, monkeypatch, run_program):
    """Runs the program with these flags, the fake network in the real one's place."""
    monkeypatch.setattr("data_prep.networks.registry.load_network", lambda name, options: fake_network)
    return lambda **values: run_program("data_prep.extract_features", *(f"--{k}={v}" for k, v in values.items()))


def test_program(data_dir, tmp_path, run_main, capsys):
    arguments = dict(data_dir=str(data_dir), output=str(tmp_path / "features.h5"))
    assert run_main(**arguments) == 0
    printed = capsys.readouterr().out
    assert "RANDOM" in printed and f"features.h5: {sum(LENGTHS)} frames of 8 clips in " in printed
    assert run_main(**arguments) == 0
    assert "is already complete" in capsys.readouterr().out
    with pytest.raises(InputError, match="fps=fast: must be a positive number"):
        run_main(**arguments, fps="fast")


@pytest.mark.parametrize("text", ["0", "-3", "nan", "inf", "fast", ""])
def test_a_rate_that_cannot_be(text):
    with pytest.raises(InputError, match=f"^fps={text}: must be a positive number of frames per second, or native$"):
        parse_fps(text)


@pytest.mark.slow
def test_program_reads_a_published_data_set(miniature, tmp_path, run_main, capsys):
    arguments = dict(dataset="hmdb51", data_dir=str(miniature("hmdb51")), output=str(tmp_path / "features.h5"))
    with pytest.raises(
        InputError, match=r"4947 of 5100 clips are missing: .* and 4897 more; --allow_missing continues"
    ):
        run_main(**arguments)
    assert run_main(**arguments, split="2", allow_missing=True) == 0
    file = open_features(tmp_path / "features.h5")
    assert file.split_id.startswith("hmdb51-official2-") and len(file.class_names) == 51
    printed = capsys.readouterr().out
    assert f"clips are MISSING on disk; continuing with {len(file.names)}\n" in printed
    assert run_main(**arguments, split="2", allow_missing=True) == 0
    assert "is already complete" in capsys.readouterr().out


def test_program_ends_badly_when_too_much_is_lost(bad_clips, tmp_path, run_main):
    arguments = dict(data_dir=bad_clips.data_dir, output=str(tmp_path / "features.h5"))
    with pytest.raises(
        InputError, match=r"6 of 12 clips are lost, more than --max_bad=0.05 allows; .* holds the others"
    ):
        run_main(**arguments)
    assert len(open_features(tmp_path / "features.h5").names) == 6
    os.remove(tmp_path / "features.h5")
    assert run_main(**arguments, max_bad=0.5) == 0


@pytest.mark.slow
def test_program_says_one_line_and_nothing_is_left(data_dir, tmp_path):
    repository = Path(__file__).resolve().parents[3]
    run = subprocess.run(
        [sys.executable, "-m", "data_prep.extract_features", f"--data_dir={data_dir}", f"--output={tmp_path}/f.npy"],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 1
    assert run.stderr == f"error: output={tmp_path}/f.npy: must end in .h5\n"
    assert os.listdir(tmp_path) == []
