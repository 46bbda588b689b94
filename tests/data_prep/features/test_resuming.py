import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from attention_ar.errors import InputError
from data_prep.features import extraction, partial_features, probing
from data_prep.features.extraction import extract
from data_prep.features.partial_features import PartialFeatures
from data_prep.networks.network import Network


def content(path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


_KILLED = """
import os, signal, sys, time
import numpy as np
from data_prep.features import extraction
from data_prep.features import partial_features
from data_prep.datasets.registry import list_clips

data_dir, output = sys.argv[1:]
clips = list_clips("folder", data_dir)
extraction._COMMIT_SECONDS = 0

def die():
    os.kill(os.getpid(), signal.SIGKILL)

class Network:
    recipe = {"network": "fake", "weights_sha256": "", "random": True, "input_size": [224, 224]}
    feature_shape, input_size, calls_in_flight = (7, 7, 1024), (224, 224), 1
    def __init__(self, die_at, seconds):
        self.die_at, self.seconds, self.num_calls = die_at, seconds, 0
    def __call__(self, frames):
        self.num_calls += 1
        if self.num_calls == self.die_at:
            while self.num_calls == 3 and not os.path.getsize(output + ".partial/journal.jsonl"):
                time.sleep(0.01)  # the first clip's features may still be on their way to the file
            die()
        time.sleep(self.seconds)
        features = np.zeros((len(frames), 7, 7, 1024), np.float16)
        features[..., :3] = frames.reshape(-1, 7, 32, 7, 32, 3).mean(axis=(2, 4), dtype=np.float32)
        features[..., 3] = np.arange(len(frames))[:, None, None]
        return features

def dies_before(function):
    return lambda *args, **options: die()

def dies_after(function):
    def called(*args, **options):
        function(*args, **options)
        die()
    return called

def attempt(die_at=None, seconds=0.0, patch=None, kill_after=None):
    child = os.fork()
    if child == 0:
        if patch:
            module, name, way = patch
            setattr(module, name, way(getattr(module, name)))
        extraction.extract(clips, Network(die_at, seconds), output, frame_batch=8)
        os._exit(0)
    if kill_after:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    journal = output + ".partial/journal.jsonl"
    done = len(open(journal).readlines()) if os.path.exists(journal) else -1
    print("killed" if os.WIFSIGNALED(status) else "done", done, flush=True)

attempt(die_at=1)                                        # nothing stored yet
attempt(die_at=3)                                        # within a long clip
attempt(seconds=0.1, kill_after=0.25)                    # wherever that is
attempt(seconds=0.1, kill_after=0.2)
attempt(patch=(partial_features.os, "fsync", dies_after))     # rows are on disk, the journal does not say so
attempt(die_at=2)
attempt(patch=(extraction, "write_skipped", dies_before))    # all clips done
attempt(patch=(partial_features, "write_layout", dies_after))
attempt(patch=(partial_features.shutil, "copyfileobj", dies_after))  # between HDF5's head and its end
attempt(patch=(partial_features.os, "replace", dies_before))
attempt(patch=(partial_features.shutil, "rmtree", dies_before))  # in place, but the folder is still there
attempt()
"""


@pytest.mark.slow
def test_killed_at_any_moment_and_started_again(clips, data_dir, fake_network, tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole, killed = tmp_path / "whole" / "features.h5", tmp_path / "killed" / "features.h5"
    extract(clips, fake_network, whole, frame_batch=8)

    repository = Path(__file__).resolve().parents[3]
    run = subprocess.run(
        [sys.executable, "-c", _KILLED, str(data_dir), str(killed)],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    states = [line.split() for line in run.stdout.splitlines() if line.startswith(("killed", "done"))]
    assert [state for state, _ in states] == ["killed"] * 11 + ["done"], run.stdout
    clips_done = [int(done) for _, done in states]
    assert clips_done[0] == 0 and clips_done[6] == 8
    assert clips_done[:10] == sorted(clips_done[:10])  # nothing that was finished is begun again
    assert clips_done[1] >= 1  # batches that were on their way are lost
    assert content(killed) == content(whole)
    # A kill while a small file was being written leaves that one beside it, see `path_beside`.
    left = [name for name in os.listdir(killed.parent) if not name.startswith("skipped.csv.")]
    assert sorted(left) == ["features.h5", "skipped.csv"]


class _Interrupted(Exception):
    pass


def interrupt_after(network, num_calls):
    """The network, until it has been called `num_calls` times."""

    def call(frames):
        if network.num_calls == num_calls:
            raise _Interrupted
        return network(frames)

    return Network(network.recipe, call, network.feature_shape)


@pytest.fixture
def whole(clips, fake_network, tmp_path, monkeypatch):
    """The hash of an unbroken run's file."""
    monkeypatch.setattr(extraction, "_COMMIT_SECONDS", 0.0)
    (tmp_path / "whole").mkdir()
    extract(clips, fake_network, tmp_path / "whole" / "features.h5", frame_batch=8)
    fake_network.num_calls = 0
    return content(tmp_path / "whole" / "features.h5")


@pytest.mark.parametrize("damage", ["half a line", "garbage", "rows lost"])
@pytest.mark.slow
def test_a_damaged_journal_counts_as_far_as_it_is_sound(clips, fake_network, tmp_path, whole, damage):
    output = tmp_path / "features.h5"
    with pytest.raises(_Interrupted):
        extract(clips, interrupt_after(fake_network, 8), output, frame_batch=8)
    journal = tmp_path / "features.h5.partial" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) >= 4
    if damage == "half a line":
        journal.write_bytes(b"".join(lines)[:-10])
    elif damage == "garbage":
        journal.write_bytes(b"".join(lines[:2]) + b"\0" * 300)
    else:
        os.truncate(tmp_path / "features.h5.partial" / "rows", 1 << 20)
    extract(clips, fake_network, output, frame_batch=8)
    assert content(output) == whole


def test_going_on_skips_what_is_done(clips, fake_network, tmp_path, whole, capsys, monkeypatch):
    output = tmp_path / "features.h5"
    with pytest.raises(_Interrupted):
        extract(clips, interrupt_after(fake_network, 9), output, frame_batch=8)
    fake_network.num_calls, probed = 0, []
    probe = probing.probe_clip
    monkeypatch.setattr(probing, "probe_clip", lambda *clip: probed.append(clip[1]) or probe(*clip))
    extract(clips, fake_network, output, frame_batch=8)
    assert sorted(probed) == sorted(clip.path for clip in clips.clips[5:])
    assert fake_network.num_calls <= 7  # of 13; 53 rows are done, one batch is begun within a clip
    assert "resuming after 5 of 8 clips" in capsys.readouterr().out
    assert threading.active_count() < 20  # the interrupted run's threads have ended


def test_a_full_disk_is_one_line_and_no_loss(clips, fake_network, tmp_path, whole, monkeypatch):
    output = tmp_path / "features.h5"

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(partial_features.os, "fsync", full)
        with pytest.raises(InputError, match=r"No space left on device.*run the same command to resume"):
            extract(clips, fake_network, output, frame_batch=8)
    extract(clips, fake_network, output, frame_batch=8)
    assert content(output) == whole


def test_an_unfinished_extraction_of_another_plan_is_refused(clips, fake_network, tmp_path):
    output = tmp_path / "features.h5"
    with pytest.raises(_Interrupted):
        extract(clips, interrupt_after(fake_network, 3), output, frame_batch=8)
    before = content(tmp_path / "features.h5.partial" / "rows")
    fewer = dataclasses.replace(clips, clips=clips.clips[1:])
    for changed, message in (
        (dict(clip_list=fewer), r"the list of clips differs \(8 instead of 7, the first at run/0.avi\)"),
        (dict(frame_batch=16), "frame_batch is 8 instead of 16"),
        (dict(fps=6.0), "extraction_fps is 'native' instead of 6.0"),
    ):
        arguments = dict(clip_list=clips, network=fake_network, output=output, frame_batch=8) | changed
        with pytest.raises(InputError, match=rf"{message}.*delete .*features.h5.partial to start afresh") as caught:
            extract(**arguments)
        assert "recipe" not in str(caught.value)
    assert content(tmp_path / "features.h5.partial" / "rows") == before


def test_an_extraction_that_has_done_nothing_binds_no_one(clips, fake_network, tmp_path, monkeypatch):
    output = tmp_path / "features.h5"
    with pytest.raises(_Interrupted):
        extract(clips, interrupt_after(fake_network, 0), output, frame_batch=8)
    with monkeypatch.context() as patch:
        patch.setattr(extraction.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10_000))
        with pytest.raises(InputError, match=r"make room, choose another folder or a lower --fps"):
            extract(clips, fake_network, output, frame_batch=8)
    assert not list(tmp_path.iterdir())


def test_no_file_is_open_when_the_folder_is_removed(clips, fake_network, tmp_path, monkeypatch):
    """A network file system would leave it behind, and the folder with it."""
    remove, still_open = shutil.rmtree, []

    def look(folder):
        still_open.extend(file.path for file in psutil.Process().open_files() if file.path.startswith(str(folder)))
        remove(folder)

    monkeypatch.setattr(shutil, "rmtree", look)
    extract(clips, fake_network, tmp_path / "features.h5", frame_batch=8)
    assert still_open == []


def test_two_at_a_time_are_refused(clips, fake_network, tmp_path):
    output = tmp_path / "features.h5"
    plan = extraction.make_plan(clips, extraction.make_recipe(fake_network, None), 8)
    with PartialFeatures(output, plan, (7, 7, 1024)), pytest.raises(InputError, match="another extraction is at work"):
        extract(clips, fake_network, output, frame_batch=8)


def test_a_finished_file_is_left_alone(clips, fake_network, tmp_path):
    output = tmp_path / "features.h5"
    first = extract(clips, fake_network, output, frame_batch=8)
    before = (content(output), output.stat().st_mtime_ns)
    fake_network.num_calls = 0
    assert extract(clips, fake_network, output, frame_batch=8) == dataclasses.replace(first, already_complete=True)
    with pytest.raises(InputError, match=r"another recipe: extraction_fps is 'native' instead of 6.0"):
        extract(clips, fake_network, output, fps=6.0, frame_batch=8)
    fewer = dataclasses.replace(clips, clips=clips.clips[1:])
    with pytest.raises(InputError, match=r"made of other clips or with another split"):
        extract(fewer, fake_network, output, frame_batch=8)
    assert fake_network.num_calls == 0
    assert (content(output), output.stat().st_mtime_ns) == before


def test_lost_clips_and_going_on(bad_clips, fake_network, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "_COMMIT_SECONDS", 0.0)
    extract(bad_clips, fake_network, tmp_path / "whole.h5", frame_batch=8)
    fake_network.num_calls = 0
    with pytest.raises(_Interrupted):
        extract(bad_clips, interrupt_after(fake_network, 2), tmp_path / "broken.h5", frame_batch=8)
    fake_network.num_calls = 0
    extract(bad_clips, fake_network, tmp_path / "broken.h5", frame_batch=8)
    assert content(tmp_path / "broken.h5") == content(tmp_path / "whole.h5")


def test_the_journal_is_readable(clips, fake_network, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "_COMMIT_SECONDS", 0.0)
    with pytest.raises(_Interrupted):
        extract(clips, interrupt_after(fake_network, 6), tmp_path / "features.h5", frame_batch=8)
    lines = (tmp_path / "features.h5.partial" / "journal.jsonl").read_text().splitlines()
    first = {"path": "run/0.avi", "num_frames": 7, "native_fps": 50.0, "fps": 50.0, "reason": ""}
    assert json.loads(lines[0]) == first
