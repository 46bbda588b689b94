"""A clip whose frame rate varies, all the way: which frames features are made of, and that every file remembers it."""

import dataclasses

import h5py
import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.datasets.registry import list_clips
from data_prep.datasets.verification import format_faults, summary, verify
from data_prep.features import extraction
from data_prep.features.extraction import extract
from data_prep.features.hdf5_file import write_features
from data_prep.features.opening import open_features
from data_prep.features.record_export import export_records
from data_prep.networks.network import Network
from data_prep.video import clip_frames
from data_prep.video.frames import read_frames

# In units of 1/60 s: 30 frames per second, then 15, and the last picture but one stands still.
TIMES = [*range(0, 40, 2), *range(40, 80, 4), 120, 122]
NEAREST = [0, 5, 10, 15, 20, 22, 25, 27, 29, 29, 30, 30, 30]  # to 0, 10, 20, … 120
NOTE = "its frame rate varies, from 1.36 to 30 frames per second"


@pytest.fixture(scope="module")
def clips(tmp_path_factory, write_video, drifting_picture):
    """One of a varying rate, and one of 25 frames per second."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "run").mkdir()
    write_video(folder / "run/a phone.mp4", len(TIMES), drifting_picture, fps=60, times=TIMES)
    write_video(folder / "run/b.mp4", 30, drifting_picture)
    return list_clips("folder", folder)


@pytest.fixture(scope="module")
def decoded(clips):
    return [np.concatenate(list(read_frames(f"{clips.data_dir}/{clip.path}"))) for clip in clips.clips]


def test_rows_are_nearest_to_their_times(clips, decoded, fake_network, tmp_path, capsys):
    assert extract(clips, fake_network, tmp_path / "six.h5", fps=6, frame_batch=8).num_frames == len(NEAREST) + 8
    assert capsys.readouterr().out.splitlines()[-1] == f"NOTE: run/a phone.mp4: {NOTE}"
    found = open_features(tmp_path / "six.h5")
    np.testing.assert_array_equal(found.num_frames, [len(NEAREST), 8])
    np.testing.assert_array_equal(found.clip_frames(0), NEAREST)
    np.testing.assert_array_equal(found.clip_frames(1), 4 * np.arange(8))
    np.testing.assert_allclose(found.fps, [6, 6.25])
    np.testing.assert_allclose(found.native_fps, [(len(TIMES) - 1) / (TIMES[-1] / 60), 25])
    frames = np.concatenate([decoded[0][NEAREST], decoded[1][::4]])
    np.testing.assert_array_equal(found.features[..., :3], fake_network(frames)[..., :3])
    assert not found.truncated.any()


def test_only_a_clip_whose_rate_varies_is_decoded_twice(clips, monkeypatch):
    timed, frame_times = [], clip_frames.frame_times
    monkeypatch.setattr(clip_frames, "frame_times", lambda path: timed.append(path) or frame_times(path))
    for clip in clips.clips:
        *_, record = clip_frames.decode_clip(clip_frames.probe_clip(clips.data_dir, clip.path, 6.0), (224, 224))
        assert record.num_frames
    assert timed == [f"{clips.data_dir}/run/a phone.mp4"]


def test_at_the_native_rate_rows_are_all_frames(clips, decoded, fake_network, tmp_path, capsys):
    extract(clips, fake_network, tmp_path / "all.h5", frame_batch=8)
    assert f"NOTE: run/a phone.mp4: {NOTE}" in capsys.readouterr().out
    found = open_features(tmp_path / "all.h5")
    np.testing.assert_array_equal(found.num_frames, [len(TIMES), 30])
    np.testing.assert_array_equal(found.clip_frames(0), np.arange(len(TIMES)))
    assert found.frame is None and found.fps[0] == found.native_fps[0]
    with h5py.File(tmp_path / "all.h5") as file:
        assert sorted(file) == ["features", "videos"]  # as it ever was


def test_an_interrupted_extraction_resumes_to_the_same_bytes(clips, fake_network, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(extraction, "_COMMIT_SECONDS", 0)
    extract(clips, fake_network, tmp_path / "whole.h5", fps=6, frame_batch=3)
    network, calls = fake_network, []

    def interrupted(frames):
        calls.append(0)
        if len(calls) == 6:  # The first clip is done, the second is not.
            raise KeyboardInterrupt
        return network(frames)

    broken = Network(network.recipe, interrupted, network.feature_shape)
    with pytest.raises(KeyboardInterrupt):
        extract(clips, broken, tmp_path / "broken.h5", fps=6, frame_batch=3)
    capsys.readouterr()
    extract(clips, network, tmp_path / "broken.h5", fps=6, frame_batch=3)
    printed = capsys.readouterr().out
    assert "resuming after 1 of 2 clips" in printed and NOTE in printed
    assert (tmp_path / "broken.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_a_data_set_of_records_remembers_the_frames(clips, fake_network, tmp_path):
    extract(clips, fake_network, tmp_path / "six.h5", fps=6, frame_batch=8)
    contents = open_features(tmp_path / "six.h5")
    done = export_records(contents, tmp_path / "tfds", "phone")
    np.testing.assert_array_equal(open_features(done.folder).frame, contents.frame)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda frame: frame[:-1], "frame has another number of rows"),
        (lambda frame: np.where(frame == 5, 50, frame), "the frames of a clip are not in order"),
        (lambda frame: frame - 1, "the frames of a clip are not in order"),
    ],
)
def test_frames_that_cannot_be_are_refused(clips, fake_network, tmp_path, damage, reason):
    extract(clips, fake_network, tmp_path / "six.h5", fps=6, frame_batch=8)
    contents = open_features(tmp_path / "six.h5")
    write_features(tmp_path / "bad.h5", dataclasses.replace(contents, frame=damage(contents.frame)))
    with pytest.raises(InputError, match=reason):
        open_features(tmp_path / "bad.h5")


def test_verification_says_what_extraction_does(clips):
    """A rate that varies is no fault."""
    paths = [clip.path for clip in clips.clips]
    verdicts = verify(clips.data_dir, paths, min_frames=2)
    assert format_faults(verdicts) == f"ok  run/a phone.mp4  {NOTE}"
    assert summary(verdicts) == "2 clips: 2 sound"
    assert [verdict.row[1:5] for verdict in verdicts] == [
        ("ok", NOTE, len(TIMES), f"{(len(TIMES) - 1) / (TIMES[-1] / 60):g}"),
        ("ok", "", 30, "25"),
    ]


def test_many_notes_are_counted(capsys):
    records = [extraction.ClipRecord(f"{n}\n.mp4", 1, 25.0, 25.0, "", note="odd") for n in range(13)]
    extraction.print_notes(records)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == r"NOTE: 0\n.mp4: odd" and len(lines) == 11
    assert lines[-1] == "NOTE: 3 more such clips; data_prep.verify_videos lists them"
