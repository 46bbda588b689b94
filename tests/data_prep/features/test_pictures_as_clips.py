"""Clips that are folders of pictures, from the list of clips to a features file."""

import numpy as np
import pytest
from PIL import Image

from attention_ar.errors import InputError
from data_prep.datasets.registry import list_clips
from data_prep.datasets.verification import verify, videos_below
from data_prep.features.extraction import extract, make_plan
from data_prep.features.opening import open_features
from data_prep.video import image_folder


@pytest.fixture
def folder(tmp_path):
    """A class of two clips of twelve pictures, each brighter by 10 than the one before."""
    for clip in ("run/one", "run/two"):
        (tmp_path / "clips" / clip).mkdir(parents=True)
        for n in range(1, 13):
            Image.fromarray(np.full((48, 64, 3), 10 * n, np.uint8)).save(tmp_path / "clips" / clip / f"{n}.png")
    return tmp_path / "clips"


def test_features_of_pictures(folder, fake_network, tmp_path):
    output = tmp_path / "features.h5"
    extract(list_clips("folder", folder, image_fps=30), fake_network, output, fps=10.0)
    file = open_features(output)
    assert (file.names, file.num_frames.tolist()) == (["run/one", "run/two"], [4, 4])
    assert (file.native_fps.tolist(), file.fps.tolist()) == ([30.0, 30.0], [10.0, 10.0])
    np.testing.assert_allclose(file.features[:4, 0, 0, 0], [10, 40, 70, 100], atol=1)
    assert file.clip_path(1) == folder / "run" / "two"
    with pytest.raises(InputError, match=r"made of other clips or with another split .*--image_fps"):
        extract(list_clips("folder", folder, image_fps=25), fake_network, output, fps=10.0)


def test_pictures_are_decoded_once(folder, fake_network, tmp_path, monkeypatch):
    decode, decoded = image_folder._decode, []
    monkeypatch.setattr(image_folder, "_decode", lambda path: decoded.append(path) or decode(path))
    extract(list_clips("folder", folder), fake_network, tmp_path / "features.h5", fps=5.0)
    assert 24 <= len(decoded) <= 28  # To open a folder, one or two more are looked at.


def test_the_plan_of_videos_alone_is_as_it_always_was(folder, tmp_path):
    (tmp_path / "videos" / "run").mkdir(parents=True)
    (tmp_path / "videos" / "run" / "a.mp4").touch()
    assert "image_fps" not in make_plan(list_clips("folder", tmp_path / "videos"), {}, 8)
    assert make_plan(list_clips("folder", folder, image_fps=12), {}, 8)["image_fps"] == 12


def test_pictures_are_verified(folder):
    assert videos_below(folder) == ["run/one", "run/two"]
    verdicts = verify(folder, ["run/one", "run/two"], min_frames=5)
    assert [list(verdict.faults) for verdict in verdicts] == [[], ["duplicate"]]
    assert verdicts[0].scan.num_frames == 12
