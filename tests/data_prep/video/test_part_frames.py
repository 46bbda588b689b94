"""Frames of parts of videos: which they are, and that one pass gives them all."""

from dataclasses import replace

import numpy as np
import pytest

from data_prep.video.clip_frames import ClipRecord, probe_clip
from data_prep.video.frames import read_frames
from data_prep.video.part_frames import decode_pass, passes

SIZE = (224, 224)


@pytest.fixture(scope="module")
def video(tmp_path_factory, write_video, drifting_picture):
    """100 frames at 25 a second."""
    return write_video(tmp_path_factory.mktemp("video") / "long.mp4", 100, drifting_picture)


def probed(path, *spans, fps=None):
    found = None
    for span in spans:
        found = probe_clip(str(path.parent), f"{path.name}#t={span}", fps, before=found)
        yield found


def decoded(sources) -> list[tuple[np.ndarray, ClipRecord]]:
    """Frames and record of each clip."""
    found, frames = [], []
    for item in decode_pass(list(sources), SIZE):
        if isinstance(item, ClipRecord):
            found.append((np.concatenate(frames) if frames else np.zeros((0, *SIZE, 3), np.uint8), item))
            frames = []
        else:
            frames.append(item)
    return found


def test_parts_are_their_frames(video):
    whole = np.concatenate(list(read_frames(video)))
    sources = list(probed(video, "0.4,1.2", "1.2,2", "3.5"))
    assert [source.num_rows for source in sources] == [20, 20, 13]
    for (frames, record), (first, last) in zip(decoded(sources), ((10, 30), (30, 50), (88, 100)), strict=True):
        np.testing.assert_array_equal(frames, whole[first:last])
        assert record.frames == list(range(first, last)) and record.num_frames == last - first
        assert (record.native_fps, record.fps, record.reason, record.note) == (25, 25, "", "")


def test_mirrored_parts_have_left_and_right_swapped(video):
    sources = list(probed(video, "0.4,1.2", "2,2.4"))
    plain = decoded(sources)
    mirrored = decoded([replace(source, mirrored=True) for source in sources])
    for (frames, record), (swapped, same) in zip(plain, mirrored, strict=True):
        np.testing.assert_array_equal(swapped, frames[:, :, ::-1])
        assert record == same


def test_a_lower_rate_begins_with_the_parts_first_frame(video):
    whole = np.concatenate(list(read_frames(video)))
    ((frames, record),) = decoded(probed(video, "0.44,1.2", fps=5))
    assert record.frames == [11, 16, 21, 26] and record.fps == 5
    np.testing.assert_array_equal(frames, whole[record.frames])


def test_a_varying_rate_is_sampled_as_that_of_a_clip_by_itself(tmp_path, write_video, drifting_picture):
    times = [n // 2 * 6 + n % 2 * 2 for n in range(60)]  # In turn 1/30 and 1/15 of a second apart.
    path = write_video(tmp_path / "phone.mkv", 60, drifting_picture, fps=60, times=times)
    for fps in (6.0, None):
        ((frames, whole),) = decoded([probe_clip(str(tmp_path), "phone.mkv", fps)])
        ((same_frames, part),) = decoded(probed(path, "0,100", fps=fps))
        np.testing.assert_array_equal(frames, same_frames)
        assert part.frames == (whole.frames or list(range(60)))
        assert (part.native_fps, part.fps) == (whole.native_fps, whole.fps)
        assert part.note.startswith(whole.note) and "varies" in whole.note
    ((frames, part),) = decoded(probed(path, "1,2", fps=6.0))
    assert part.fps == 6 and len(frames) == len(part.frames) == 6
    shown = np.array(times)[part.frames] / 60
    np.testing.assert_allclose(shown, shown[0] + np.arange(6) / 6, atol=1 / 25)


def test_what_is_not_there_is_said(video):
    (frames, record), (_, lost) = decoded(probed(video, "3.8,7", "8,9"))
    assert len(frames) == 5 and record.reason == "" and record.note == "the video ends at 4 s, before this part of it"
    assert lost.num_frames == 0 and lost.reason == "no frame from 8 to 9 s; the last one before is at 3.96 s"
    ((_, record),) = decoded(probed(video, "3.8,4.01"))
    assert record.note == ""


def test_a_damaged_video_gives_the_parts_before(tmp_path, write_video, cut, drifting_picture):
    path = cut(write_video(tmp_path / "short.avi", 60, drifting_picture), 0.7)
    (frames, first), (_, second), (_, third) = decoded(probed(path, "0,0.4", "0.4,2", "2.2,2.3"))
    assert len(frames) == 10 and first.reason == ""
    assert 0 < second.num_frames < 40 and second.reason.startswith("cut short: ")
    assert third.num_frames == 0 and third.reason.startswith("cut short: ")
    (tmp_path / "text.mp4").write_text("no video")
    found = decoded(probed(tmp_path / "text.mp4", "0,1", "1,2"))
    assert [record.num_frames for _, record in found] == [0, 0]
    assert all("not a video file" in record.reason for _, record in found)


def test_one_pass_takes_parts_that_follow_one_another(video):
    whole = probe_clip(str(video.parent), video.name, None)
    sources = list(probed(video, "0,1", "1,2", "1.5,3", "3,4"))
    found = passes([whole, *sources, whole])
    assert [len(together) for together in found] == [1, 2, 2, 1]
    assert [source for together in found for source in together] == [whole, *sources, whole]
