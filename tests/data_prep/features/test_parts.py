"""Features of parts of long videos."""

import numpy as np
import pytest

from data_prep.datasets.clip_list import Clip, ClipList
from data_prep.features.extraction import extract
from data_prep.features.opening import open_features
from data_prep.video import part_frames
from data_prep.video.frames import read_frames


@pytest.fixture(scope="module")
def video(tmp_path_factory, write_video, drifting_picture):
    """100 frames at 25 a second."""
    return write_video(tmp_path_factory.mktemp("video") / "long.mp4", 100, drifting_picture)


def test_features_of_parts_are_decoded_once_and_resume(video, tmp_path, fake_network, monkeypatch):
    opened = []
    whole_frames = part_frames.WholeFrames
    monkeypatch.setattr(part_frames, "WholeFrames", lambda path: opened.append(path) or whole_frames(path))
    names = [f"long.mp4#t={span}" for span in ("0,0.4", "0.4,1", "1.6,2.4", "3")]
    clips = tuple(Clip(name, ("run",), "", "train") for name in names)
    listed = ClipList("folder", str(video.parent), clips, ("run",), False, "x")
    extract(listed, fake_network, tmp_path / "parts.h5", frame_batch=8)
    assert len(opened) == 1
    found = open_features(tmp_path / "parts.h5")
    assert found.names == names and found.num_frames.tolist() == [10, 15, 20, 25]
    frames = np.concatenate([found.clip_frames(n) for n in range(4)])
    np.testing.assert_array_equal(frames, np.r_[0:25, 40:60, 75:100])
    assert found.clip_path(2) == video
    whole = np.concatenate(list(read_frames(video)))
    shown = whole.reshape(-1, 7, 32, 7, 32, 3).mean(axis=(2, 4), dtype=np.float32)
    np.testing.assert_array_equal(found.features[..., :3], shown[frames].astype(np.float16))

    class Dying(type(fake_network)):
        def __call__(self, frames):
            if self.num_calls == 4:
                raise KeyboardInterrupt
            return super().__call__(frames)

    with pytest.raises(KeyboardInterrupt):
        extract(listed, Dying(), tmp_path / "again.h5", frame_batch=8)
    extract(listed, fake_network, tmp_path / "again.h5", frame_batch=8)
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "parts.h5").read_bytes()
